"""The distribution transformer G_θ, and scene graphs as its tensors (paper, section 3.1)."""
