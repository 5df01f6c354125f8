"""Checks: the gradient against slower, trusted ones; this machine; a worker against the wire's specification."""
