"""The outlines of lights, from which their shadows follow."""

import math
from dataclasses import dataclass

import numpy as np

from render_server.scene.scene_graph import SceneGraph
from render_server.scene.sky import SUN_DIAMETER_DEG, sun_direction


@dataclass(frozen=True)
class LightSource:
    """A light as a few points of its outline. The shadows of these points enclose the shadow of the light.

    Attributes:
        directions: [k, 3] unit vectors along which a sun shines; None for other lights.
        positions: [k, 3] points that other lights shine from, world frame; None for a sun.
    """

    directions: np.ndarray | None = None
    positions: np.ndarray | None = None

    @property
    def count(self) -> int:
        """Number of points of the outline."""
        points = self.directions if self.positions is None else self.positions
        return 0 if points is None else len(points)

    def rays(self, points: np.ndarray) -> np.ndarray:
        """Return unit vectors [k, n, 3] of the light from each point of the outline through points [n, 3]."""
        if self.positions is None:
            return np.broadcast_to(np.asarray(self.directions)[:, None], (self.count, *points.shape))
        away = points - self.positions[:, None]
        return away / np.maximum(np.linalg.norm(away, axis=2, keepdims=True), 1e-12)

    def touches(self, corners: np.ndarray) -> bool:
        """Return whether the light reaches into the upright box around those corners: its shadow can fall anywhere."""
        if self.positions is None:
            return False
        low, high = self.positions.min(axis=0), self.positions.max(axis=0)
        return bool((high >= corners.min(axis=0)).all() and (low <= corners.max(axis=0)).all())


def light_source(graph: SceneGraph, index: int) -> LightSource | None:
    """Return the light of a node that has one; None for an environment map, which shines from everywhere."""
    light, world = graph.nodes[index].light, graph.world[index]
    x, y, z = (world[:3, axis] / np.linalg.norm(world[:3, axis]) for axis in range(3))
    if light.HasField("environment"):
        return None
    if light.HasField("sky"):
        x, y, z = sun_axes(graph, index).T
        return _distant(x, y, z, SUN_DIAMETER_DEG)
    if light.HasField("sun"):
        return _distant(x, y, z, light.sun.angle_deg)
    if light.HasField("area"):
        half = light.area.edge_m / 2 * np.linalg.norm(world[:3, 0])
        ways = [a * x + b * y for a in (-half, half) for b in (-half, half)]
    else:
        radius = light.point.radius_m
        ways = [sign * radius * axis for axis in np.eye(3) for sign in (-1, 1)] if radius > 0 else [np.zeros(3)]
    return LightSource(positions=world[:3, 3] + np.array(ways))


def sun_axes(graph: SceneGraph, index: int) -> np.ndarray:
    """Return the axes [3, 3], as columns, of the sun in a sky: it shines along -z."""
    world = graph.world[index][:3, :3]
    z = world @ sun_direction(graph.nodes[index].light.sky.sun_elevation_deg)
    y = world[:, 1] / np.linalg.norm(world[:, 1])
    z /= np.linalg.norm(z)
    return np.stack((np.cross(y, z), y, z), axis=1)


def _distant(x: np.ndarray, y: np.ndarray, z: np.ndarray, diameter_deg: float) -> LightSource:
    """Return a sun that shines along -z: a square around its disc, half its apparent diameter to each side."""
    tilt = math.tan(math.radians(min(diameter_deg, 179.0) / 2))
    tilts = (-tilt, tilt) if tilt > 0 else (0.0,)
    rays = np.array([-z + a * x + b * y for a in tilts for b in tilts])
    return LightSource(directions=rays / np.linalg.norm(rays, axis=1, keepdims=True))
