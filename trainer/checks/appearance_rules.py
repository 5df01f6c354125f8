"""Checks of what images look like: textures, colours, order, photometry."""

import math

import numpy as np
from metasim.colour import srgb_to_linear
from metasim.v1 import render_pb2 as pb
from metasim.v1 import scene_pb2

from trainer.checks.conformance import Rule, Worker
from trainer.checks.endpoint_tasks import (
    demand,
    flat_scene,
    image_of,
    layers_of,
    make_task,
    sprite,
    white,
)

_APPEARANCE = (pb.FEATURE_APPEARANCE,)


def texture_orientation(worker: Worker) -> None:
    pixels = np.zeros((2, 2, 3), np.uint8)
    pixels[0, 0], pixels[0, 1], pixels[1, 0] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    node = sprite(worker.texture(pixels), size_m=16)
    node.sprite.ClearField("tint")
    image = image_of(worker, make_task("texture", flat_scene(node)))
    # The sprite covers pixels 8 to 23; texel centres lie at 12 and 20.
    for row, column, colour in ((12, 12, (1, 0, 0)), (12, 20, (0, 1, 0)), (20, 12, (0, 0, 1))):
        found = image[row - 1 : row + 1, column - 1 : column + 1].mean(axis=(0, 1))
        demand(
            np.abs(found - colour).max() < 0.13, f"the texel at row {row} is {found.round(2).tolist()}, not {colour}"
        )


def tint_and_background(worker: Worker) -> None:
    scene = flat_scene(sprite(white(worker)))
    scene.background.CopyFrom(scene_pb2.Color(red=0.1, green=0.2, blue=0.3))
    image = image_of(worker, make_task("tint", scene))
    demand(np.allclose(image[0, 0], (0.1, 0.2, 0.3), atol=2e-3), f"the background is {image[0, 0].tolist()}")
    demand(np.allclose(image[16, 16], (0.5, 0.4, 0.3), atol=2e-3), f"the tinted sprite is {image[16, 16].tolist()}")


def display(worker: Worker) -> None:
    scene = flat_scene(sprite(white(worker)))
    scene.background.CopyFrom(scene_pb2.Color(red=0.25, green=0.25, blue=0.25))
    task = make_task("display", scene)
    task.settings.view_transform = pb.VIEW_TRANSFORM_STANDARD
    found = srgb_to_linear(image_of(worker, task).astype(np.float64))
    demand(np.allclose(found[0, 0], 0.25, atol=2e-3), "a background of 0.25 is not displayed as its sRGB value")
    demand(np.allclose(found[16, 16], (0.5, 0.4, 0.3), atol=4e-3), "a tint is not applied to linear light")


def half_opacity(worker: Worker) -> None:
    pixels = np.full((4, 4, 4), 255, np.uint8)
    pixels[:, :2, 3] = 100  # Less than one half.
    node = sprite(worker.texture(pixels), size_m=16)
    mask = layers_of(worker.render(make_task("opacity", flat_scene(node), pb.OUTPUT_INSTANCE_MASK)))
    instances = mask[pb.OUTPUT_INSTANCE_MASK]
    demand(not instances[16, 10] and instances[16, 21], "masks do not begin at an opacity of one half")


def order_of_sprites(worker: Worker) -> None:
    texture = white(worker)
    below, above = sprite(texture, node_id="below", z_m=1), sprite(texture, node_id="above", z_m=2)
    later = sprite(texture, node_id="later", z_m=2)
    for nodes, value in (((above, below), 2), ((below, above, later), 4)):
        result = worker.render(make_task("order", flat_scene(*nodes), pb.OUTPUT_INSTANCE_MASK))
        found = int(layers_of(result)[pb.OUTPUT_INSTANCE_MASK][16, 16])
        demand(found == value, f"node {found - 1} is in front; it must be node {value - 1}")


def _plane_task(light: scene_pb2.Light | None, *, emission: float = 0.0, height_m: float = 5.0) -> pb.RenderTask:
    """Return a view of a matte plane of base colour 0.5, straight from above, with a light above its middle."""
    material = scene_pb2.Material(
        base_color=scene_pb2.Color(red=0.5, green=0.5, blue=0.5), roughness=1.0, emission=emission
    )
    plane = scene_pb2.Mesh(primitive=scene_pb2.PRIMITIVE_PLANE, size_x=40, size_y=40, material=material)
    scene = flat_scene(scene_pb2.Node(id="plane", mesh=plane), height_m=0.2)
    if light is not None:
        lamp = scene.nodes.add(id="light", light=light)
        lamp.transform.z_m = height_m
    task = make_task("photometry", scene)
    task.settings.view_transform = pb.VIEW_TRANSFORM_STANDARD
    task.settings.samples, task.settings.filter_width_px = 64, 1
    return task


def _radiance(worker: Worker, task: pb.RenderTask) -> float:
    return float(srgb_to_linear(image_of(worker, task).astype(np.float64)).mean())


def photometry(worker: Worker) -> None:
    glow = _radiance(worker, _plane_task(None, emission=0.6))
    demand(
        math.isclose(glow, 0.3, rel_tol=0.02), f"emission 0.6 of base colour 0.5 has the radiance {glow:.3g}, not 0.3"
    )
    sun = _radiance(worker, _plane_task(scene_pb2.Light(sun=scene_pb2.SunLight(irradiance_w_m2=1))))
    demand(math.isclose(sun, 0.5 / math.pi, rel_tol=0.1), f"1 W/m2 on base colour 0.5 gives {sun:.3g}, not 0.5 / pi")
    point = scene_pb2.Light(point=scene_pb2.PointLight(power_w=1000))
    found, expected = _radiance(worker, _plane_task(point)) / sun, 1000 / (4 * math.pi * 25)
    demand(math.isclose(found, expected, rel_tol=0.05), f"1000 W at 5 m give {found:.3g} W/m2, not {expected:.3g}")
    area = scene_pb2.Light(area=scene_pb2.AreaLight(power_w=100, edge_m=0.1))
    found, expected = _radiance(worker, _plane_task(area)) / sun, 100 / (math.pi * 25)
    demand(
        math.isclose(found, expected, rel_tol=0.05), f"100 W of area at 5 m give {found:.3g} W/m2, not {expected:.3g}"
    )


#: The checks, in the order in which they run.
RULES: tuple[Rule, ...] = (
    Rule("texture", "the first texel of a sprite's texture is at its top left", texture_orientation, _APPEARANCE),
    Rule("tint", "tint and background have their display values under RAW", tint_and_background, _APPEARANCE),
    Rule("display", "STANDARD displays linear light as sRGB", display, _APPEARANCE),
    Rule("half-opacity", "labels show surfaces from an opacity of one half on", half_opacity, _APPEARANCE),
    Rule(
        "depth-order",
        "nearer sprites hide farther ones; of equally far ones the later is in front",
        order_of_sprites,
        _APPEARANCE,
    ),
    Rule(
        "photometry",
        "lights have the units of scene.proto",
        photometry,
        (pb.FEATURE_APPEARANCE, pb.FEATURE_MESHES, pb.FEATURE_LIGHTS),
    ),
)
