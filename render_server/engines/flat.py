"""Flat scenes: sprites that face an orthographic camera, reduced to affine maps in the image plane.

Both engines draw such scenes from these maps: the raster engine directly, Blender as tiles of one render.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from metasim.camera import CameraView
from metasim.v1 import render_pb2 as pb

from render_server.engines.frame import SurfaceLayers
from render_server.engines.textures import Texture, TextureCache
from render_server.errors import Unsupported
from render_server.jacobian.regions import NOWHERE, Window
from render_server.scene.geometry import Outline, camera_view
from render_server.scene.scene_graph import DEFAULT_TINT, SceneGraph

#: Tolerance of the sine of the angle between a sprite and the image plane.
_TILT = 1e-9


class FlatSprite(NamedTuple):
    """A sprite in the image plane.

    Attributes:
        texel_from_pixel: (a, b, c, d, e, f): the point (x, y) in pixels shows the padded texture at
            (a x + b y + c, d x + e y + f), in texels from its top left corner.
        corners_px: the four corners of the padded texture in pixels, in cyclic order.
        bounds_px: (left, top, right, bottom) around the parts that are not fully transparent, in pixels.
        depth_m: along the camera's axis.
        tint: red, green, blue.
    """

    node: int
    texture: Texture
    texture_hash: str
    texel_from_pixel: tuple[float, float, float, float, float, float]
    corners_px: tuple[tuple[float, float], ...]
    bounds_px: tuple[float, float, float, float]
    depth_m: float
    tint: tuple[float, float, float]


#: Replacements of a scene's sprites by node index. None: the sprite is outside of the near and far planes.
Change = Mapping[int, FlatSprite | None]


def flat_obstacle(graph: SceneGraph) -> Unsupported | None:
    """Return why the scene is not flat; None if it is. Unchanged nodes of a perturbed graph count as flat."""
    camera = graph.camera
    every = not graph.changed or camera in graph.changed
    if every and graph.nodes[camera].camera.HasField("perspective"):
        return _unsupported(graph, camera, "camera", "a perspective camera", pb.FEATURE_PERSPECTIVE)
    ax, ay, az = graph.world[camera][:3, 2].tolist()
    for index in range(len(graph.nodes)) if every else graph.changed:
        node = graph.nodes[index]
        if node.HasField("sprite"):
            (xx, yx, _, _), (xy, yy, _, _), (xz, yz, _, _), _ = graph.world[index].tolist()
            tilt = max(abs(ax * xx + ay * xy + az * xz), abs(ax * yx + ay * yy + az * yz))
            if tilt > _TILT * math.sqrt((ax * ax + ay * ay + az * az) * (xx * xx + xy * xy + xz * xz)):
                return _tilted(graph, index)
        elif node.HasField("mesh") or node.HasField("light"):
            kind = "mesh" if node.HasField("mesh") else "light"
            surrounds = node.light.WhichOneof("kind") in ("environment", "sky")
            lit = pb.FEATURE_ENVIRONMENT if surrounds else pb.FEATURE_LIGHTS
            feature = pb.FEATURE_MESHES if kind == "mesh" else lit
            return _unsupported(graph, index, kind, f"a {kind}", feature)
    return None


def _tilted(graph: SceneGraph, index: int) -> Unsupported:
    return _unsupported(graph, index, "transform", "tilted out of the image plane", pb.FEATURE_TILTED_SPRITES)


def _unsupported(graph: SceneGraph, index: int, field: str, what: str, feature: "pb.Feature.ValueType") -> Unsupported:
    return Unsupported(
        f"scene.nodes[{index}].{field} of {graph.nodes[index].id!r}",
        what,
        "this engine draws only sprites that face an orthographic camera; use a worker with the engine blender",
        feature,
    )


def flat_sprites(
    graph: SceneGraph,
    view: CameraView,
    textures: TextureCache,
    assets: Mapping[str, Path],
    indices: Sequence[int] | None = None,
) -> dict[int, FlatSprite]:
    """Return the sprites of a flat scene between the near and the far plane, by index of the node.

    Args:
        indices: nodes to consider.

    Raises:
        Unsupported: a sprite is tilted out of the image plane.
    """
    found = {}
    for index in range(len(graph.nodes)) if indices is None else indices:
        node = graph.nodes[index]
        if not node.HasField("sprite"):
            continue
        (m00, m01, _, m03), (m10, m11, _, m13), (m20, m21, _, m23), _ = (
            view.camera_from_world @ graph.world[index]
        ).tolist()
        if max(abs(m20), abs(m21)) > _TILT * (abs(m00) + abs(m10) + abs(m20)):
            raise _tilted(graph, index)
        if not view.near_m <= -m23 <= view.far_m:
            continue
        sprite = node.sprite
        texture = textures.get(sprite.asset, assets, f"scene.nodes[{index}].sprite.asset")
        # Pixel vectors of one texel to the right and one down, and the pixel of the padded texture's corner.
        across = view.focal_px * sprite.width_m / texture.width
        down = view.focal_px * sprite.height_m / texture.height
        rx, ry = m00 * across, -m10 * across
        dx, dy = -m01 * down, m11 * down
        columns, rows = texture.width + 2, texture.height + 2
        u0, v0, u1, v1 = texture.support
        x0 = view.width_px / 2 + view.focal_px * m03 - (rx * columns + dx * rows) / 2
        y0 = view.height_px / 2 - view.focal_px * m13 - (ry * columns + dy * rows) / 2
        determinant = rx * dy - ry * dx
        a, b, d, e = dy / determinant, -dx / determinant, -ry / determinant, rx / determinant
        found[index] = FlatSprite(
            node=index,
            texture=texture,
            texture_hash=sprite.asset,
            texel_from_pixel=(a, b, -(a * x0 + b * y0), d, e, -(d * x0 + e * y0)),
            corners_px=(
                (x0, y0),
                (x0 + rx * columns, y0 + ry * columns),
                (x0 + rx * columns + dx * rows, y0 + ry * columns + dy * rows),
                (x0 + dx * rows, y0 + dy * rows),
            ),
            bounds_px=(
                x0 + min(rx * u0, rx * u1) + min(dx * v0, dx * v1),
                y0 + min(ry * u0, ry * u1) + min(dy * v0, dy * v1),
                x0 + max(rx * u0, rx * u1) + max(dx * v0, dx * v1),
                y0 + max(ry * u0, ry * u1) + max(dy * v0, dy * v1),
            ),
            depth_m=-m23,
            tint=(sprite.tint.red, sprite.tint.green, sprite.tint.blue)
            if sprite.HasField("tint")
            else (DEFAULT_TINT, DEFAULT_TINT, DEFAULT_TINT),
        )
    return found


def changed_sprites(graph: SceneGraph, view: CameraView, textures: TextureCache, assets: Mapping[str, Path]) -> Change:
    """How the sprites of a graph that `with_values` made differ from those of the unperturbed one.

    Args:
        view: of the unperturbed graph.

    Raises:
        Unsupported: a sprite is tilted out of the image plane now.
    """
    indices: Sequence[int] = graph.changed
    if graph.camera in graph.changed:
        indices, view = range(len(graph.nodes)), camera_view(graph, view.width_px, view.height_px)
    found = flat_sprites(graph, view, textures, assets, indices)
    return {index: found.get(index) for index in indices if graph.nodes[index].HasField("sprite")}


def changed_window(
    sprites: Mapping[int, FlatSprite],
    changes: Iterable[Change],
    view: CameraView,
    offsets: Sequence[tuple[float, float]],
) -> Window:
    """Return the pixels that sprite changes can affect: those of the replaced and of the new sprites.

    Args:
        sprites: the scene's sprites.
        offsets: offsets of samples from pixel centres, right and down, in pixels.
    """
    bounds = []
    for change in changes:
        bounds += [sprite.bounds_px for sprite in change.values() if sprite is not None]
        bounds += [sprites[index].bounds_px for index in change if index in sprites]
    if not bounds:
        return NOWHERE
    lefts, tops, rights, bottoms = zip(*bounds, strict=True)
    xs, ys = zip(*offsets, strict=True)
    left, top = max(0, math.ceil(min(lefts) - 0.5 - max(xs))), max(0, math.ceil(min(tops) - 0.5 - max(ys)))
    right = min(view.width_px, math.floor(max(rights) + 0.5 - min(xs)))
    bottom = min(view.height_px, math.floor(max(bottoms) + 0.5 - min(ys)))
    return Window(left, top, right, bottom) if left < right and top < bottom else NOWHERE


def painters_order(sprites: Mapping[int, FlatSprite]) -> list[FlatSprite]:
    """Return the sprites from the farthest to the nearest; at equal depth, the later node is nearer."""
    return sorted(sprites.values(), key=lambda sprite: (-sprite.depth_m, sprite.node))


def sample_offsets(samples: int, width: float) -> list[tuple[float, float]]:
    """Return the offsets of samples from a pixel's centre, in pixels: a grid of equal-area cells over the filter's box.

    Args:
        samples: per pixel.
        width: width of the filter in pixels. 0: one sample at the centre.

    Rows may have different numbers of cells, so that any number of samples can be spread.
    """
    if width == 0.0:
        return [(0.0, 0.0)]
    rows = max(1, round(math.sqrt(samples)))
    counts = [samples // rows + (row < samples % rows) for row in range(rows)]
    offsets = []
    above = 0
    for count in counts:
        y = (above + count / 2) / samples - 0.5
        offsets += [(width * ((cell + 0.5) / count - 0.5), width * y) for cell in range(count)]
        above += count
    return offsets


def surface_layers(
    graph: SceneGraph, view: CameraView, sprites: Mapping[int, FlatSprite], node_mask: np.ndarray
) -> SurfaceLayers:
    """Return depth, normals and outlines of a flat scene, given the mask of its nodes [h, w] uint16 (index + 1)."""
    depths = np.full(len(graph.nodes) + 1, np.inf, np.float32)
    outlines = {}
    for index, sprite in sprites.items():
        depths[index + 1] = sprite.depth_m
        outlines[index] = sprite_outline(graph, index, sprite.texture)
    # Sprites face the camera with either side.
    normal = np.zeros((*node_mask.shape, 3), np.float32)
    normal[node_mask > 0] = view.camera_from_world[2, :3]
    return SurfaceLayers(node=node_mask, depth=depths[node_mask], normal=normal, outlines=outlines)


def sprite_outline(graph: SceneGraph, index: int, texture: Texture) -> Outline:
    """Return the outline that a sprite's amodal box encloses: texels whose opacity is at least one half."""
    hull, wire, world = texture.opaque_hull, graph.nodes[index].sprite, graph.world[index]
    points = np.zeros((len(hull), 3))
    points[:, 0] = (hull[:, 0] / texture.width - 0.5) * wire.width_m
    points[:, 1] = (0.5 - hull[:, 1] / texture.height) * wire.height_m
    ring = np.arange(len(hull))
    return Outline(points=points @ world[:3, :3].T + world[:3, 3], edges=np.stack((ring, np.roll(ring, -1)), axis=1))
