"""Labelled datasets: scenes are sampled from the grammar, changed by the learned model, rendered and written."""

import shlex
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from trainer.datasets.destinations import Together, destination, pieces_of
from trainer.datasets.fitting import chosen
from trainer.datasets.parts import Shard, parse_splits
from trainer.datasets.writers import DatasetCard, open_writer, writer_of
from trainer.datasets.writers.journal import JOURNAL
from trainer.datasets.writers.picture import PNG, Encoding
from trainer.datasets.writers.rendered import mesh_source, model_names
from trainer.errors import InputError
from trainer.pool import PoolOptions, RenderPool, open_pool
from trainer.progress import Progress, Silent, Step
from trainer.runs.sample_stream import SampleStream
from trainer.runs.scene_filter import SceneFilter
from trainer.runs.scene_source import SceneSource, open_source
from trainer.translation import Translator, open_translator

#: Scenes, and pixels, that are sampled, rendered and written at a time. Memory does not grow with the dataset.
CHUNK, CHUNK_PX = 256, 1 << 23
#: Default number of audited images.
AUDITED = 20
#: Default number of images per file, in formats with many images per file.
PER_FILE = 1000
#: Minimum duration of a plan's measurement, and maximum number of its images.
PLAN_S, PLAN_IMAGES = 10.0, 2000


@dataclass(frozen=True)
class GenerateOptions:
    """The options of `metasim generate`."""

    #: A run folder, or a grammar or experiment by name or path.
    source: str
    count: int
    #: A folder, or a URL of an object store such as "s3://bucket/name".
    out: Path | str
    format: str = "imagefolder"
    seed: int = 0
    mnist: Path | None = None
    pool: PoolOptions = field(default_factory=PoolOptions)
    #: Continue the export in `out`.partial, which had the same options.
    resume: bool = False
    #: Splits by scene number, such as "train=0.8,test=0.2"; see `trainer.datasets.parts.parse_splits`.
    split: str | None = None
    #: Make only this part of the dataset, such as "0/4"; `trainer.datasets.merging` merges the parts.
    shard: str | None = None
    #: The condition on scenes; see `trainer.runs.scene_filter`.
    keep: str | None = None
    #: Images whose labels are audited, evenly spread; 0: none.
    audit: int = AUDITED
    #: Samples per pixel; None: those of the grammar.
    samples: int | None = None
    #: Denoise the images with a neural network.
    denoise: bool = False
    #: A model of `metasim translate fit` that changes the appearance of the images.
    translate: Path | None = None
    #: The encoding of images, such as "png" or "jpeg:90"; see `trainer.datasets.writers.picture.Encoding`.
    images: str = "png"
    #: Images per file, in formats with many images per file.
    per_file: int = PER_FILE
    #: Whether workers encode the images; otherwise this client does, for measurements.
    workers_encode: bool = True


def generate(options: GenerateOptions, progress: Progress | None = None) -> dict[str, Any]:
    """Render scenes of the learned model of a run, or of a grammar's prior, and write them as a dataset.

    Scene i depends only on the source, the seed and i. A resumed export therefore has the same bytes as an
    uninterrupted one, and parts from several machines form one dataset.

    Returns:
        A summary: `out`, `format`, `count`, `of`, `seed`, `rendered_by`, `labels` (images per label), `resumed_at`
        (images written before), `kept` (the fraction of scenes that met the condition), `seconds`.

    Raises:
        InputError: the source, the format or the folder is wrong, or the format cannot hold these scenes.
        AuditError: labels contradict each other.
        RenderError: a scene could not be rendered.
    """
    progress = progress or Silent()
    began_s = time.monotonic()
    job = _Job(options, progress)
    labels: dict[str, int] = {}
    done = there = drawn = 0
    counts: dict[str, int] = {}
    total = sum(len(piece.scenes) for piece in job.pieces)
    with job.opened() as together:
        for piece in job.pieces:
            if job.destination.finished(piece):  # Made by an earlier attempt.
                counts[piece.split or ""] = len(piece.scenes)
                done += len(piece.scenes)
                there += len(piece.scenes)
                continue
            resume = options.resume and bool(job.destination.left(piece) or not (piece.split or piece.shard))
            with job.destination.open(piece, resume=resume, meshes=job.meshes) as writer:
                there += writer.count
                writer.rendered_by = job.pool.rendered_by
                if writer.count < len(piece.scenes):
                    with closing(job.stream().samples(piece.scenes[writer.count :])) as samples:
                        for each in samples:
                            writer.add(each.sample, drawn=each.drawn, audited=each.audited)
                            job.advance(done + writer.count, total)
                written = writer.counts()
            done += writer.count
            drawn += written.drawn
            counts[piece.split or ""] = writer.count
            for label, number in written.labels.items():
                name = "none" if label is None else str(label)
                labels[name] = labels.get(name, 0) + number
        if together:
            together.complete(job.card, counts, options.format)
    progress.stop()
    return {
        "out": str(options.out),
        "format": options.format,
        "count": total,
        "of": job.source.of,
        "seed": options.seed,
        "rendered_by": job.rendered_by,
        "labels": dict(sorted(labels.items())),
        "resumed_at": there,
        **({"kept": sum(counts.values()) / max(drawn, 1)} if options.keep else {}),
        "seconds": time.monotonic() - began_s,
    }


def plan(options: GenerateOptions, progress: Progress | None = None) -> dict[str, Any]:
    """Measure how fast images are rendered and written, and estimate the cost of all images.

    Returns:
        `count`, `images_per_s`, `hours`, `processes` (of the workers), `core_hours` (of workers and this client),
        `client_images_per_s` (what one core of the client could write), `bytes_per_image`, `gigabytes`, `measured`
        (images).

    Raises:
        InputError, RenderError: as `generate`.
    """
    with tempfile.TemporaryDirectory() as folder:
        options = replace(options, out=Path(folder) / "plan", split=None, shard=None, resume=False, audit=0)
        job = _Job(options, progress or Silent())
        with job.opened():
            [piece] = job.pieces
            writer = open_writer(options.format, Path(options.out), piece.card, meshes=job.meshes)
            samples = job.stream().samples(range(max(options.count, PLAN_IMAGES)))
            measured, began_s, busy_s = 0, time.monotonic(), time.process_time()
            with closing(samples):
                first = next(samples)  # The workers have started and received the assets.
                writer.add(first.sample, drawn=first.drawn)
                began_s, busy_s = time.monotonic(), time.process_time()
                for each in samples:
                    writer.add(each.sample, drawn=each.drawn)
                    measured += 1
                    if measured >= PLAN_IMAGES or time.monotonic() - began_s > PLAN_S:
                        break
            seconds, busy = time.monotonic() - began_s, time.process_time() - busy_s
            writer.abort()
            processes = job.pool.stats.processes_up
        size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file() and path.name != JOURNAL)
        shutil.rmtree(writer.folder.with_name("plan.partial"), ignore_errors=True)
    rate = max(measured, 1) / seconds
    hours = options.count / rate / 3600
    each_byte = size / (measured + 1)
    return {
        "count": options.count,
        "images_per_s": rate,
        "hours": hours,
        "processes": processes,
        "core_hours": hours * (processes + busy / seconds),
        "client_images_per_s": max(measured, 1) / max(busy, 1e-9),
        "bytes_per_image": each_byte,
        "gigabytes": each_byte * options.count / 1e9,
        "measured": measured,
    }


class _Job:
    """The objects that an export's options resolve to."""

    def __init__(self, options: GenerateOptions, progress: Progress) -> None:
        self._options, self._progress = options, progress
        self._writer, self._encoding = writer_of(options.format), Encoding.parse(options.images)
        self.source = _with_quality(open_source(options.source, mnist=options.mnist), options)
        for note in self.source.notes:
            progress.note(note)
        self._pool_options = options.pool.with_default_engine(self.source.engine)
        self._translator = None if options.translate is None else open_translator(options.translate)
        self._encodes = self._writer.encodes_image and options.workers_encode and self._translator is None
        if self._encodes:
            formats = {self._encoding.format} | ({PNG.format} if self._writer.encodes_masks else set())
            settings = replace(self._pool_options.settings, image_formats=frozenset(formats))
            self._pool_options = replace(self._pool_options, settings=settings)
        pool = self._pool_options
        self.rendered_by = str(pool.engine) if pool.local else f"the workers at {pool.renderer}"
        self.meshes = mesh_source(self.source.grammar)
        classes = self.source.grammar.classes
        self._keep = None if options.keep is None else SceneFilter.parse(options.keep, classes)
        self._audited = frozenset(chosen(options.count, options.audit)) if options.audit else frozenset()
        self.card = _card(options, self.source, self.rendered_by, self._translator)
        self._writer.check(self.card)
        self.destination = destination(options.out, options.format, options.per_file)
        splits: list[tuple[str | None, range]] = [(None, range(options.count))]
        if options.split:
            splits = list(parse_splits(options.split, options.count))
        shard = Shard.parse(options.shard) if options.shard else None
        self.pieces = pieces_of(splits, shard, self.card, self.destination.step())
        self._pool: RenderPool | None = None

    @contextmanager
    def opened(self) -> Iterator[Together | None]:
        """Open the pool and, for splits that are not parts, the dataset of all splits."""
        options = self._options
        self.destination.check()
        missing = [piece for piece in self.pieces if not self.destination.finished(piece)]
        with ExitStack() as stack:
            together = None
            if options.split and not options.shard:
                together = stack.enter_context(self.destination.together(resume=options.resume))
            for piece in missing:  # Check before workers start.
                left = self.destination.left(piece)
                if left and not options.resume:
                    raise InputError(
                        f"{left} is an unfinished export; "
                        "add --resume to continue it, remove it, or choose another name"
                    )
            if missing:
                self._open(stack)
            yield together

    def _open(self, stack: ExitStack) -> None:
        """Open the pool."""
        self._pool = stack.enter_context(open_pool(self._pool_options, assets=self.source.grammar.assets))
        self._progress.plan([Step("render and write")])
        self._progress.watch(self._pool)
        self.advance = self._progress.step("render and write")

    @property
    def pool(self) -> RenderPool:
        if self._pool is None:
            raise ValueError("the pool is not open")
        return self._pool

    def stream(self) -> SampleStream:
        """Return the samples of the job's scenes; workers encode what the format stores as files."""
        render = self.source.grammar.render
        return SampleStream(
            self.pool,
            self.source,
            self._writer.needs,
            self._options.seed,
            encoding=self._encoding if self._encodes else None,
            encodes_masks=self._encodes and self._writer.encodes_masks,
            keep=self._keep,
            audited=self._audited,
            chunk=max(1, min(CHUNK, CHUNK_PX // (render.width_px * render.height_px))),
            translator=self._translator,
        )


def _with_quality(source: SceneSource, options: GenerateOptions) -> SceneSource:
    """Return the source with the options' samples per pixel and denoising."""
    render = source.grammar.render
    render = replace(render, samples=options.samples or render.samples, denoise=options.denoise)
    return (
        source if render == source.grammar.render else replace(source, grammar=replace(source.grammar, render=render))
    )


def _card(
    options: GenerateOptions, source: SceneSource, rendered_by: str, translator: Translator | None
) -> DatasetCard:
    grammar = source.grammar
    render, shown = grammar.render, ", ".join(name for name, kind in grammar.kinds.items() if kind.class_name)
    command = ["metasim", "generate", options.source, "--count", str(options.count), "--format", options.format]
    command += ["--seed", str(options.seed), "--out", str(options.out)]
    for name in ("split", "keep", "samples", "translate"):
        if getattr(options, name) is not None:
            command += [f"--{name}", str(getattr(options, name))]
    command += ["--denoise"] if options.denoise else []
    for name, usual in (("audit", AUDITED), ("images", "png"), ("per_file", PER_FILE)):
        if getattr(options, name) != usual:
            command += [f"--{name.replace('_', '-')}", str(getattr(options, name))]
    command += ["--engine", rendered_by] if options.pool.local else ["--renderer", options.pool.renderer]
    return DatasetCard(
        title=source.name,
        description=f"Scenes with {shown or 'no classes'}, from {source.of}.",
        source=f"{source.of}, grammar {grammar.path.name}",
        seed=options.seed,
        command=shlex.join(command),
        rendering=f"{rendered_by}, {render.width_px} x {render.height_px} pixels, samples per pixel: {render.samples}"
        f"{', denoised' if render.denoise else ''}",
        asset_licences={
            name: f"{len(items):,} items; {items.licence or 'the licence of whoever made them'}"
            for name, items in grammar.asset_sets.items()
        },
        classes=grammar.classes,
        models=model_names(grammar),
        kept=options.keep or "",
        translation=translator.description if translator else "",
        images=options.images,
        count=options.count,
        per_file=options.per_file,
        fingerprint=source.fingerprint(options.seed),
    )
