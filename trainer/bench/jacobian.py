"""What the Jacobian through the renderer costs: the figures of `metasim bench jacobian`.

All times but `batch_seconds` are the workers' own (build, render, encode). The floor of a batch is what its samples
cost: their number times the cost of one more sample, which is the slope between probes with the usual number of samples
per pixel and with twice as many, in the same regions and the same run; of both, the fastest of three counts.
"""

import concurrent.futures
import dataclasses
import importlib.util
import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from metasim.memory import keep_freed_memory
from metasim.tensors import tensor_to_proto
from metasim.v1 import render_pb2 as pb
from metasim.v1 import scene_pb2

from trainer.bench.digits import digit_tasks
from trainer.bench.street_scene import HEIGHT_PX, SAMPLES, WIDTH_PX, street_task
from trainer.pool.assets import AssetStore
from trainer.pool.client import RenderPool
from trainer.pool.local import LocalWorkers
from trainer.progress import Advance, Progress, Silent, Step, ignore
from trainer.rendering.agreement import Agreement
from trainer.rendering.columns import column_from_wire
from trainer.rendering.probing import Probing

_DIGIT_STEPS = {scene_pb2.ATTRIBUTE_X: 0.5, scene_pb2.ATTRIBUTE_Y: 0.5, scene_pb2.ATTRIBUTE_YAW: 2.0}
_DIGIT_SIZE_PX = 32
_DIGITS = 64
_REPEATS = 3
REFERENCE_SAMPLES = 256
_LOSSES = 4
#: Width in pixels over which the gradients of smooth losses are averaged.
_SMOOTH_PX = 9

#: Streets of one seed; those of the next follow.
_STREETS = 1_000

# Steps of the progress.
START = "start workers"
IMAGES = "render images"
CENTRAL = "measure columns by central differences"
FORWARD = "measure columns by forward differences"
SCREEN = "derive columns in screen space"
SAMPLE = "measure the cost of a sample"
WHOLE = "render columns as whole frames"
REFERENCE = f"render the reference at {REFERENCE_SAMPLES} samples"
MODES = "compare modes"
ONE = "measure one worker"

_SCREEN = {"screen": Probing(method="screen"), "auto": Probing(method="auto")}


@dataclasses.dataclass(frozen=True)
class StreetCost:
    """Of a batch of streets; see `trainer.bench.street_scene`."""

    scenes: int
    columns: int
    workers: int
    #: Wall time of images and all columns, by central and by forward differences.
    batch_seconds: dict[str, float]
    #: Mean part of the frame that a column renders.
    region_fraction: float
    seconds_per_column: float
    full_frame_seconds_per_column: float
    #: How many times faster regions are than full frames.
    speedup: float
    #: Time divided by the floor; the cost of a sample that the floor is made of.
    floor_ratio: float
    seconds_per_sample: float
    #: Of all differences together, regions against full frames at the same seeds.
    cosine: float
    norm_ratio: float
    bytes_per_column: dict[str, float]
    #: Largest difference between the two modes' products with a random gradient, relative to the largest product.
    modes_differ_by: float
    #: How many times faster two workers are than one.
    two_workers: float
    #: Worker time of image and all columns, as a multiple of that of the image: by central and forward differences, and
    #: in screen space without ("screen") and with ("auto") the largest columns exact.
    multiples_of_image: dict[str, float]
    #: Of the gradients of smooth losses, to central differences at `REFERENCE_SAMPLES`: by central differences, and in
    #: screen space.
    cosine_to_reference: dict[str, float]


@dataclasses.dataclass(frozen=True)
class DigitCost:
    """Of a batch of digits on one engine."""

    scenes: int
    columns: int
    renders: int
    #: The workers' time for all of it, summed.
    worker_seconds: float
    seconds_per_render: float
    batch_seconds: float
    bytes_per_column: dict[str, float]


def bench_jacobian(
    *,
    scenes: int = 4,
    audited: int = 24,
    workers: int = 2,
    seed: int = 0,
    device: str = "cpu",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Measure streets with Blender, where it is installed, and digits with each engine.

    Args:
        scenes: streets in the batch.
        audited: columns that are rendered as full frames too.
        workers: processes.
        seed: other streets for another seed.
        device: kind of device of Blender; raster renders on the CPU only, and is left out on others.
        progress: shown while it runs.

    Raises:
        InputError: an engine cannot run here.
    """
    progress = progress or Silent()
    keep_freed_memory()
    blender = importlib.util.find_spec("bpy") is not None
    engines = [*(["blender"] if blender else []), *(["raster"] if device == "cpu" or not blender else [])]
    progress.plan([*(_street_steps(scenes, audited, workers) if blender else ()), *map(_digit_step, engines)])
    result: dict[str, Any] = {}
    if blender:
        result["street"] = dataclasses.asdict(_street(scenes, audited, workers, seed, progress, device))
    result["digits"] = {}
    for engine in engines:
        with progress.step(_digit_step(engine).name):
            result["digits"][engine] = dataclasses.asdict(_digits(engine, workers, device))
    progress.stop()
    return result


def _street_steps(scenes: int, audited: int, workers: int) -> list[Step]:
    """Return the steps of the streets, with expected durations: a street's columns take 7 s of a worker."""
    batch_s = 7.0 * scenes / workers
    few_s = 7.0 * min(scenes, 2 * workers) / workers
    return [
        Step(START, 10.0),
        Step(IMAGES, 0.1 * batch_s, "render"),
        Step(CENTRAL, batch_s, "render"),
        Step(FORWARD, 0.5 * batch_s, "render"),
        Step(SCREEN, 0.4 * batch_s, "render"),
        Step(SAMPLE, 10.0 * _REPEATS, "render"),
        Step(WHOLE, 0.9 * audited / workers, "render"),
        Step(REFERENCE, 1.3 * audited / workers, "render"),
        Step(MODES, 7.0 + few_s, "render"),
        Step(ONE, 8.0 + few_s, "render"),
    ]


def _digit_step(engine: str) -> Step:
    return Step(f"measure digits with {engine}", 8.0, "digits")


def _street(scenes: int, audited: int, workers: int, seed: int, progress: Progress, device: str) -> StreetCost:
    assets = AssetStore()
    tasks = [street_task(_STREETS * seed + number, assets) for number in range(scenes)]
    columns = sum(len(task.columns) for task in tasks)
    few = tasks[: min(scenes, 2 * workers)]
    picked = _picked(tasks, audited)
    smooth = [_smooth_gradient(number) for number in range(_LOSSES)]
    progress.step(START)
    with _pool("blender", workers, assets, device) as pool:
        progress.watch(pool)
        pool.render([_variant(task, f"warm-{i}", columns=task.columns[:2]) for i, task in enumerate(tasks)])
        with progress.step(IMAGES) as advance:
            images, _ = _timed(pool, [_variant(task, "i", columns=()) for task in tasks], advance)
        with progress.step(CENTRAL) as advance:
            central, central_s = _timed(pool, tasks, advance)
        with progress.step(FORWARD) as advance:
            forward = [_variant(task, "f", difference=pb.DIFFERENCE_FORWARD) for task in tasks]
            by_forward, forward_s = _timed(pool, forward, advance)
        with progress.step(SCREEN) as advance:
            derived, _ = _timed(
                pool,
                [
                    _variant(task, name, outputs=(), gradient=smooth[0], probing=probing)
                    for name, probing in _SCREEN.items()
                    for task in tasks
                ],
                advance,
            )
            methods = {name: derived[place * scenes : (place + 1) * scenes] for place, name in enumerate(_SCREEN)}
        with progress.step(SAMPLE) as advance:
            # Columns alone, so that the images do not count.
            usual, _ = _timed(pool, [_variant(task, "r", outputs=()) for task in few])
            # In turns, so that a machine whose speed changes slows both.
            once: list[list[pb.RenderResult]] = []
            twice: list[list[pb.RenderResult]] = []
            for repeat in range(_REPEATS):
                for runs, samples in ((once, SAMPLES), (twice, 2 * SAMPLES)):
                    variants = [_variant(task, "s", outputs=(), samples=samples) for task in tasks[:workers]]
                    runs.append(_timed(pool, variants)[0])
                advance(repeat + 1, _REPEATS)
        with progress.step(WHOLE) as advance:
            whole = [_variant(t, "a", outputs=(), columns=c, full_frame=True) for t, c in picked]
            frames, _ = _timed(pool, whole, advance)
            regions, _ = _timed(pool, [_variant(t, "b", outputs=(), columns=c) for t, c in picked])
        with progress.step(REFERENCE) as advance:
            precise = [_variant(t, "ref", outputs=(), columns=c, samples=REFERENCE_SAMPLES) for t, c in picked]
            reference, _ = _timed(pool, precise, advance)
            found = {"central": _products(regions, smooth)}
            found["screen"] = np.array(
                [
                    [
                        column.product
                        for result in _timed(pool, _in_screen_space(picked, each))[0]
                        for column in result.columns
                    ]
                    for each in smooth
                ]
            )
        with progress.step(MODES):
            gradient = np.random.default_rng(0).normal(size=(HEIGHT_PX, WIDTH_PX, 3)).astype(np.float32)
            products, _ = _timed(pool, [_variant(tasks[0], "v", outputs=(), gradient=gradient)])
            _, several_s = _timed(pool, [_variant(task, "e", difference=pb.DIFFERENCE_FORWARD) for task in few])
    progress.step(ONE)
    with _pool("blender", 1, assets, device) as pool:
        progress.watch(pool)
        pool.render([_variant(task, f"warm-{i}", columns=task.columns[:2]) for i, task in enumerate(few)])
        _, single_s = _timed(pool, [_variant(task, "e", difference=pb.DIFFERENCE_FORWARD) for task in few])

    per_column = _seconds(usual) / sum(len(result.columns) for result in usual)
    full_frame = _seconds(frames) / sum(len(result.columns) for result in frames)
    once_s, twice_s = min(map(_seconds, once)), min(map(_seconds, twice))
    per_sample = (twice_s - once_s) / _samples(once[0])
    renders = [column.samples for result in usual for column in result.columns]
    agreement = Agreement()
    for region, frame in zip(regions, frames, strict=True):
        for pair in zip(region.columns, frame.columns, strict=True):
            by_region, by_frame = (column_from_wire(each).in_frame(HEIGHT_PX, WIDTH_PX) * each.span for each in pair)
            agreement.add(by_region, by_frame)
    expected = np.array([column_from_wire(column).dot(gradient) for column in central[0].columns])
    returned = np.array([column.product for column in products[0].columns])
    spans = np.array([column.span for result in reference for column in result.columns])
    trusted = _products(reference, smooth) * spans
    image_s = _seconds(images)
    multiples = {name: (image_s + _seconds(results)) / image_s for name, results in methods.items()}
    return StreetCost(
        scenes=scenes,
        columns=columns,
        workers=workers,
        batch_seconds={"central": central_s, "forward": forward_s},
        region_fraction=float(np.mean(renders)) / (2 * SAMPLES * WIDTH_PX * HEIGHT_PX),
        seconds_per_column=per_column,
        full_frame_seconds_per_column=full_frame,
        speedup=full_frame / per_column,
        floor_ratio=once_s / (_samples(once[0]) * per_sample),
        seconds_per_sample=per_sample,
        cosine=agreement.cosine,
        norm_ratio=agreement.norm_ratio,
        bytes_per_column={"jacobian": _bytes_per_column(central), "vjp": _bytes_per_column(products)},
        modes_differ_by=float(np.abs(returned - expected).max() / np.abs(expected).max()),
        two_workers=single_s / several_s,
        multiples_of_image={
            "central": _seconds(central) / image_s,
            "forward": _seconds(by_forward) / image_s,
            **multiples,
        },
        cosine_to_reference={name: _cosine(each * spans, trusted) for name, each in found.items()},
    )


def _digits(engine: str, workers: int, device: str) -> DigitCost:
    assets = AssetStore()
    tasks = digit_tasks(_DIGITS, _DIGIT_SIZE_PX, _DIGIT_STEPS, assets)
    with _pool(engine, workers, assets, device) as pool:
        pool.render(tasks)
        results, seconds = min((_timed(pool, tasks) for _ in range(5)), key=lambda run: _seconds(run[0]))
        gradient = np.ones((_DIGIT_SIZE_PX, _DIGIT_SIZE_PX, 3), np.float32)
        products, _ = _timed(pool, [_variant(task, "v", outputs=(), gradient=gradient) for task in tasks])
    renders = sum(result.timing.renders for result in results)
    return DigitCost(
        scenes=len(tasks),
        columns=sum(len(task.columns) for task in tasks),
        renders=renders,
        worker_seconds=_seconds(results),
        seconds_per_render=_seconds(results) / renders,
        batch_seconds=seconds,
        bytes_per_column={"jacobian": _bytes_per_column(results), "vjp": _bytes_per_column(products)},
    )


def _pool(engine: str, workers: int, assets: AssetStore, device: str) -> RenderPool:
    local = LocalWorkers(engine=engine, workers=workers, device=device)
    return RenderPool(local.address, assets=assets, on_close=local.close)


def _variant(
    task: pb.RenderTask,
    suffix: str,
    *,
    columns: Sequence[pb.Column] | None = None,
    outputs: Sequence[pb.Output.ValueType] | None = None,
    difference: pb.Difference.ValueType = pb.DIFFERENCE_CENTRAL,
    full_frame: bool = False,
    samples: int = 0,
    gradient: np.ndarray | None = None,
    probing: Probing | None = None,
) -> pb.RenderTask:
    """Return the task with another id and the given changes."""
    chosen = list(task.columns if columns is None else columns)
    asked = list(task.outputs if outputs is None else outputs)
    variant = pb.RenderTask()
    variant.CopyFrom(task)
    variant.id = f"{task.id}/{suffix}"
    del variant.columns[:], variant.outputs[:]
    variant.columns.extend(chosen)
    variant.outputs.extend(asked)
    variant.probes.CopyFrom(pb.ProbeSettings(difference=difference, full_frame=full_frame, samples=samples))
    if probing is not None:
        variant.probes.CopyFrom(probing.wire(len(chosen)))
    if gradient is not None:
        variant.image_gradient.CopyFrom(tensor_to_proto(gradient, compress=True))
    return variant


def _in_screen_space(
    picked: Sequence[tuple[pb.RenderTask, list[pb.Column]]], gradient: np.ndarray
) -> list[pb.RenderTask]:
    return [
        _variant(task, "c", outputs=(), columns=columns, gradient=gradient, probing=_SCREEN["screen"])
        for task, columns in picked
    ]


def _smooth_gradient(seed: int) -> np.ndarray:
    """Return a random gradient of a smooth loss, [HEIGHT_PX, WIDTH_PX, 3]."""
    noise = np.random.default_rng(seed).normal(size=(HEIGHT_PX, WIDTH_PX, 3))
    for axis in (0, 1):
        noise = np.mean([np.roll(noise, shift, axis) for shift in range(_SMOOTH_PX)], 0)
    return np.asarray(noise, np.float32)


def _products(results: Sequence[pb.RenderResult], gradients: Sequence[np.ndarray]) -> np.ndarray:
    """Return the derivatives of losses by all columns, [losses, columns], from differences."""
    columns = [column_from_wire(column) for result in results for column in result.columns]
    return np.array([[column.dot(gradient) for column in columns] for gradient in gradients])


def _cosine(found: np.ndarray, expected: np.ndarray) -> float:
    return float((found * expected).sum() / np.linalg.norm(found) / np.linalg.norm(expected))


def _timed(
    pool: RenderPool, tasks: Sequence[pb.RenderTask], advance: Advance = ignore
) -> tuple[list[pb.RenderResult], float]:
    """Return the results in the order of the tasks, and the wall time."""
    began_s = time.perf_counter()
    futures = pool.submit_all(tasks)
    for number, future in enumerate(concurrent.futures.as_completed(futures), 1):
        future.result()
        advance(number, len(tasks))
    return [future.result() for future in futures], time.perf_counter() - began_s


def _picked(tasks: Sequence[pb.RenderTask], count: int) -> list[tuple[pb.RenderTask, list[pb.Column]]]:
    """Return `count` columns, evenly spread over the objects, attributes and a few of the scenes."""
    scenes = tasks[: max(1, min(4, len(tasks)))]
    share = math.ceil(count / len(scenes))
    rng = np.random.default_rng(0)
    picked = []
    for task in scenes:
        places = np.sort(rng.choice(len(task.columns), share, replace=False))
        picked.append((task, [task.columns[place] for place in places]))
    return picked


def _seconds(results: Sequence[pb.RenderResult]) -> float:
    timings = [result.timing for result in results]
    return sum(timing.build_s + timing.render_s + timing.encode_s for timing in timings)


def _samples(results: Sequence[pb.RenderResult]) -> int:
    return sum(column.samples for result in results for column in result.columns)


def _bytes_per_column(results: Sequence[pb.RenderResult]) -> float:
    sizes = [column.ByteSize() for result in results for column in result.columns]
    return float(np.mean(sizes))
