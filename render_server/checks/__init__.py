"""Checks of requests before any work is done."""
