"""Prints images per second of one engine process on a device: `gpu_bench.py KIND`.

Renders a scene of spheres, cubes and shadows at two sizes, as a dataset does, and the columns of a Jacobian.
"""

import json
import sys
import time

from metasim.v1 import render_pb2 as pb
from metasim.v1 import scene_pb2

from render_server.engines import create_engine

#: How long each figure is measured.
_SECONDS = 8.0


def _scene() -> scene_pb2.Scene:
    nodes = [
        scene_pb2.Node(
            id="camera",
            transform=scene_pb2.Transform(y_m=-14, z_m=6, roll_deg=68),
            camera=scene_pb2.Camera(perspective=scene_pb2.Perspective(vertical_fov_deg=40)),
        ),
        scene_pb2.Node(
            id="sun",
            transform=scene_pb2.Transform(roll_deg=40, yaw_deg=20),
            light=scene_pb2.Light(sun=scene_pb2.SunLight(irradiance_w_m2=3, angle_deg=1)),
        ),
    ]
    for number in range(60):
        x, y = number % 10 - 4.5, number // 10 - 2.5
        node = scene_pb2.Node(
            id=f"n{number}", class_name="thing", transform=scene_pb2.Transform(x_m=x, y_m=y, scale=0.7)
        )
        node.mesh.primitive = scene_pb2.PRIMITIVE_SPHERE if number % 2 else scene_pb2.PRIMITIVE_CUBE
        nodes.append(node)
    return scene_pb2.Scene(nodes=nodes, classes=["thing"], background=scene_pb2.Color(red=0.3, green=0.4, blue=0.5))


def _task(width: int, height: int, samples: int, columns: int) -> pb.RenderTask:
    steps = [pb.Column(node=f"n{number}", attribute=scene_pb2.ATTRIBUTE_X, step=0.05) for number in range(columns)]
    return pb.RenderTask(
        id="bench",
        scene=_scene(),
        settings=pb.RenderSettings(
            width_px=width,
            height_px=height,
            samples=samples,
            filter_width_px=1,
            view_transform=pb.VIEW_TRANSFORM_STANDARD,
            max_bounces=2,
        ),
        outputs=[pb.OUTPUT_IMAGE_U8],
        columns=steps,
    )


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
