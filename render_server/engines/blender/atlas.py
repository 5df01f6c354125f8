# mypy: disable-error-code="arg-type, assignment, misc, union-attr"
"""Flat scenes: the scene and all its probes as tiles of one render, copies of the sprites side by side."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import bpy
import numpy as np

from render_server.engines.blender.session import RenderScene
from render_server.engines.blender.sprite import SpriteMaterials, fill_faces
from render_server.engines.flat import FlatSprite, painters_order

#: Largest edge of one render, unless a single tile is larger.
MAX_EDGE_PX = 1024

_Polygon = list[tuple[float, float]]


@dataclass(frozen=True)
class _Grid:
    """Tiles in rows from the top left. A margin around each takes samples that lie beyond its edge."""

    width_px: int
    height_px: int
    margin_px: int
    columns: int

    def origin(self, tile: int) -> tuple[int, int]:
        """Top left pixel of a tile, margin excluded."""
        row, column = divmod(tile, self.columns)
        margin = self.margin_px
        return column * (self.width_px + 2 * margin) + margin, row * (self.height_px + 2 * margin) + margin

    def size(self, tiles: int) -> tuple[int, int]:
        """Width and height of the render that holds that many tiles."""
        rows = math.ceil(tiles / self.columns)
        return min(tiles, self.columns) * (self.width_px + 2 * self.margin_px), rows * (
            self.height_px + 2 * self.margin_px
        )


class Atlas:
    """Renders flat scenes. Its Blender objects, one per sprite, are reused by the next task."""

    def __init__(self, materials: SpriteMaterials) -> None:
        self._materials = materials
        self._target = RenderScene("atlas")
        self._target.scene.render.film_transparent = True
        # Nothing is carried over to the next render: Cycles would not notice that an image has new pixels.
        self._target.scene.render.use_persistent_data = False
        self._target.scene.cycles.max_bounces = 0
        self._target.camera.data.type = "ORTHO"
        self._target.sample(samples=1, seed=0, box_px=0.0)
        self._objects: list[bpy.types.Object] = []

    def render(
        self,
        tiles: Sequence[Mapping[int, FlatSprite]],
        width_px: int,
        height_px: int,
        offsets: Sequence[tuple[float, float]],
        *,
        standard: bool,
        index: bool = False,
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Renders each tile's sprites.

        Args:
            tiles: sprites by index of the node.
            width_px, height_px: of a tile.
            offsets: where samples lie from the pixel's centre, right and down, in pixels; each has the same weight.
            standard: see `SpriteMaterials`.
            index: whether to read the nearest opaque node at each pixel's first sample.

        Returns:
            ([tiles, h, w, 4] float32 premultiplied light and opacity,
            [tiles, h, w] uint16 index of the node + 1, or None)
        """
        reach = max(max(abs(dx), abs(dy)) for dx, dy in offsets)
        margin = math.floor(reach + 0.5)
        across, down = width_px + 2 * margin, height_px + 2 * margin
        grid = _Grid(width_px, height_px, margin, max(1, MAX_EDGE_PX // across))
        per_render = grid.columns * max(1, MAX_EDGE_PX // down)
        light = np.zeros((len(tiles), height_px, width_px, 4), np.float32)
        nodes = np.zeros(light.shape[:3], np.uint16) if index else None
        for first in range(0, len(tiles), per_render):
            part = tiles[first : first + per_render]
            size = grid.size(len(part))
            self._build(part, grid, size, standard)
            for number, offset in enumerate(offsets):
                self._target.layer.use_pass_object_index = index and number == 0
                self._aim(size, offset)
                passes = self._target.render(*size)
                for tile in range(len(part)):
                    x, y = grid.origin(tile)
                    window = (slice(y, y + height_px), slice(x, x + width_px))
                    light[first + tile] += passes["Combined"][window]
                    if nodes is not None and number == 0:
                        nodes[first + tile] = passes["IndexOB"][window]
        if len(offsets) > 1:
            light /= np.float32(len(offsets))
        return light, nodes

    def _aim(self, size: tuple[int, int], offset: tuple[float, float]) -> None:
        camera = self._target.camera
        camera.data.ortho_scale = max(size)
        camera.location[0], camera.location[1] = offset[0], -offset[1]

    def _build(
        self, tiles: Sequence[Mapping[int, FlatSprite]], grid: _Grid, size: tuple[int, int], standard: bool
    ) -> None:
        # Sprites are stacked by rank: equal depths must not flicker, and far ones not lose precision.
        ranks = [{sprite.node: rank for rank, sprite in enumerate(painters_order(tile))} for tile in tiles]
        shown = sorted({node for tile in tiles for node in tile})
        textures = {sprite.texture_hash: sprite.texture for tile in tiles for sprite in tile.values()}
        materials = self._materials.of(textures.items(), standard=standard)
        self._resize_pool(len(shown))
        for node, target in zip(shown, self._objects, strict=True):
            faces = [
                face
                for number, tile in enumerate(tiles)
                if node in tile
                for face in (_face(tile[node], grid, number, ranks[number][node], size),)
                if len(face) > 0
            ]
            corners = np.concatenate(faces) if faces else np.zeros((0, 8))
            texture_hash = next(tile[node].texture_hash for tile in tiles if node in tile)
            sizes = np.array([len(face) for face in faces])
            fill_faces(target.data, corners[:, :3], corners[:, 3:5], corners[:, 5:], sizes, materials[texture_hash])
            target.pass_index = node + 1
        self._target.transparency(len(shown))
        self._target.camera.location[2] = len(shown) + 1.0
        self._target.camera.data.clip_start = 0.5
        self._target.camera.data.clip_end = len(shown) + 2.0

    def _resize_pool(self, count: int) -> None:
        while len(self._objects) < count:
            mesh = bpy.data.meshes.new("tiles")
            self._objects.append(bpy.data.objects.new("tiles", mesh))
            self._target.scene.collection.objects.link(self._objects[-1])
        while len(self._objects) > count:
            surplus = self._objects.pop()
            mesh = surplus.data
            bpy.data.objects.remove(surplus)
            bpy.data.meshes.remove(mesh)


def _face(sprite: FlatSprite, grid: _Grid, tile: int, rank: int, size: tuple[int, int]) -> np.ndarray:
    """[corners, 8] float64: x, y, z, u, v, red, green, blue of the sprite's part inside a tile; may have no corners."""
    polygon = _clipped(
        list(sprite.corners_px),
        -grid.margin_px,
        -grid.margin_px,
        grid.width_px + grid.margin_px,
        grid.height_px + grid.margin_px,
    )
    if len(polygon) < 3:
        return np.zeros((0, 8))
    left, top = grid.origin(tile)
    a, b, c, d, e, f = sprite.texel_from_pixel
    rows, columns, _ = sprite.texture.padded.shape
    return np.array(
        [
            (
                left + x - size[0] / 2,
                size[1] / 2 - top - y,
                float(rank),
                (a * x + b * y + c) / columns,
                1.0 - (d * x + e * y + f) / rows,
                *sprite.tint,
            )
            for x, y in polygon
        ]
    )


def _clipped(polygon: _Polygon, left: float, top: float, right: float, bottom: float) -> _Polygon:
    """The part of a convex polygon inside a rectangle (Sutherland and Hodgman 1974)."""
    for axis, sign, bound in ((0, 1.0, left), (0, -1.0, right), (1, 1.0, top), (1, -1.0, bottom)):
        inside = [sign * (point[axis] - bound) >= 0 for point in polygon]
        if all(inside):
            continue
        clipped: _Polygon = []
        for number, point in enumerate(polygon):
            previous, was_inside = polygon[number - 1], inside[number - 1]
            if inside[number] != was_inside:
                t = (bound - previous[axis]) / (point[axis] - previous[axis])
                clipped.append((previous[0] + t * (point[0] - previous[0]), previous[1] + t * (point[1] - previous[1])))
            if inside[number]:
                clipped.append(point)
        polygon = clipped
    return polygon
