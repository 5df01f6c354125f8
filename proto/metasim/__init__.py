"""The wire contract of Meta-Sim: messages (`metasim.v1`), arrays and content hashes."""
