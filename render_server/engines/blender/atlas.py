# mypy: disable-error-code="arg-type, assignment, misc, union-attr"
"""Flat scenes: the scene and all its probes are tiles of one render, each with its own sprite copies."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import bpy
import numpy as np

from render_server.engines.blender.session import RenderScene
from render_server.engines.blender.sprite import SpriteMaterials, fill_faces
from render_server.engines.flat import FlatSprite, painters_order
from render_server.jacobian.regions import Window

#: Largest edge of one render, unless a single tile is larger.
MAX_EDGE_PX = 1024

_Polygon = list[tuple[float, float]]


@dataclass(frozen=True)
class Tile:
    """A part of a flat scene's image.

    Attributes:
        sprites: the scene's sprites by node index.
        window: its pixels.
    """

    sprites: Mapping[int, FlatSprite]
    window: Window


@dataclass(frozen=True)
class _Sheet:
    """One render. A margin around each tile takes samples that lie beyond its edge.

    Attributes:
        windows: the window of each tile in the render, margin excluded.
    """

    tiles: Sequence[Tile]
    windows: Sequence[Window]
    width_px: int
    height_px: int


class Atlas:
    """Renders flat scenes. Later tasks reuse its Blender objects, one per sprite."""

    def __init__(self, materials: SpriteMaterials) -> None:
        self._materials = materials
        self._target = RenderScene("atlas")
        self._target.scene.render.film_transparent = True
        # No persistent data: with it, Cycles does not notice new pixels of an image.
        self._target.scene.render.use_persistent_data = False
        self._target.scene.cycles.max_bounces = 0
        self._target.camera.data.type = "ORTHO"
        self._target.sample(samples=1, seed=0, box_px=0.0)
        self._objects: list[bpy.types.Object] = []

    def render(
        self, tiles: Iterable[Tile], offsets: Sequence[tuple[float, float]], *, standard: bool, index: bool = False
    ) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        """Render tiles, many per render.

        Args:
            tiles: non-empty tiles.
            offsets: offsets of samples from the pixel's centre, right and down, in pixels, with equal weights.
            standard: see `SpriteMaterials`.
            index: whether to return the nearest opaque node at the first sample of each pixel of the first tile.

        Yields:
            For each tile: ([h, w, 4] float32 premultiplied light and opacity, [h, w] uint16 index of the node + 1).
        """
        margin = math.floor(max(max(abs(dx), abs(dy)) for dx, dy in offsets) + 0.5)
        for sheet in _sheets(tiles, margin):
            self._build(sheet, margin, standard)
            light = [np.zeros((tile.window.height, tile.window.width, 4), np.float32) for tile in sheet.tiles]
            nodes: list[np.ndarray | None] = [None] * len(light)
            for number, offset in enumerate(offsets):
                self._target.layer.use_pass_object_index = index and number == 0
                self._aim(sheet, offset)
                passes = self._target.render(sheet.width_px, sheet.height_px)
                for total, window in zip(light, sheet.windows, strict=True):
                    total += passes["Combined"][window.slices]
                if index and number == 0:
                    nodes[0] = passes["IndexOB"][sheet.windows[0].slices].astype(np.uint16)
            index = False
            for total in light:
                total /= np.float32(len(offsets))
            yield from zip(light, nodes, strict=True)

    def _aim(self, sheet: _Sheet, offset: tuple[float, float]) -> None:
        camera = self._target.camera
        camera.data.ortho_scale = max(sheet.width_px, sheet.height_px)
        camera.location[0], camera.location[1] = offset[0], -offset[1]

    def _build(self, sheet: _Sheet, margin: int, standard: bool) -> None:
        tiles = [tile.sprites for tile in sheet.tiles]
        # Sprites are stacked by rank, which avoids flicker at equal depths and loss of precision at large ones.
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
                for face in (_face(tile[node], sheet, number, ranks[number][node], margin),)
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


def _sheets(tiles: Iterable[Tile], margin: int) -> Iterator[_Sheet]:
    """Return sheets with the tiles packed on shelves in order."""
    part: list[Tile] = []
    windows: list[Window] = []
    right = top = bottom = width = 0
    for tile in tiles:
        across, down = tile.window.width + 2 * margin, tile.window.height + 2 * margin
        if right + across > MAX_EDGE_PX:
            right, top = 0, bottom
        if part and top + down > MAX_EDGE_PX:
            yield _Sheet(part, windows, width, bottom)
            part, windows = [], []
            right = top = bottom = width = 0
        part.append(tile)
        windows.append(Window(right + margin, top + margin, right + across - margin, top + down - margin))
        right += across
        width, bottom = max(width, right), max(bottom, top + down)
    if part:
        yield _Sheet(part, windows, width, bottom)


def _face(sprite: FlatSprite, sheet: _Sheet, number: int, rank: int, margin: int) -> np.ndarray:
    """Return the part of a sprite in a tile: [corners, 8] float64 x, y, z, u, v, red, green, blue; may be empty."""
    window = sheet.tiles[number].window
    polygon = _clipped(
        list(sprite.corners_px),
        window.left - margin,
        window.top - margin,
        window.right + margin,
        window.bottom + margin,
    )
    if len(polygon) < 3:
        return np.zeros((0, 8))
    place = sheet.windows[number]
    x0, y0 = place.left - window.left - sheet.width_px / 2, sheet.height_px / 2 - place.top + window.top
    a, b, c, d, e, f = sprite.texel_from_pixel
    rows, columns, _ = sprite.texture.padded.shape
    return np.array(
        [
            (
                x0 + x,
                y0 - y,
                float(rank),
                (a * x + b * y + c) / columns,
                1.0 - (d * x + e * y + f) / rows,
                *sprite.tint,
            )
            for x, y in polygon
        ]
    )


def _clipped(polygon: _Polygon, left: float, top: float, right: float, bottom: float) -> _Polygon:
    """Return the part of a convex polygon inside a rectangle (Sutherland and Hodgman 1974)."""
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
