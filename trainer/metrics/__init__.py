"""Distances between distributions: of attributes, of scene layouts, and of image features."""
