"""The error of a grammar or experiment file."""

from trainer.errors import InputError


class GrammarError(InputError):
    """A grammar is wrong: `FILE:LINE: PATH is VALUE; what is allowed`, on one line."""
