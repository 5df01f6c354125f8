"""The page and the pictures that show a run."""
