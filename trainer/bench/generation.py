"""What the client of `metasim generate` can take: frames per second and core, with workers that answer at once.

The client draws scenes, sends tasks, takes results and writes a dataset, as always. Its processor time is that of this
process; the workers have a process of their own. Both ways of encoding are measured in turns, so that the load of the
machine is the same for both.
"""

import resource
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from metasim.image_files import encode_image
from metasim.tensors import tensor_to_proto
from metasim.v1 import render_pb2 as pb

from trainer.bench.instant_workers import instant_workers
from trainer.generate import GenerateOptions, generate
from trainer.pool import PoolOptions

#: Width and height of the frames.
SIZE_PX = 64
#: Objects in a scene.
OBJECTS = 3
_WORLD = f"""\
render: {{width: {SIZE_PX}, height: {SIZE_PX}, samples: 1}}
background: [0.5, 0.6, 0.8]
nodes:
  camera: {{camera: orthographic, fov: 8, z: 10}}
  sun: {{light: sun, intensity: 3, roll: 40, yaw: 30}}
  box:
    class: box
    mesh: cube
    red: {{uniform: [0, 1]}}
    width: {{uniform: [1, 2]}}
    x: {{uniform: [-3, 3], mutable: true, range: [-4, 4]}}
    y: {{uniform: [-3, 3], mutable: true, range: [-4, 4]}}
    yaw: {{uniform: [-180, 180], mutable: true}}
scene: [camera, sun, {{kind: box, count: {OBJECTS}}}]
"""


@dataclass(frozen=True)
class GenerationMeasurement:
    """One export."""

    #: Whether the workers encoded the images; else the client did.
    workers_encode: bool
    frames: int
    frames_per_s: float
    #: Frames divided by the processor time of the client.
    frames_per_core_s: float
    #: Processor time of the client, in cores.
    client_cores: float
    #: Most memory that this process has held so far.
    peak_bytes: int


def bench_generation(
    *, frames: int = 10_000, workers: int = 4, repeats: int = 3, format_name: str = "webdataset"
) -> dict[str, object]:
    """Measure exports with images that the client encodes and with images that the workers encode.

    Args:
        frames: frames of an export.
        workers: workers that answer at once, in one process.
        repeats: exports of each kind.
        format_name: format of the dataset.

    Returns:
        `frames_per_core_s` and `frames_per_s` of both kinds (medians), their `ratio` per core, and all `runs`.
    """
    runs: list[GenerationMeasurement] = []
    tensors, files = _results()
    with tempfile.TemporaryDirectory() as folder, instant_workers(workers, tensors, files) as endpoint:
        world = Path(folder, "world.yaml")
        world.write_text(_WORLD, encoding="utf-8")
        kinds = (("warm", min(frames, 500), True), ("set", frames, False), ("set", frames, True))
        options = [
            GenerateOptions(
                str(world),
                count,
                Path(folder, name),
                format_name,
                pool=PoolOptions(endpoint),
                audit=0,
                workers_encode=encode,
            )
            for name, count, encode in kinds
        ]
        _measured(options[0])
        for _ in range(repeats):
            runs += [_measured(each) for each in options[1:]]
    client, worker = (_median(runs, encode) for encode in (False, True))
    return {
        "frames_per_core_s": {"client encodes": client[0], "workers encode": worker[0]},
        "frames_per_s": {"client encodes": client[1], "workers encode": worker[1]},
        "ratio": worker[0] / client[0],
        "runs": [asdict(run) for run in runs],
    }


def _measured(options: GenerateOptions) -> GenerationMeasurement:
    with tempfile.TemporaryDirectory(dir=Path(options.out).parent) as folder:
        began_s, cpu_s = time.perf_counter(), time.process_time()
        generate(GenerateOptions(**{**vars(options), "out": Path(folder, "set")}))
        seconds, cpu_s = time.perf_counter() - began_s, time.process_time() - cpu_s
    return GenerationMeasurement(
        workers_encode=options.workers_encode,
        frames=options.count,
        frames_per_s=options.count / seconds,
        frames_per_core_s=options.count / cpu_s,
        client_cores=cpu_s / seconds,
        peak_bytes=1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    )


def _median(runs: Sequence[GenerationMeasurement], encode: bool) -> tuple[float, float]:
    found = [run for run in runs if run.workers_encode is encode]
    return statistics.median(run.frames_per_core_s for run in found), statistics.median(r.frames_per_s for r in found)


def _results() -> tuple[pb.RenderResult, pb.RenderResult]:
    """Return the result of every task, with tensors and with files: smooth blobs in weak noise, with boxes."""
    y, x = np.mgrid[:SIZE_PX, :SIZE_PX]
    rng = np.random.default_rng(0)
    image = rng.normal(128, 2, (SIZE_PX, SIZE_PX, 3))
    tensors, files = pb.RenderResult(), pb.RenderResult()
    for number in range(1, OBJECTS + 1):
        left, top = 12 * number, 40 - 10 * number
        image += np.exp(-((x - left - 8) ** 2 + (y - top - 8) ** 2) / 50)[..., None] * rng.uniform(20, 80, 3)
        box = pb.Rectangle(x_px=left, y_px=top, width_px=16, height_px=16)
        for result in (tensors, files):
            result.boxes.add(node=f"box-{number}", class_name="box", visible=box, amodal=box, visible_px=200)
    pixels = image.clip(0, 255).astype(np.uint8)
    tensors.layers.add(output=pb.OUTPUT_IMAGE_U8).tensor.CopyFrom(tensor_to_proto(pixels))
    files.layers.add(output=pb.OUTPUT_IMAGE_U8).file = encode_image(pixels, pb.IMAGE_FORMAT_PNG)
    for result in (tensors, files):
        result.timing.renders = 1
    return tensors, files
