"""A street for benchmarks: four rows of cars under sun and sky, before a camera as KITTI has it, at half resolution."""

import io
import math
from collections.abc import Sequence

import numpy as np
from metasim.v1 import render_pb2 as pb
from metasim.v1 import scene_pb2

from trainer.pool.assets import AssetStore

WIDTH_PX, HEIGHT_PX, SAMPLES = 620, 188, 8
#: Mutable attributes of each car, with the ranges of their columns.
ATTRIBUTES = {
    scene_pb2.ATTRIBUTE_X: (-15.0, 15.0),
    scene_pb2.ATTRIBUTE_Y: (0.0, 150.0),
    scene_pb2.ATTRIBUTE_YAW: None,
}

_ROWS_X_M = (-7.5, -3.0, 3.0, 7.5)
_NEAREST_M, _SPACING_M = 12.0, 6.5
_CAR_M = (1.8, 4.2, 1.5)
_FOCAL_PX = 360.0  # KITTI has 720 px at its full resolution
_SUN_W_M2, _SKY = 4.0, 0.15  # A clear day: the sky gives a sixth of the light
_AROUND, _UPWARDS = 124, 64
_BODIES = ((0.3, 0.4), (0.5, 0.6), (0.7, 0.8), (0.9, 1.0))


def street_task(seed: int, assets: AssetStore, *, cars: int = 60) -> pb.RenderTask:
    """A street with its columns: three for each car, steps of the worker's choice.

    Args:
        seed: of the cars' places, bodies and colours.
        assets: takes the bodies, meshes of 7,936 quadrilaterals.
    """
    rng = np.random.default_rng(seed)
    bodies = [assets.add(_ply(*_superellipsoid(*shape))) for shape in _BODIES]
    scene = scene_pb2.Scene(classes=["car"], background=_grey(_SKY))
    camera = scene.nodes.add(id="camera")
    camera.transform.z_m, camera.transform.roll_deg = 1.65, 88.0
    camera.camera.perspective.vertical_fov_deg = 2 * math.degrees(math.atan(HEIGHT_PX / 2 / _FOCAL_PX))
    sun = scene.nodes.add(id="sun")
    sun.transform.roll_deg, sun.transform.pitch_deg = 40.0, 25.0
    sun.light.sun.irradiance_w_m2, sun.light.sun.angle_deg = _SUN_W_M2, 0.5
    ground = scene.nodes.add(id="ground")
    ground.transform.y_m = 90.0
    ground.mesh.primitive = scene_pb2.PRIMITIVE_PLANE
    ground.mesh.size_x = ground.mesh.size_y = 200.0
    ground.mesh.material.roughness = 0.9
    ground.mesh.material.base_color.CopyFrom(_grey(0.3))

    task = pb.RenderTask(id=f"street-{seed}", seed=seed, outputs=[pb.OUTPUT_IMAGE_F32])
    for number in range(cars):
        car = scene.nodes.add(id=f"car-{number}", class_name="car")
        row, place = number % len(_ROWS_X_M), number // len(_ROWS_X_M)
        car.transform.x_m = _ROWS_X_M[row] + rng.normal(0, 0.3)
        car.transform.y_m = _NEAREST_M + place * _SPACING_M + rng.uniform(-0.8, 0.8)
        car.transform.z_m = 0.02  # Surfaces that touch would flicker.
        car.transform.yaw_deg = rng.normal(0, 4)
        car.mesh.asset.hash = bodies[rng.integers(len(bodies))]
        car.mesh.asset.format = scene_pb2.MESH_FORMAT_PLY
        car.mesh.size_x, car.mesh.size_y, car.mesh.size_z = _CAR_M
        red, green, blue = rng.uniform(0.1, 0.9, 3)
        car.mesh.material.base_color.CopyFrom(scene_pb2.Color(red=red, green=green, blue=blue))
        for attribute, bounds in ATTRIBUTES.items():
            column = task.columns.add(node=car.id, attribute=attribute)
            if bounds is not None:
                column.minimum, column.maximum = bounds
    task.scene.CopyFrom(scene)
    task.settings.CopyFrom(
        pb.RenderSettings(
            width_px=WIDTH_PX,
            height_px=HEIGHT_PX,
            samples=SAMPLES,
            filter_width_px=1,
            view_transform=pb.VIEW_TRANSFORM_STANDARD,
        )
    )
    return task


def _grey(value: float) -> scene_pb2.Color:
    return scene_pb2.Color(red=value, green=value, blue=value)


def _superellipsoid(upwards: float, around: float) -> tuple[np.ndarray, np.ndarray]:
    """Vertices [n, 3] of a rounded box of edge 1 that stands on the origin, and quadrilaterals [m, 4] (Barr 1981)."""

    def power(values: np.ndarray, exponent: float) -> np.ndarray:
        return np.sign(values) * np.abs(values) ** exponent

    longitude = np.linspace(-math.pi, math.pi, _AROUND, endpoint=False)
    latitude = np.linspace(-math.pi / 2, math.pi / 2, _UPWARDS + 1)[:, None]
    radius = power(np.cos(latitude), upwards)
    x = radius * power(np.cos(longitude), around)
    y = radius * power(np.sin(longitude), around)
    z = power(np.sin(latitude), upwards) + np.zeros_like(longitude)
    points = np.stack((x, y, z), axis=2).reshape(-1, 3) / 2 + (0.0, 0.0, 0.5)
    first = np.arange(_UPWARDS * _AROUND).reshape(_UPWARDS, _AROUND)
    second = np.roll(first, -1, axis=1)
    return points, np.stack((first, second, second + _AROUND, first + _AROUND), axis=2).reshape(-1, 4)


def _ply(points: np.ndarray, faces: Sequence[Sequence[int]] | np.ndarray) -> bytes:
    header = (
        "ply\nformat ascii 1.0\n"
        f"element vertex {len(points)}\nproperty float x\nproperty float y\nproperty float z\n"
        f"element face {len(faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    )
    text = io.StringIO(header)
    text.seek(0, io.SEEK_END)
    np.savetxt(text, points, "%.6f")
    np.savetxt(text, faces, "4 %d %d %d %d")
    return text.getvalue().encode()
