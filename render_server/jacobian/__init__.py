"""Columns of the Jacobian: what to render for them, where in the image, and how they travel."""
