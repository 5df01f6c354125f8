"""Tasks of many kinds, for tests of what a result depends on."""

from pathlib import Path

import numpy as np
from metasim.hashing import content_hash
from metasim.v1 import render_pb2 as pb
from metasim.v1 import scene_pb2
from support.glb import embedded
from support.scenes import ALL_OUTPUTS, DATA, Assets, column, png, sprite, sprite_scene, task

_TEXTURES = [png(np.random.default_rng(seed).integers(0, 256, (8, 8, 4), dtype=np.uint8)) for seed in range(3)]
#: A mesh with a texture, in several parts.
MODEL = DATA / "assets3d" / "kenney_car_kit" / "sedan.glb"

_LARGER = png(np.random.default_rng(9).integers(0, 256, (12, 5, 4), dtype=np.uint8))
#: Of a mesh: its place, its colour, its light (at 0, so that the step goes to one side).
_SOLID_STEPS = [
    (scene_pb2.ATTRIBUTE_YAW, 3.0),
    (scene_pb2.ATTRIBUTE_RED, 0.1),
    (scene_pb2.ATTRIBUTE_INTENSITY, 0.5),
    (scene_pb2.ATTRIBUTE_WIDTH, 0.05),
    (scene_pb2.ATTRIBUTE_BLUE, 0.1),
]


def assets_in(folder: Path) -> Assets:
    """The textures of `tasks`, stored in a folder."""
    assets = Assets(folder)
    for data in (*_TEXTURES, _LARGER):
        assets.add(data)
    if MODEL.exists():
        assets.add(embedded(MODEL))
    return assets


def tasks(engine: str) -> list[pb.RenderTask]:
    """Tasks with different ids, sizes, textures, settings and columns that the engine can draw."""
    names = [content_hash(data) for data in (*_TEXTURES, _LARGER)]
    steps = [column("a", scene_pb2.ATTRIBUTE_X, 0.5), column("a", scene_pb2.ATTRIBUTE_RED, 0.1)]
    result = []
    for number, name in enumerate(names):
        nodes = [sprite("a", name, 14, 14, x_m=1.3 * number, yaw_deg=25 * number)]
        nodes += [sprite(f"extra{k}", names[k % 4], 9, 9, x_m=-5 + 4 * k, z_m=k + 1) for k in range(number)]
        result.append(
            task(
                sprite_scene(nodes, 24),
                24 + 4 * number,
                24,
                outputs=ALL_OUTPUTS if number % 2 else [pb.OUTPUT_IMAGE_F32],
                columns=steps[: number % 3],
                samples=1 + 3 * (number == 2),
                filter_width=float(number == 2),
                view_transform=pb.VIEW_TRANSFORM_STANDARD if number == 3 else pb.VIEW_TRANSFORM_RAW,
            )
        )
    if engine == "blender":
        for number in range(3):
            scene = sprite_scene([sprite("a", names[number], 2, 2, x_m=-1, z_m=2, roll_deg=40)], 8, camera_z=9)
            scene.nodes.add(id="cube", class_name="other").mesh.primitive = 1 + number
            if MODEL.exists():
                asset = scene.nodes.add(id="model", class_name="thing", transform=scene_pb2.Transform(y_m=1)).mesh.asset
                asset.hash, asset.format = content_hash(embedded(MODEL)), scene_pb2.MESH_FORMAT_GLB
            scene.nodes.add(id="sun").light.sun.irradiance_w_m2 = 3
            scene.background.CopyFrom(scene_pb2.Color(red=0.2, green=0.3, blue=0.4))
            if number:
                scene.nodes[1].camera.perspective.vertical_fov_deg = 50
            result.append(
                task(
                    scene,
                    20,
                    16,
                    outputs=ALL_OUTPUTS,
                    columns=[
                        *steps,
                        *(column("cube", attribute, step) for attribute, step in _SOLID_STEPS),
                        column("sun", scene_pb2.ATTRIBUTE_INTENSITY, 0.3),
                    ],
                    samples=2 ** (2 * number),
                    filter_width=[0.0, 1.0, 2.0][number],
                    view_transform=pb.VIEW_TRANSFORM_STANDARD,
                    seed=number,
                )
            )
    for number, message in enumerate(result):
        message.id = f"task-{number}"
    return result
