"""The shipped gradient against slower, trusted ones."""
