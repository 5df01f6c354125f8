"""Labelled datasets: scenes sampled from the grammar, changed by what a run has learned, rendered, written."""

import re
import shlex
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from metasim.v1 import render_pb2 as pb

from trainer.errors import InputError
from trainer.exports import FORMATS, DatasetCard, Sample, SampleBox, open_writer
from trainer.grammar import Grammar, SceneGraph, load_experiment
from trainer.grammar.loading import looks_like_path
from trainer.learning.learner import transformed
from trainer.loading import open_run
from trainer.model.transformer import DistributionTransformer
from trainer.pool import PoolSettings, open_pool
from trainer.pool.opening import LOCAL
from trainer.progress import Progress, Silent
from trainer.randomness import Purpose, generator, integer
from trainer.rendering import Frame, Renderer
from trainer.run import Json

#: Scenes that are sampled, rendered and written at a time: memory does not grow with the size of the dataset.
CHUNK = 256


@dataclass(frozen=True)
class GenerateOptions:
    """What `metasim generate` takes."""

    #: A run folder, or a grammar or experiment by name or path.
    source: str
    count: int
    out: Path
    format: str = "imagefolder"
    seed: int = 0
    renderer: str = "local"
    engine: str | None = None  # None: that of the run or of the experiment
    workers: int | None = None
    mnist: Path | None = None
    pool: PoolSettings | None = None


@dataclass(frozen=True)
class _Source:
    """Where scenes come from."""

    #: What the data is of, in words.
    of: str
    name: str
    grammar: Grammar
    engine: str
    notes: tuple[str, ...]
    transformer: DistributionTransformer | None = None


def generate(options: GenerateOptions, progress: Progress | None = None) -> Json:
    """Renders scenes of the learned model of a run, or of a grammar's prior, and writes them as a dataset.

    Scene i depends on the source, the seed and i alone.

    Returns:
        What was written: `out`, `format`, `count`, `of`, `seed`, `rendered_by`, `labels` (how many images have which),
        `seconds`.

    Raises:
        InputError: the source, the format or the folder is wrong, or the format cannot hold these scenes.
        RenderError: a scene could not be rendered.
    """
    progress = progress or Silent()
    began_s = time.monotonic()
    if options.format not in FORMATS:
        raise InputError(f"format {options.format!r} is unknown; allowed: {', '.join(sorted(FORMATS))}")
    source = _open(options)
    for note in source.notes:
        progress.note(note)
    engine = options.engine or source.engine
    rendered_by = engine if options.renderer == LOCAL else f"the workers at {options.renderer}"
    labels: dict[str, int] = {}
    with (
        open_writer(options.format, options.out, _card(options, source, rendered_by)) as writer,
        open_pool(
            options.renderer,
            assets=source.grammar.assets,
            engine=engine,
            workers=options.workers,
            settings=options.pool,
        ) as pool,
    ):
        advance = progress.stage("render and write")
        for sample in _samples(Renderer(pool, source.grammar, chunk=CHUNK), source, options):
            writer.add(sample)
            name = "none" if sample.label is None else str(sample.label)
            labels[name] = labels.get(name, 0) + 1
            advance(writer.count, options.count)
    progress.stop()
    return {
        "out": str(options.out),
        "format": options.format,
        "count": options.count,
        "of": source.of,
        "seed": options.seed,
        "rendered_by": rendered_by,
        "labels": dict(sorted(labels.items())),
        "seconds": time.monotonic() - began_s,
    }


def _open(options: GenerateOptions) -> _Source:
    folder = Path(options.source)
    if folder.is_dir():
        loaded = open_run(folder, mnist=options.mnist)
        return _Source(
            of=f"the learned model of {folder}",
            name=folder.resolve().name,
            grammar=loaded.experiment.grammar,
            engine=loaded.config.engine,
            notes=loaded.experiment.notes,
            transformer=loaded.transformer,
        )
    if looks_like_path(options.source) and not folder.is_file():
        raise InputError(f"{folder}: there is neither a run folder nor a grammar file of this name")
    experiment = load_experiment(options.source, mnist=options.mnist)
    return _Source(
        of=f"the prior of {experiment.name}",
        name=experiment.name,
        grammar=experiment.grammar,
        engine=experiment.engine,
        notes=experiment.notes,
    )


def _samples(renderer: Renderer, source: _Source, options: GenerateOptions) -> Iterator[Sample]:
    noise = integer(options.seed, Purpose.GENERATION)
    for first in range(0, options.count, CHUNK):
        scenes = [
            source.grammar.sample(generator(options.seed, Purpose.GENERATION, index))
            for index in range(first, min(first + CHUNK, options.count))
        ]
        if source.transformer is not None:
            scenes = transformed(source.transformer, scenes)
        frames = renderer.render(scenes, noise + first, (pb.OUTPUT_IMAGE_U8, pb.OUTPUT_BOXES))
        for scene, frame in zip(scenes, frames, strict=True):
            yield _sample(scene, frame)


def _sample(scene: SceneGraph, frame: Frame) -> Sample:
    classes = [node.class_name for node in scene.nodes if node.class_name]
    label = classes[0] if len(classes) == 1 else None
    boxes = tuple(
        SampleBox(box.class_name, box.visible.x_px, box.visible.y_px, box.visible.width_px, box.visible.height_px)
        for box in frame.boxes
        if box.HasField("visible")
    )
    attributes = [
        {"node": scene.nodes[item.node].id, "attribute": item.name, "value": round(float(value), 4)}
        for item, value in zip(scene.mutable, scene.values(), strict=True)
    ]
    return Sample(
        image=frame.image,
        label=int(label) if label is not None and re.fullmatch(r"\d{1,9}", label, re.ASCII) else label,
        boxes=boxes,
        metadata={"attributes": attributes},
    )


def _card(options: GenerateOptions, source: _Source, rendered_by: str) -> DatasetCard:
    render, kinds = source.grammar.render, source.grammar.kinds
    shown = ", ".join(name for name, kind in kinds.items() if kind.class_name)
    sets = source.grammar.asset_sets
    command = ["metasim", "generate", options.source, "--count", str(options.count), "--format", options.format]
    command += ["--seed", str(options.seed), "--out", str(options.out)]
    command += ["--engine", rendered_by] if options.renderer == LOCAL else ["--renderer", options.renderer]
    return DatasetCard(
        title=source.name,
        description=f"Scenes with {shown or 'no classes'}, from {source.of}.",
        source=f"{source.of}, grammar {source.grammar.path.name}",
        seed=options.seed,
        command=shlex.join(command),
        rendering=f"{rendered_by}, {render.width_px} x {render.height_px} pixels, samples per pixel: {render.samples}",
        asset_licences={
            name: f"{len(items):,} items; the licence of whoever made them" for name, items in sets.items()
        },
    )
