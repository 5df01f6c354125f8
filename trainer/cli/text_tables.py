"""Results as text."""

from collections.abc import Sequence

import typer


def aligned(rows: Sequence[Sequence[str]], *, numbers_from: int = 1) -> str:
    """Return rows as aligned columns. Columns from `numbers_from` on are aligned to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column >= numbers_from else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def echo_json(values: object) -> None:
    """Print one JSON object to standard output."""
    import json

    typer.echo(json.dumps(values, indent=2))
