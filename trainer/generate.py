"""Labelled datasets: scenes sampled from the grammar, changed by what a run has learned, rendered, written."""

import shlex
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer.datasets.writers import DatasetCard, Sample, open_writer
from trainer.datasets.writers.rendered import SampleRenderer, mesh_source, model_names
from trainer.pool import PoolOptions, open_pool
from trainer.progress import Progress, Silent, Step
from trainer.runs.scene_source import SceneSource, open_source

#: Scenes, and pixels of them, that are sampled, rendered and written at a time: memory does not grow with the size of
#: the dataset.
CHUNK, CHUNK_PX = 256, 1 << 23


@dataclass(frozen=True)
class GenerateOptions:
    """What `metasim generate` takes."""

    #: A run folder, or a grammar or experiment by name or path.
    source: str
    count: int
    out: Path
    format: str = "imagefolder"
    seed: int = 0
    mnist: Path | None = None
    pool: PoolOptions = field(default_factory=PoolOptions)
    #: Go on in `out`.partial with what was begun by the same options.
    resume: bool = False


def generate(options: GenerateOptions, progress: Progress | None = None) -> dict[str, Any]:
    """Renders scenes of the learned model of a run, or of a grammar's prior, and writes them as a dataset.

    Scene i depends on the source, the seed and i alone, so an export that was killed and resumed has the same bytes as
    one that was not.

    Returns:
        What was written: `out`, `format`, `count`, `of`, `seed`, `rendered_by`, `labels` (how many images have which),
        `resumed_at` (how many of them were there already), `seconds`.

    Raises:
        InputError: the source, the format or the folder is wrong, or the format cannot hold these scenes.
        RenderError: a scene could not be rendered.
    """
    progress = progress or Silent()
    began_s = time.monotonic()
    source = open_source(options.source, mnist=options.mnist)
    for note in source.notes:
        progress.note(note)
    pool_options = options.pool.with_default_engine(source.engine)
    rendered_by = str(pool_options.engine) if pool_options.local else f"the workers at {pool_options.renderer}"
    card = _card(options, source, rendered_by)
    meshes = mesh_source(source.grammar)
    with open_writer(options.format, options.out, card, resume=options.resume, meshes=meshes) as writer:
        there = writer.count
        if there < options.count:
            with open_pool(pool_options, assets=source.grammar.assets) as pool:
                progress.plan([Step("render and write")])
                progress.watch(pool)
                advance = progress.step("render and write")
                renderer = SampleRenderer(pool, source.grammar, writer.needs)
                for sample in _samples(renderer, source, options.seed, there, options.count):
                    writer.add(sample)
                    advance(writer.count, options.count)
        labels = writer.counts().labels
    progress.stop()
    return {
        "out": str(options.out),
        "format": options.format,
        "count": options.count,
        "of": source.of,
        "seed": options.seed,
        "rendered_by": rendered_by,
        "labels": dict(sorted(("none" if label is None else str(label), count) for label, count in labels.items())),
        "resumed_at": there,
        "seconds": time.monotonic() - began_s,
    }


def _samples(renderer: SampleRenderer, source: SceneSource, seed: int, first: int, end: int) -> Iterator[Sample]:
    """The samples of the scenes from number `first` on, up to and without `end`."""
    render = source.grammar.render
    chunk = max(1, min(CHUNK, CHUNK_PX // (render.width_px * render.height_px)))
    for start in range(first, end, chunk):
        scenes = source.scenes(seed, range(start, min(start + chunk, end)))
        yield from renderer.samples(scenes, source.noise(seed, start))


def _card(options: GenerateOptions, source: SceneSource, rendered_by: str) -> DatasetCard:
    grammar = source.grammar
    render, shown = grammar.render, ", ".join(name for name, kind in grammar.kinds.items() if kind.class_name)
    command = ["metasim", "generate", options.source, "--count", str(options.count), "--format", options.format]
    command += ["--seed", str(options.seed), "--out", str(options.out)]
    command += ["--engine", rendered_by] if options.pool.local else ["--renderer", options.pool.renderer]
    return DatasetCard(
        title=source.name,
        description=f"Scenes with {shown or 'no classes'}, from {source.of}.",
        source=f"{source.of}, grammar {grammar.path.name}",
        seed=options.seed,
        command=shlex.join(command),
        rendering=f"{rendered_by}, {render.width_px} x {render.height_px} pixels, samples per pixel: {render.samples}",
        asset_licences={
            name: f"{len(items):,} items; {items.licence or 'the licence of whoever made them'}"
            for name, items in grammar.asset_sets.items()
        },
        classes=grammar.classes,
        models=model_names(grammar),
        fingerprint=source.fingerprint(options.seed),
    )
