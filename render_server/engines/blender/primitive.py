# mypy: disable-error-code="attr-defined"
"""Primitive shapes. Blender's operators are not used: they order a sphere's corners differently in each process."""

import math
from collections.abc import Sequence

import bpy
import numpy as np
from metasim.v1 import scene_pb2

_SEGMENTS, _RINGS = 32, 16

_Corner = tuple[int, float, float]  # Vertex, u, v
_Face = Sequence[_Corner]
_Point = tuple[float, float, float]


def primitive_mesh(primitive: scene_pb2.Primitive.ValueType) -> bpy.types.Mesh:
    """Return the primitive of size 1 with UV coordinates, as scene.proto describes it."""
    shapes = {scene_pb2.PRIMITIVE_CUBE: _cube, scene_pb2.PRIMITIVE_PLANE: _plane, scene_pb2.PRIMITIVE_SPHERE: _sphere}
    points, faces = shapes[primitive]()
    mesh = bpy.data.meshes.new("primitive")
    mesh.from_pydata(points, [], [[vertex for vertex, _, _ in face] for face in faces])
    uv = np.array([(u, v) for face in faces for _, u, v in face], np.float32)
    mesh.attributes.new("UVMap", "FLOAT2", "CORNER").data.foreach_set("vector", uv.ravel())
    if primitive == scene_pb2.PRIMITIVE_SPHERE:
        mesh.shade_smooth()
    else:
        mesh.shade_flat()
    mesh.update()
    return mesh


def _plane() -> tuple[list[_Point], list[_Face]]:
    points = [(-0.5, -0.5, 0.0), (0.5, -0.5, 0.0), (0.5, 0.5, 0.0), (-0.5, 0.5, 0.0)]
    return points, [_square((0, 1, 2, 3))]


def _cube() -> tuple[list[_Point], list[_Face]]:
    points = [(x, y, z) for z in (-0.5, 0.5) for y in (-0.5, 0.5) for x in (-0.5, 0.5)]
    # Counter-clockwise seen from outside.
    sides = ((0, 2, 3, 1), (4, 5, 7, 6), (0, 1, 5, 4), (3, 2, 6, 7), (2, 0, 4, 6), (1, 3, 7, 5))
    return points, [_square(side) for side in sides]


def _sphere() -> tuple[list[_Point], list[_Face]]:
    points = [(0.0, 0.0, 0.5)]
    for ring in range(1, _RINGS):
        polar = math.pi * ring / _RINGS
        for segment in range(_SEGMENTS):
            azimuth = 2 * math.pi * segment / _SEGMENTS
            radius = 0.5 * math.sin(polar)
            points.append((radius * math.cos(azimuth), radius * math.sin(azimuth), 0.5 * math.cos(polar)))
    points.append((0.0, 0.0, -0.5))

    def corner(ring: int, segment: int, u: float) -> _Corner:
        if ring in (0, _RINGS):
            vertex = 0 if ring == 0 else len(points) - 1
        else:
            vertex = 1 + (ring - 1) * _SEGMENTS + segment % _SEGMENTS
        return vertex, u / _SEGMENTS, 1 - ring / _RINGS

    faces: list[_Face] = []
    for segment in range(_SEGMENTS):
        middle, following = segment + 0.5, segment + 1
        faces.append((corner(0, segment, middle), corner(1, segment, segment), corner(1, following, following)))
        faces += [
            (
                corner(ring, segment, segment),
                corner(ring + 1, segment, segment),
                corner(ring + 1, following, following),
                corner(ring, following, following),
            )
            for ring in range(1, _RINGS - 1)
        ]
        last = _RINGS - 1
        faces.append(
            (corner(last, segment, segment), corner(_RINGS, segment, middle), corner(last, following, following))
        )
    return points, faces


def _square(vertices: Sequence[int]) -> _Face:
    return [(vertex, u, v) for vertex, (u, v) in zip(vertices, ((0, 0), (1, 0), (1, 1), (0, 1)), strict=True)]
