"""Print the images per second of one engine process on a device: `gpu_bench.py KIND`.

The script renders a scene of spheres, cubes and shadows at two sizes, as a dataset does, and the columns of a Jacobian.
"""

import json
import sys
import time

from metasim.v1 import render_pb2 as pb
from metasim.v1 import scene_pb2

from render_server.engines import create_engine
from render_server.processes.sharing import objects_scene, objects_task

#: How long each figure is measured.
_SECONDS = 8.0


def _task(width: int, height: int, samples: int, columns: int) -> pb.RenderTask:
    scene = objects_scene(
        scene_pb2.Transform(y_m=-14, z_m=6, roll_deg=68),
        [(number % 10 - 4.5, number // 10 - 2.5) for number in range(60)],
    )
    steps = [pb.Column(node=f"n{number}", attribute=scene_pb2.ATTRIBUTE_X, step=0.05) for number in range(columns)]
    return objects_task("bench", scene, width_px=width, height_px=height, samples=samples, columns=steps)


def main(device: str) -> None:
    """Print one JSON object."""
    engine = create_engine("blender", device=device)
    figures: dict[str, object] = {"device": device, "name": engine.device_name, "engine": engine.version}
    for name, task in (
        ("small_images_per_s", _task(64, 64, 16, 0)),
        ("large_images_per_s", _task(1280, 720, 64, 0)),
        ("jacobians_of_60_columns_per_s", _task(620, 188, 8, 60)),
    ):
        engine.render(task, {})  # The first image loads kernels.
        began, count = time.perf_counter(), 0
        while time.perf_counter() - began < _SECONDS:
            engine.render(task, {})
            count += 1
        figures[name] = round(count / (time.perf_counter() - began), 3)
    sys.stdout.write("\n" + json.dumps(figures) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
