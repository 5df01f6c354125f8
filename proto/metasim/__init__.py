"""Shared by trainer and workers: messages (`metasim.v1`), arrays, content hashes, transforms, cameras, colours."""
