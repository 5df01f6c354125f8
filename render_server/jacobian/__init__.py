"""Columns of the Jacobian: the scenes and regions to render, and the encoding of the results."""
