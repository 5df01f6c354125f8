"""Simulation-based inference of the attribute distributions that explain the target's images."""
