"""`metasim check`"""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from trainer.cli import options
from trainer.cli.assignments import parse_assignments
from trainer.cli.commands import Commands
from trainer.cli.text_tables import aligned, echo_json

if TYPE_CHECKING:
    from trainer.pool import PoolOptions

app = Commands(help="Check the gradient through the renderer, or a render worker.")


@app.callback()
def _group() -> None:
    """Check the gradient through the renderer, or a render worker."""


@app.command()
@options.with_pool()
def gradient(
    experiment: options.Experiment,
    assignments: options.Assignments = None,
    scenes: Annotated[int, typer.Option(min=1, metavar="N", help="Scenes sampled from the prior.")] = 4,
    samples: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Samples per pixel of the reference.",
            show_default="16 times those of the experiment",
        ),
    ] = None,
    columns: Annotated[
        float, typer.Option(min=1e-9, max=1.0, metavar="FRACTION", help="Fraction of the columns, drawn at random.")
    ] = 1.0,
    seed: Annotated[int, options.seed_option("Seed of scenes and noise.")] = 0,
    *,
    pool: "PoolOptions",
    mnist: options.Mnist = None,
    json: options.Json = False,
) -> None:
    """Compare the gradient that training uses with slower, more accurate ones.

    The reference is central differences of whole frames at many samples, with the same seeds; the engine fake adds the
    exact derivative. Each attribute gets cosines and norm ratios. [bold]region[/bold]: error of the probes' regions.
    [bold]image[/bold]: difference images, including noise. [bold]loss[/bold]: gradient of smooth random losses. Exits
    with 1 if region or loss is out of bounds.

    \b
    [bold]Examples[/bold]
    metasim check gradient mnist-rot --engine raster
    metasim check gradient my-street.yaml --scenes 1 --columns 0.1 --samples 64 training.probing.difference=forward
    """
    from trainer.checks.gradient import CheckOptions, check_gradient
    from trainer.cli.console import console_progress

    with console_progress() as progress:
        found = check_gradient(
            CheckOptions(
                experiment=experiment,
                scenes=scenes,
                samples=samples,
                columns=columns,
                seed=seed,
                mnist=mnist,
                overrides=parse_assignments(assignments or ()),
                pool=pool,
            ),
            progress,
        )
    if json:
        echo_json(found)
    else:
        typer.echo(_table(found))
    if not found["good"]:
        raise typer.Exit(1)


@app.command()
def endpoint(
    address: Annotated[str, typer.Argument(metavar="HOST:PORT", help="Address of the worker.", show_default=False)],
    timeout: Annotated[
        float, typer.Option(min=1, metavar="SECONDS", help="Timeout of one conversation with the worker.")
    ] = 60.0,
    json: options.Json = False,
) -> None:
    """Check that a render worker obeys the wire's specification (proto/metasim/v1/*.proto).

    Prints one line per rule. Skips checks of features that the worker does not announce. Exits with 1 if a check fails.
    METASIM_TLS_* and METASIM_TOKEN* apply as for rendering.

    \b
    [bold]Example[/bold]
    metasim check endpoint 127.0.0.1:50051
    """
    from trainer.checks.conformance import FAIL, PASS, SKIP
    from trainer.checks.endpoint import check_endpoint

    outcomes = check_endpoint(address, timeout_s=timeout)
    counts = {name: sum(each.outcome == name for each in outcomes) for name in (PASS, FAIL, SKIP)}
    if json:
        checks = [vars(each) for each in outcomes]
        echo_json({"endpoint": address, "passed": counts[PASS], "failed": counts[FAIL], "checks": checks})
    else:
        for each in outcomes:
            detail = f"{each.rule}: {each.detail}" if each.outcome == FAIL else each.detail or each.rule
            typer.echo(f"{each.outcome.upper():4}  {each.name}: {detail}")
        typer.echo(f"{counts[PASS]} checks passed, {counts[FAIL]} failed, {counts[SKIP]} were skipped.")
    if counts[FAIL]:
        raise typer.Exit(1)


def _table(found: dict[str, Any]) -> str:
    attributes = found["attributes"]
    kinds = [name for name in ("region", "image", "loss", "analytic") if any(name in item for item in attributes)]
    rows = [["cosine, norm ratio", "columns", "span", *kinds, ""]]
    for item in attributes:
        cells = [
            f"{item[kind]['cosine']:.4f} {item[kind]['norm_ratio']:.3f}" if kind in item else "-" for kind in kinds
        ]
        span = f"{item['span']:.3g} {item['unit']}"
        rows.append([item["attribute"], str(item["columns"]), span, *cells, "good" if item["good"] else "BAD"])
    bounds = "; ".join(
        f"{name}: cosine from {bound['cosine']:g}, norm ratio within {bound['norm_ratio']:.0%}"
        for name, bound in found["bounds"].items()
    )
    verdict = f"The gradient is {'good' if found['good'] else 'NOT good'} ({bounds}; reference: "
    lines = [aligned(rows), "", f"{verdict}{found['samples']} samples per pixel)."]
    if not found["good"]:
        lines.append("docs/jacobian.md explains the figures and what to do about them.")
    return "\n".join(lines)
