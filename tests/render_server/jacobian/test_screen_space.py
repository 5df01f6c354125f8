"""Screen-space derivatives against finite differences of a small ray tracer that shares no code with them."""

import math

import numpy as np
import pytest
from metasim.v1 import render_pb2 as pb
from metasim.v1 import scene_pb2

from render_server.jacobian.probes import plan_probes
from render_server.jacobian.screen_space import Casters, ScreenSpaceGradient, SurfaceBuffers
from render_server.scene.geometry import camera_view
from render_server.scene.scene_graph import SceneGraph

WIDTH, HEIGHT = 40, 30
TO_SUN = np.array((0.45, -0.35, 0.82)) / np.linalg.norm((0.45, -0.35, 0.82))
SKY = np.array((0.10, 0.15, 0.30))
X, Y, Z = scene_pb2.ATTRIBUTE_X, scene_pb2.ATTRIBUTE_Y, scene_pb2.ATTRIBUTE_Z
YAW, PITCH, ROLL = scene_pb2.ATTRIBUTE_YAW, scene_pb2.ATTRIBUTE_PITCH, scene_pb2.ATTRIBUTE_ROLL
SCALE, FOV = scene_pb2.ATTRIBUTE_SCALE, scene_pb2.ATTRIBUTE_FOV


def scene(*, perspective: bool = True) -> scene_pb2.Scene:
    """A box that is sunk into the ground, one that floats above it, and one that cuts into the first."""
    wire = scene_pb2.Scene()
    camera = wire.nodes.add(id="camera")
    camera.transform.CopyFrom(scene_pb2.Transform(x_m=0.2, y_m=-7.0, z_m=4.0, roll_deg=58.0, scale=1.0))
    if perspective:
        camera.camera.perspective.vertical_fov_deg = 26.0
    else:
        camera.camera.orthographic.height_m = 3.6
    places = {
        "ground": (0, 0, -0.5, 0, 0, (30, 30, 1)),
        "standing": (-1.0, 0.3, 0.4, 20, 0, (1.2, 1.0, 1.0)),
        "floating": (1.1, 0.2, 1.2, -15, 10, (0.9, 0.8, 0.5)),
        "cutting": (-0.5, 0.1, 0.4, 60, 0, (0.6, 1.4, 0.7)),
    }
    for name, (x, y, z, yaw, roll, size) in places.items():
        node = wire.nodes.add(id=name, class_name="box")
        node.transform.CopyFrom(scene_pb2.Transform(x_m=x, y_m=y, z_m=z, yaw_deg=yaw, roll_deg=roll, scale=1.0))
        node.mesh.primitive = scene_pb2.PRIMITIVE_CUBE
        node.mesh.size_x, node.mesh.size_y, node.mesh.size_z = size
    return wire


def _hit(graph: SceneGraph, origin: np.ndarray, ray: np.ndarray) -> tuple[np.ndarray, ...]:
    """The nearest box that rays [n, 3] meet: node + 1, distance, local point, normal."""
    best = np.full(len(ray), np.inf)
    node, local, normal = np.zeros(len(ray), int), np.zeros((len(ray), 3)), np.zeros((len(ray), 3))
    for index, wire in enumerate(graph.nodes):
        if not wire.HasField("mesh"):
            continue
        size = np.diag((wire.mesh.size_x, wire.mesh.size_y, wire.mesh.size_z, 1.0))
        inverse = np.linalg.inv(graph.world[index] @ size)
        o, d = origin @ inverse[:3, :3].T + inverse[:3, 3], ray @ inverse[:3, :3].T
        with np.errstate(divide="ignore", invalid="ignore"):
            a, b = (-0.5 - o) / d, (0.5 - o) / d
        near, far = np.minimum(a, b).max(1), np.maximum(a, b).min(1)
        closer = (near < far) & (near > 1e-6) & (near < best)
        axis = np.minimum(a, b).argmax(1)[closer]
        best[closer], node[closer] = near[closer], index + 1
        local[closer] = (o + near[:, None] * d)[closer]
        outwards = np.zeros((closer.sum(), 3))
        outwards[np.arange(len(axis)), axis] = -np.sign(d[closer, axis])
        world = outwards @ inverse[:3, :3]
        normal[closer] = world / np.linalg.norm(world, axis=1, keepdims=True)
    return node, best, local, normal


def trace(graph: SceneGraph, scale: int) -> tuple[SurfaceBuffers, Casters]:
    """The buffers at `scale` x `scale` points a pixel, and what casts the shadow on each point."""
    view = camera_view(graph, WIDTH, HEIGHT)
    rows, columns = np.mgrid[: HEIGHT * scale, : WIDTH * scale] + 0.5
    x, y = (columns / scale - WIDTH / 2).ravel() / view.focal_px, (rows / scale - HEIGHT / 2).ravel() / view.focal_px
    world = np.linalg.inv(view.camera_from_world)
    if view.perspective:
        ray, origin = np.stack((x, -y, -np.ones_like(x)), 1) @ world[:3, :3].T, np.tile(world[:3, 3], (len(x), 1))
    else:
        origin = np.stack((x, -y, np.zeros_like(x)), 1) @ world[:3, :3].T + world[:3, 3]
        ray = np.tile(-world[:3, 2], (len(x), 1))
    node, way, local, normal = _hit(graph, origin, ray)
    solid = node > 0
    position = origin + np.where(solid, way, 0)[:, None] * ray
    caster, length, _, _ = _hit(graph, position + 1e-5 * normal, np.tile(TO_SUN, (len(x), 1)))
    albedo = 0.5 + 0.3 * np.sin(7 * local @ np.array(((1, 2, 0.5), (0.3, 1, 2), (2, 0, 1.0))).T + node[:, None])
    cosine = np.maximum(normal @ TO_SUN, 0)
    sun = np.where(solid[:, None], 0.5 * albedo * (cosine * (caster == 0))[:, None], 0)
    light = np.where(solid[:, None], 0.2 * albedo + sun, SKY)
    size = (HEIGHT * scale, WIDTH * scale)
    depth = np.where(solid, way, np.inf)
    shaped = [each.reshape(*size, *each.shape[1:]) for each in (node, depth, position, normal, sun, light)]
    shadow = Casters(caster, position + np.where(caster > 0, length, 0)[:, None] * TO_SUN)
    return SurfaceBuffers(scale, shaped[0], *(each.astype(np.float32) for each in shaped[1:])), shadow


def display(light: np.ndarray) -> np.ndarray:
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 1e-9) ** (1 / 2.4) - 0.055)


def shown(graph: SceneGraph) -> np.ndarray:
    buffers = trace(graph, 8)[0]
    return display(buffers.pixels_of(buffers.light))


def smooth(seed: int) -> np.ndarray:
    """A smooth random ∂loss/∂image."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    waves = [
        np.cos(2 * math.pi * (a * rows / HEIGHT + b * columns / WIDTH) + c)
        for a, b, c in zip(rng.normal(0, 4, 8), rng.normal(0, 4, 8), rng.uniform(0, 6, 8), strict=True)
    ]
    return np.stack([np.tensordot(rng.normal(size=8), np.stack(waves), 1) for _ in range(3)], -1)


def products(wire: scene_pb2.Scene, columns: list[tuple[str, int, float]], seeds: int) -> tuple[np.ndarray, np.ndarray]:
    """Derivatives of smooth losses, [losses, columns]: in screen space, and by finite differences of fine renders."""
    task = pb.RenderTask(scene=wire, settings=pb.RenderSettings(width_px=WIDTH, height_px=HEIGHT, samples=1))
    for node, attribute, step in columns:
        task.columns.add(node=node, attribute=attribute, step=step)
    graph = SceneGraph(wire)
    probes = plan_probes(graph, task, lambda *_: 1.0)
    buffers, shadow = trace(graph, 4)
    view = camera_view(graph, WIDTH, HEIGHT)
    fine = [[shown(side or graph) for side in probe.sides] for probe in probes]
    found, expected = [], []
    for seed in range(seeds):
        gradient = smooth(seed)
        result = ScreenSpaceGradient(buffers, view, gradient, TO_SUN, len(graph.nodes))
        places = {tuple(point): number for number, point in enumerate(buffers.position.reshape(-1, 3))}
        edges = [places[tuple(point)] for point in result.shadow_edges]
        result.add_shadows(Casters(shadow.node[edges], shadow.position[edges]))
        found.append([result.product(probe, graph) for probe in probes])
        expected.append([(gradient * (b - a)).sum() / p.span for (a, b), p in zip(fine, probes, strict=True)])
    return np.array(found), np.array(expected)


BOXES = ("standing", "floating", "cutting")
COLUMNS = [
    *((name, attribute, 0.05) for name in BOXES for attribute in (X, Y, Z)),
    ("floating", SCALE, 0.06),
    ("standing", scene_pb2.ATTRIBUTE_WIDTH, 0.06),
    ("camera", X, 0.05),
    ("camera", Y, 0.06),
    ("camera", Z, 0.05),
    ("camera", YAW, 0.4),
    ("camera", ROLL, 0.4),
    ("camera", PITCH, 0.8),
    ("camera", FOV, 0.1),
]
ANGLES = [(name, attribute, 4.0) for name in BOXES for attribute in (YAW, PITCH, ROLL)]


def agreement(found: np.ndarray, expected: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cosine and ratio of norms of each column, over losses."""
    lengths = np.linalg.norm(found, axis=0), np.linalg.norm(expected, axis=0)
    return (found * expected).sum(0) / lengths[0] / lengths[1], lengths[0] / lengths[1]


@pytest.mark.parametrize("perspective", [True, False])
def test_each_translation_and_camera_column_agrees_with_finite_differences(perspective: bool) -> None:
    cosines, ratios = agreement(*products(scene(perspective=perspective), COLUMNS, 6))
    named = [f"{name} {scene_pb2.Attribute.Name(attribute)}" for name, attribute, _ in COLUMNS]
    for name, cosine, ratio in zip(named, cosines, ratios, strict=True):
        assert cosine > 0.95, (name, cosine)
        assert abs(ratio - 1) < 0.15, (name, ratio)


def test_rotations_agree_with_finite_differences_as_a_whole() -> None:
    found, expected = products(scene(), ANGLES, 6)
    cosines, ratios = agreement(found.reshape(-1, 1), expected.reshape(-1, 1))
    assert cosines[0] > 0.9
    assert abs(ratios[0] - 1) < 0.2
