"""Gradient descent on θ: the MMD through the renderer's Jacobian, and the task loss (paper, section 3.2)."""
