"""Groups of commands, whose help is their functions' docstrings."""

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import typer

Function = TypeVar("Function", bound=Callable[..., Any])

#: Begins a paragraph whose lines stay as they are (as in click).
_AS_IT_IS = "\b\n"


class Commands(typer.Typer):
    """A group of commands. Called without one it prints its help, in which paragraphs fill the terminal's lines."""

    def __init__(self, **options: Any) -> None:
        super().__init__(no_args_is_help=True, rich_markup_mode="rich", **options)

    def command(self, name: str | None = None, **options: Any) -> Callable[[Function], Function]:
        """As `typer.Typer.command`."""

        def register(function: Function) -> Function:
            return typer.Typer.command(self, name, help=_flowing(function.__doc__ or ""), **options)(function)

        return register


def _flowing(text: str) -> str:
    """A docstring with each paragraph on one line: typer keeps the ends of lines in all but the first."""
    return "\n\n".join(
        paragraph.removeprefix(_AS_IT_IS) if paragraph.startswith(_AS_IT_IS) else " ".join(paragraph.split())
        for paragraph in inspect.cleandoc(text).split("\n\n")
    )
