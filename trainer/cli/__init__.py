"""The command line: `metasim`.

One module per command. None imports torch, gRPC or the grammar language before it is called, so that help texts and
shell completion appear at once.
"""

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from metasim.memory import keep_freed_memory
from typer.main import get_command

from trainer.cli import (
    bench,
    check,
    data,
    dataset,
    doctor,
    evaluate,
    generate,
    grammar,
    init,
    pool,
    report,
    train,
    translate,
)
from trainer.cli.commands import Commands
from trainer.errors import InputError, MetasimError, file_problem

#: Exit status after Ctrl-C.
_INTERRUPTED = 130

app = Commands(
    name="metasim",
    help="Learn to generate labelled synthetic datasets that look like your images.",
    epilog="Start here: [bold]metasim train mnist-rot[/bold]. Help of a command: [bold]metasim train --help[/bold].",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("init")(init.init)
app.command("train")(train.train)
app.command("evaluate")(evaluate.evaluate)
app.command("generate")(generate.generate)
app.command("report")(report.report)
app.command("doctor")(doctor.doctor)
app.add_typer(grammar.app, name="grammar")
app.add_typer(data.app, name="data")
app.add_typer(dataset.app, name="dataset")
app.add_typer(translate.app, name="translate")
app.add_typer(pool.app, name="pool")
app.add_typer(bench.app, name="bench")
app.add_typer(check.app, name="check")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status: 0, 1 (it failed), 2 (the input is wrong) or 130 (Ctrl-C).

    Args:
        arguments: command line without the program name; default: that of this process.
    """
    keep_freed_memory()
    status = _run(list(sys.argv[1:] if arguments is None else arguments))
    if status == _INTERRUPTED and arguments is None:  # The interpreter takes seconds to tear down torch and Blender.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    return status


def _run(given: Sequence[str]) -> int:
    try:
        status = get_command(app).main(given, prog_name="metasim", standalone_mode=False)
    except (typer.Abort, KeyboardInterrupt):
        return _failed("interrupted", _INTERRUPTED)
    except typer.TyperException as error:
        if not error.format_message():  # A group without a command prints its help.
            return 0
        return _failed(_usage(error), 2)
    except InputError as error:
        return _failed(str(error), 2)
    except MetasimError as error:
        return _failed(str(error), 1)
    except RecursionError:
        return _failed("a file is nested too deep to be read; lists and mappings may hold a few hundred levels", 2)
    except OSError as error:
        problem = file_problem(error)
        if problem is None:
            raise
        return _failed(problem, 2)
    return status if isinstance(status, int) else 0


def _failed(message: str, status: int) -> int:
    typer.echo(f"metasim: {message}", err=True)
    return status


def _usage(error: typer.TyperException) -> str:
    """Return one line with the error in the arguments and a pointer to help."""
    message = " ".join(error.format_message().split()).replace(": Value error, ", ": ").rstrip(".")
    context = getattr(error, "ctx", None)
    return f"{message}; see `{context.command_path if context else 'metasim'} --help`"


def _show_version(wanted: bool) -> None:
    if wanted:
        version()
        raise typer.Exit


@app.callback()
def _options(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Learn to generate labelled synthetic datasets that look like your images."""


@app.command()
def version() -> None:
    """Print the version."""
    from importlib.metadata import version as installed  # takes as long to import as all the rest

    typer.echo(f"metasim {installed('metasim')}")
