"""Derivatives of a loss by the pose of every node, from the buffers of one frame.

A pixel changes because something moves across its borders. A face between two neighbouring points of the image belongs
to the nearer of their two surfaces. It carries the flux -v L', where v is the velocity of that surface on the image
across the face and L' the jump of the light. Inside a surface this is -v ∇L; at a silhouette it is the jump between the
surface and what lies behind it. Three more effects are first-order changes as well. The edge of a shadow moves with the
object that casts it and with the one that receives it. The border where two surfaces meet moves with both of them. A
surface that turns towards the sun becomes brighter.

Each effect is linear in the velocity of a point, and the velocity of a point on a rigid node is linear in the motion of
its frame. The derivative of the loss is therefore one 3 x 4 matrix per node, and the derivative by an attribute is the
scalar product of that matrix with the motion that the attribute causes. The cost does not depend on the number of
attributes.

Light that surfaces scatter onto each other, reflections, and the shading of the sky are neglected. Cf. Loubet et al.,
Reparameterizing Discontinuous Integrands for Differentiable Rendering, 2019, on boundary terms.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from metasim.camera import CameraView
from metasim.colour import linear_to_srgb, srgb_slope
from metasim.v1 import scene_pb2

from render_server.jacobian.probes import Probe
from render_server.jacobian.steps import MOTIONS, SIZES
from render_server.scene.extent import mesh_size
from render_server.scene.geometry import camera_view
from render_server.scene.scene_graph import SceneGraph

#: Rows and columns of some points of the image.
Points = tuple[np.ndarray, np.ndarray]

#: Change of light below which the tangent of the display curve replaces its secant.
_FLAT = 1e-4
#: Cosine between a surface and the sun below which shading and shadow edges are not followed.
_GRAZING = 0.05
#: Maximum distance to another surface's plane at which two surfaces meet, in points of the image.
_MEETING = 3.0
#: Minimum squared sine of the angle between two surfaces that meet.
_FLATTEST = 0.05


@dataclass(frozen=True)
class SurfaceBuffers:
    """What a camera sees at a grid of points, `scale` x `scale` of them in each pixel.

    Attributes:
        scale: points along the edge of a pixel.
        node: int [h, w]: index of the node + 1; 0: nothing.
        depth: [h, w], metres along the camera's axis; +inf: nothing.
        position: [h, w, 3], world frame.
        normal: [h, w, 3], unit vectors, world frame.
        sunlight: [h, w, 3], linear sunlight that reaches the camera after one reflection.
        light: [h, w, 3], all linear light.
    """

    scale: int
    node: np.ndarray
    depth: np.ndarray
    position: np.ndarray
    normal: np.ndarray
    sunlight: np.ndarray
    light: np.ndarray

    def pixels_of(self, points: np.ndarray) -> np.ndarray:
        """Return the mean over each pixel of values of points, [H, W, c]."""
        n = self.scale
        parts = [points[i::n, j::n] for i in range(n) for j in range(n)]
        return np.asarray(functools.reduce(np.add, parts) / np.float32(n**2))

    def points_of(self, pixels: np.ndarray) -> np.ndarray:
        """Return each point's contribution [h, w, c] to the sum over pixels of weights [H, W, c] times light."""
        n = self.scale
        return np.repeat(np.repeat((pixels / n**2).astype(np.float32), n, 0), n, 1)


@dataclass(frozen=True)
class Casters:
    """The surfaces that hide the sun from points of the image.

    Attributes:
        node: int [n]: index of the node + 1; 0: nothing.
        position: [n, 3]: where the ray to the sun meets it, world frame.
    """

    node: np.ndarray
    position: np.ndarray


def has_screen_space(scene: scene_pb2.Scene) -> bool:
    """Return whether the rules of this module hold for a scene: meshes that reflect, under one sun at most."""
    lights = [node.light for node in scene.nodes if node.HasField("light")]
    if len(lights) > 1 or not all(light.HasField("sun") for light in lights):
        return False
    return not any(node.HasField("sprite") or node.mesh.material.emission > 0 for node in scene.nodes)


def moves(node: scene_pb2.Node, attribute: scene_pb2.Attribute.ValueType) -> bool:
    """Return whether an attribute of a node only moves surfaces or the camera."""
    if node.HasField("light"):
        return False
    return attribute in MOTIONS and (attribute not in SIZES or node.HasField("mesh"))


def _display_slopes(buffers: SurfaceBuffers, axis: int) -> np.ndarray:
    """Return d display / d light of each pixel, [H, W, 3], for image motion of half a pixel each way along an axis.

    The display curve (sRGB; VIEW_TRANSFORM_STANDARD) is so steep in the dark that its tangent is inaccurate at edges.
    """
    half = buffers.scale // 2
    shown = np.pad(buffers.light, [(half, half) if a == axis else (0, 0) for a in range(3)], mode="edge")
    count = buffers.light.shape[axis]
    before, after = (buffers.pixels_of(np.take(shown, range(start, start + count), axis)) for start in (0, 2 * half))
    change = after - before
    flat = np.abs(change) < _FLAT
    secant = (_displayed(after) - _displayed(before)) / np.where(flat, 1.0, change)
    return np.where(flat, srgb_slope(buffers.pixels_of(buffers.light)), secant)


def _displayed(light: np.ndarray) -> np.ndarray:
    return linear_to_srgb(np.clip(light, np.float32(0), np.float32(1)))


class ScreenSpaceGradient:
    """The derivative of a loss by the motion of every node, from one frame's buffers.

    Args:
        buffers: of the unperturbed scene.
        view: of its camera.
        gradient: ∂loss/∂image, [H, W, 3], by display values.
        to_sun: [3], unit vector towards the sun; None: there is no sun.
        nodes: number of nodes in the scene.
    """

    def __init__(
        self,
        buffers: SurfaceBuffers,
        view: CameraView,
        gradient: np.ndarray,
        to_sun: np.ndarray | None,
        nodes: int,
    ) -> None:
        self._buffers, self._view, self._nodes = buffers, view, nodes
        self._to_sun = to_sun
        by_light = [gradient * _display_slopes(buffers, axis) for axis in (0, 1)]
        self._gradient = buffers.points_of((by_light[0] + by_light[1]) / 2)
        self._across = _pixel_rows(buffers, view)
        self._faces = [_Faces(buffers, buffers.points_of(by_light[axis]), to_sun, axis) for axis in (0, 1)]
        self.by_motion = np.zeros((nodes + 1, 3, 4))
        self.by_view = np.zeros((3, 4))
        self.by_zoom = 0.0
        self._add_surfaces()
        self._add_meetings()
        self._add_shading()

    @property
    def shadow_edges(self) -> np.ndarray:
        """The points [n, 3] in shadow at the edges of shadows."""
        return np.concatenate([self._buffers.position[faces.dark] for faces in self._faces])

    def add_shadows(self, casters: Casters) -> None:
        """Add the contribution of shadow edges.

        Args:
            casters: the casters of the points of `shadow_edges`.
        """
        first = 0
        for faces in self._faces:
            count = len(faces.dark[0])
            self._add_shadow(faces, casters.node[first : first + count], casters.position[first : first + count])
            first += count

    def product(self, probe: Probe, graph: SceneGraph) -> float:
        """Return the derivative of the loss by the attribute of a probe.

        Args:
            graph: the unperturbed scene.
        """
        total = 0.0
        begin, end = (side or graph for side in probe.sides)
        changed = {index for side in probe.sides if side is not None for index in side.changed}
        for index in changed:
            if index == graph.camera:
                total += self._of_camera(begin, end, probe.span)
            else:
                motion = (_frame(end, index) - _frame(begin, index)) @ np.linalg.inv(_frame(graph, index))
                total += float((self.by_motion[index + 1] * motion[:3]).sum()) / probe.span
        return total

    def _of_camera(self, begin: SceneGraph, end: SceneGraph, span: float) -> float:
        size = self._view.width_px, self._view.height_px
        first, last = (camera_view(each, *size) for each in (begin, end))
        # The world moves relative to the camera by d(C0⁻¹ C) in the world's own frame.
        motion = np.linalg.inv(self._view.camera_from_world) @ (last.camera_from_world - first.camera_from_world)
        zoom = math.log(last.focal_px / first.focal_px)
        return (float((self.by_view * motion[:3]).sum()) + self.by_zoom * zoom) / span

    def _add_surfaces(self) -> None:
        """Add the effects that move with surfaces: texture, shading and silhouettes."""
        buffers = self._buffers
        own = [faces.weights(faces.jump - faces.shadow) for faces in self._faces]
        node = buffers.node.ravel()
        self.by_motion += _sums(node, _combined(own, self._across), buffers.position, self._nodes)
        seen = [faces.weights(faces.jump) for faces in self._faces]
        covered = np.minimum(node, 1)
        self.by_view += _sums(covered, _combined(seen, self._across), buffers.position, 1)[1]
        u, v = (buffers.scale * each for each in self._view.center_px)
        height, width = buffers.node.shape
        rows, columns = np.mgrid[:height, :width].astype(np.float32) + np.float32(0.5)
        self.by_zoom -= float((seen[0] * (rows - v) + seen[1] * (columns - u)).sum())

    def _add_meetings(self) -> None:
        """Correct the faces where two surfaces meet, since that border moves with both of them."""
        for faces in self._faces:
            low, high = faces.meetings(self._footprint())
            if not len(low[0]):
                continue
            buffers = self._buffers
            first_is_near = buffers.depth[low] <= buffers.depth[high]
            near = _chosen(first_is_near, low, high)
            row, where = self._across[faces.axis][near], buffers.position[near]
            weight = faces.mean_gradient(low, high, faces.jump - faces.shadow)
            first, second = buffers.normal[low], buffers.normal[high]
            self.by_motion -= _sums(buffers.node[near], -weight[:, None] * row, where, self._nodes)
            cosine = _dot(first, second)[:, None]
            for place, own, other in ((low, first, second), (high, second, first)):
                along = (own - cosine * other) / np.maximum(1 - cosine**2, _FLATTEST)
                vector = -(weight * _dot(row, along))[:, None] * own
                self.by_motion += _sums(buffers.node[place], vector, where, self._nodes)

    def _add_shading(self) -> None:
        """Add the change of sunlight as surfaces turn: d(n·l)."""
        if self._to_sun is None:
            return
        buffers = self._buffers
        cosine = buffers.normal @ self._to_sun.astype(np.float32)
        lit = (buffers.node > 0) & (cosine > _GRAZING)
        normal, cosine = buffers.normal[lit], cosine[lit]
        weight = _dot(self._gradient[lit], buffers.sunlight[lit]) / cosine
        turned = np.zeros((self._nodes + 1, 3, 3))
        node = buffers.node[lit]
        for i in range(3):
            for j in range(3):
                value = weight * normal[:, i] * (cosine * normal[:, j] - self._to_sun[j])
                turned[:, i, j] = np.bincount(node, value, self._nodes + 1)
        self.by_motion[:, :, :3] += turned

    def _add_shadow(self, faces: "_Faces", caster: np.ndarray, where: np.ndarray) -> None:
        if self._to_sun is None or not len(caster):
            return
        buffers, dark = self._buffers, faces.dark
        row, normal = self._across[faces.axis][dark], buffers.normal[dark]
        along = (row @ self._to_sun) / np.maximum(normal @ self._to_sun, 0.1)
        weight = faces.mean_gradient(faces.edge_low, faces.edge_high, faces.shadow)
        cast = caster > 0
        vector = -weight[:, None] * (row - along[:, None] * normal)
        self.by_motion += _sums(caster[cast], vector[cast], where[cast], self._nodes)
        received = -(weight * along)[:, None] * normal
        self.by_motion += _sums(buffers.node[dark], received, buffers.position[dark], self._nodes)

    def _footprint(self) -> np.ndarray:
        """Return the width in metres of a point of the image at each surface, [h, w]."""
        focal = self._view.focal_px * self._buffers.scale
        depth = self._buffers.depth if self._view.perspective else np.ones_like(self._buffers.depth)
        return depth / np.float32(focal)


class _Faces:
    """The faces between neighbouring points along one axis of the image.

    Attributes:
        axis: 0: between rows; 1: between columns.
        jump: [faces, 3], light of the second point minus that of the first.
        shadow: [faces, 3], the part of it that is the edge of a shadow.
        edge_low, edge_high: the points on both sides of faces with such an edge; `dark` marks those in the shadow.
    """

    def __init__(self, buffers: SurfaceBuffers, gradient: np.ndarray, to_sun: np.ndarray | None, axis: int) -> None:
        self.axis, self._buffers, self._gradient = axis, buffers, gradient
        low = (slice(None, -1), slice(None)) if axis == 0 else (slice(None), slice(None, -1))
        high = (slice(1, None), slice(None)) if axis == 0 else (slice(None), slice(1, None))
        self._low, self._high = low, high
        self.jump = buffers.light[high] - buffers.light[low]
        self.shadow = np.zeros_like(self.jump)
        none = np.zeros(0, np.int64)
        self.dark = self.edge_low = self.edge_high = (none, none)
        if to_sun is None:
            return
        towards = buffers.normal @ to_sun.astype(np.float32) > _GRAZING
        lit = (buffers.sunlight > 0).any(-1)
        same = (buffers.node[low] == buffers.node[high]) & (buffers.node[low] > 0) & towards[low] & towards[high]
        edge = same & (lit[low] != lit[high])
        self.shadow[edge] = buffers.sunlight[high][edge] - buffers.sunlight[low][edge]
        self.edge_low, self.edge_high = self._beside(*np.nonzero(edge))
        first = lit[self.edge_high]
        self.dark = _chosen(first, self.edge_low, self.edge_high)

    def weights(self, jump: np.ndarray) -> np.ndarray:
        """Return the change of the loss per motion of each point along the axis, [h, w], from the flux of its faces."""
        buffers = self._buffers
        flux = 0.5 * _dot(self._gradient[self._low] + self._gradient[self._high], jump)
        low, high = buffers.depth[self._low], buffers.depth[self._high]
        same = buffers.node[self._low] == buffers.node[self._high]
        share = np.where(same, np.float32(0.5), (low <= high).astype(np.float32))
        total = np.zeros(buffers.node.shape, np.float32)
        total[self._low] += share * flux
        total[self._high] += (1 - share) * flux
        return total

    def mean_gradient(self, low: Points, high: Points, jump: np.ndarray) -> np.ndarray:
        """Return ½ (g_low + g_high) · jump [n] of some faces."""
        return 0.5 * _dot(self._gradient[low] + self._gradient[high], jump[low])

    def meetings(self, footprint: np.ndarray) -> tuple[Points, Points]:
        """Return the points on both sides of the faces where the surfaces of two nodes meet.

        Args:
            footprint: width of a point of the image at each surface, in metres, [h, w].
        """
        buffers = self._buffers
        first, second = buffers.node[self._low], buffers.node[self._high]
        low, high = self._beside(*np.nonzero((first != second) & (first > 0) & (second > 0)))
        way = buffers.position[high] - buffers.position[low]
        meets = np.ones(len(way), bool)
        for side in (low, high):
            meets &= np.abs(_dot(buffers.normal[side], way)) < _MEETING * footprint[low]
        return (low[0][meets], low[1][meets]), (high[0][meets], high[1][meets])

    def _beside(self, rows: np.ndarray, columns: np.ndarray) -> tuple[Points, Points]:
        """Return the points on both sides of faces."""
        return (rows, columns), ((rows + 1, columns) if self.axis == 0 else (rows, columns + 1))


def _chosen(first: np.ndarray, one: Points, other: Points) -> Points:
    return np.where(first, one[0], other[0]), np.where(first, one[1], other[1])


def _dot(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.einsum("...c,...c->...", first, second)


def _combined(weights: Sequence[np.ndarray], across: Sequence[np.ndarray]) -> np.ndarray:
    """Return -(w_y r_y + w_x r_x), [h, w, 3]."""
    return -(weights[0][..., None] * across[0] + weights[1][..., None] * across[1])


def _sums(node: np.ndarray, vector: np.ndarray, position: np.ndarray, nodes: int) -> np.ndarray:
    """Return the sums over each node's points of vector ⊗ (position, 1), [nodes + 1, 3, 4]."""
    node, vector, position = node.ravel(), vector.reshape(-1, 3), position.reshape(-1, 3)
    used = np.flatnonzero((node > 0) & vector.any(1))
    node, vector, position = node[used], vector[used], position[used]
    total = np.zeros((nodes + 1, 3, 4))
    for i in range(3):
        for j in range(3):
            total[:, i, j] = np.bincount(node, vector[:, i] * position[:, j], nodes + 1)
        total[:, i, 3] = np.bincount(node, vector[:, i], nodes + 1)
    return total


def _pixel_rows(buffers: SurfaceBuffers, view: CameraView) -> tuple[np.ndarray, np.ndarray]:
    """Return a surface's image motion down and right in points per metre, [h, w, 3] each, world frame."""
    rotation = view.camera_from_world[:3, :3]
    points = view.to_camera(buffers.position.reshape(-1, 3)).reshape(buffers.position.shape)
    focal = view.focal_px * buffers.scale
    down, right = np.zeros_like(points), np.zeros_like(points)
    if view.perspective:
        depth = np.where(buffers.node > 0, -points[..., 2], np.inf)
        right[..., 0], right[..., 2] = focal / depth, focal * points[..., 0] / depth**2
        down[..., 1], down[..., 2] = -focal / depth, -focal * points[..., 1] / depth**2
    else:
        right[..., 0], down[..., 1] = focal, -focal
    return (down @ rotation).astype(np.float32), (right @ rotation).astype(np.float32)


def _frame(graph: SceneGraph, index: int) -> np.ndarray:
    """Return the matrix from a node's content at size 1 to the world, [4, 4]."""
    node = graph.nodes[index]
    sizes = mesh_size(node.mesh) if node.HasField("mesh") else (1.0, 1.0, 1.0)
    return graph.world[index] @ np.diag((*sizes, 1.0))
