"""Run folders: what a training writes, and what evaluation and generation read back."""
