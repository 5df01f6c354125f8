"""Groups of commands. The help of a command is the docstring of its function."""

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import typer

Function = TypeVar("Function", bound=Callable[..., Any])

#: Begins a paragraph that is not wrapped, as in click.
_AS_IT_IS = "\b\n"


class Commands(typer.Typer):
    """A group of commands that prints its help if it is called without one. Paragraphs are wrapped to the terminal."""

    def __init__(self, **options: Any) -> None:
        super().__init__(no_args_is_help=True, rich_markup_mode="rich", **options)

    def command(self, name: str | None = None, **options: Any) -> Callable[[Function], Function]:
        """As `typer.Typer.command`."""

        def register(function: Function) -> Function:
            return typer.Typer.command(self, name, help=_flowing(function.__doc__ or ""), **options)(function)

        return register


def _flowing(text: str) -> str:
    """Return a docstring with one line per paragraph, since typer keeps line breaks after the first paragraph."""
    return "\n\n".join(
        paragraph.removeprefix(_AS_IT_IS) if paragraph.startswith(_AS_IT_IS) else " ".join(paragraph.split())
        for paragraph in inspect.cleandoc(text).split("\n\n")
    )
