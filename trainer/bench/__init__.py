"""What `metasim bench` measures."""
