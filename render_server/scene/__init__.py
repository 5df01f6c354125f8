"""A scene of the wire, resolved: positions of nodes, and what a camera sees of them."""
