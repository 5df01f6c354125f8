"""A wire scene, resolved: where things are, and what a camera sees of them."""
