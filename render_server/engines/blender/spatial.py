# mypy: disable-error-code="misc, union-attr"
"""Scenes with depth: perspective, meshes, lights. A scene is built once per task; probes modify its objects."""

import collections
import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import Any

import bpy
import mathutils
import numpy as np
from metasim.colour import linear_to_srgb
from metasim.v1 import render_pb2 as pb

from render_server.engines.blender.content import BUILDERS, Builder, Sources, matrix
from render_server.engines.blender.environment import Environment, surrounds
from render_server.engines.blender.material import is_translucent, show_labels
from render_server.engines.blender.session import RenderScene
from render_server.engines.flat import sample_offsets
from render_server.engines.frame import SurfaceLayers, wants_labels
from render_server.engines.lens import LensMap, PinholeFrame, lens_map, pinhole_frame
from render_server.errors import InvalidTask
from render_server.jacobian.regions import Window
from render_server.jacobian.screen_space import Casters, SurfaceBuffers, has_screen_space
from render_server.scene.extent import Extent
from render_server.scene.geometry import camera_view
from render_server.scene.scene_graph import SceneGraph

#: Cycles writes larger depths where there is no surface.
_BACKGROUND_DEPTH = 1e9
#: Meshes with fewer polygons are rebuilt faster than they are instanced.
_MANY_POLYGONS = 100
#: Translucent surfaces that a ray may pass, Blender's maximum.
_MOST_SURFACES = 1024
_LABEL_PASSES = ("use_pass_object_index", "use_pass_z", "use_pass_normal")
_BUFFER_PASSES = (*_LABEL_PASSES, "use_pass_position")
#: Buffer points along the edge of a pixel.
_FINE = 2
#: Offset of the origin of a ray to the sun, in metres.
_OFFSET_M = 2e-3


def wants_screen_space(task: pb.RenderTask) -> bool:
    """Return whether a task requests columns in screen space and its scene allows them."""
    return (
        task.probes.method == pb.PROBE_METHOD_SCREEN_SPACE
        and task.HasField("image_gradient")
        and task.settings.view_transform == pb.VIEW_TRANSFORM_STANDARD
        and has_screen_space(task.scene)
    )


class SpatialScene:
    """A task's scene in Blender. A context manager that removes all blocks it has created."""

    def __init__(self, task: pb.RenderTask, graph: SceneGraph, sources: Sources) -> None:
        self._task, self._graph, self._sources = task, graph, sources
        self._settings = task.settings
        self._objects: dict[int, bpy.types.Object] = {}
        self._builders: dict[str, Builder] = {}
        self._blocks: list[bpy.types.ID] = []
        self._translucent: list[bpy.types.Object] = []
        self._lens: LensMap | None = None
        self._frame: PinholeFrame | None = None
        self._environment: Environment | None = None

    def __enter__(self) -> "SpatialScene":
        self._target = RenderScene("spatial")
        try:
            self._build()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._remove()

    def apply(self, graph: SceneGraph, indices: Sequence[int]) -> None:
        """Set the matrices and contents of the given nodes from the graph."""
        for index in indices:
            if index == self._graph.camera:
                self._aim(graph)
            elif self._environment is not None and index == self._environment.node:
                self._environment.update(graph)
            elif index in self._objects:
                self._builder(index).update(graph, index, self._objects[index])

    def image(self, window: Window, samples: int) -> np.ndarray:
        """Render a part of the scene in its current state: [h, w, 3] float32 display values, 0 to 1.

        Args:
            window: the part; its pixels equal those of the whole frame bit for bit.
            samples: per pixel.
        """
        if self._lens is None:
            light = self._light(window, samples)
        else:
            light = self._lens.image(self._light(self._lens.source(window), samples), window)
        if self._sources.standard:
            light = linear_to_srgb(light)
        return np.clip(light, np.float32(0), np.float32(1))

    def _light(self, window: Window, samples: int) -> np.ndarray:
        """Render a part of what the pinhole camera sees: [h, w, 3] float32 light."""
        width, height, box = self._view.width_px, self._view.height_px, self._settings.filter_width_px
        if box in (0.0, 1.0):
            self._target.sample(samples=samples, seed=self._task.seed, box_px=box)
            if self._settings.denoise:
                self._target.denoise(True)
            light: np.ndarray = self._target.render(width, height, window)["Combined"][..., :3]
            if self._settings.denoise:  # Labels are rendered next.
                self._target.denoise(False)
        else:
            # Blender's box filter is one pixel wide. Other widths are means of shifted frames with one sample each.
            light = np.zeros((window.height, window.width, 3), np.float32)
            offsets = sample_offsets(samples, box)
            camera = self._target.camera.data
            with _kept(camera, "shift_x", "shift_y"):
                shift_x, shift_y = camera.shift_x, camera.shift_y
                for number, (dx, dy) in enumerate(offsets):
                    camera.shift_x = shift_x + dx / max(width, height)
                    camera.shift_y = shift_y - dy / max(width, height)
                    self._target.sample(samples=1, seed=self._task.seed + number, box_px=0.0)
                    light += self._target.render(width, height, window)["Combined"][..., :3]
            light /= np.float32(len(offsets))
        return light

    def extent(self, graph: SceneGraph, index: int) -> Extent | None:
        """See `ExtentOf`."""
        return self._builder(index).extent(graph, index) if index in self._objects else None

    def surface_layers(self) -> SurfaceLayers:
        """Render the surfaces at pixel centres, one sample each. Only for tasks that need labels."""
        self._target.sample(samples=1, seed=self._task.seed, box_px=0.0)
        with self._opaque_or_absent():
            passes = self._target.render(self._view.width_px, self._view.height_px)
        if self._lens is not None:
            passes = {name: self._lens.nearest(each) for name, each in passes.items()}
        node, depth, normal = passes["IndexOB"].astype(np.uint16), passes["Depth"].copy(), passes["Normal"].copy()
        nothing = (node == 0) | (depth > _BACKGROUND_DEPTH)
        node[nothing], depth[nothing], normal[nothing] = 0, np.inf, 0.0
        boxed = self._objects if pb.OUTPUT_BOXES in self._task.outputs else {}
        outlines = {index: self._builder(index).outline(self._graph, index, item) for index, item in boxed.items()}
        return SurfaceLayers(
            node=node,
            depth=depth,
            normal=normal,
            outlines={index: outline for index, outline in outlines.items() if outline is not None},
        )

    @property
    def translucent(self) -> bool:
        """Return whether the scene has a translucent surface."""
        return bool(self._translucent)

    def buffers(self, samples: int) -> SurfaceBuffers:
        """Render the buffers for screen-space derivatives; see `wants_screen_space`.

        Sunlight and other light are rendered in two frames, because a common frame would sample one of them at random.
        The sun's frame takes one sample and gives exact shadows; the other frame takes the rest.

        Args:
            samples: minimum samples per pixel of both frames together; at least 8 are taken.
        """
        size = self._settings.width_px * _FINE, self._settings.height_px * _FINE
        self._target.sample(samples=1, seed=self._task.seed, box_px=0.0)
        with self._lit(suns=True):
            passes = self._target.render(*size)
        self._target.sample(samples=max(1, samples // _FINE**2 - 1), seed=self._task.seed, box_px=0.0)
        with self._lit(suns=False):
            other = self._target.render(*size)["Combined"][..., :3]
        node, depth, sunlight = passes["IndexOB"].astype(np.int64), passes["Depth"], passes["Combined"][..., :3]
        nothing = (node == 0) | (depth > _BACKGROUND_DEPTH)
        node[nothing] = 0
        return SurfaceBuffers(
            scale=_FINE,
            node=node,
            depth=np.where(nothing, np.float32(np.inf), depth),
            position=passes["Position"],
            normal=passes["Normal"],
            sunlight=sunlight,
            light=sunlight + other,
        )

    def to_sun(self) -> np.ndarray | None:
        """Return the unit vector [3] towards the scene's sun; None if it has none."""
        for index, node in enumerate(self._graph.nodes):
            if node.light.HasField("sun"):
                axis = self._graph.world[index][:3, 2]
                return np.asarray(axis / np.linalg.norm(axis))
        return None

    def casters(self, points: np.ndarray, to_sun: np.ndarray) -> Casters:
        """Return the surfaces that hide the sun from points [n, 3]."""
        node, position = np.zeros(len(points), np.int64), np.zeros((len(points), 3))
        towards = mathutils.Vector(to_sun.tolist())
        scene = self._target.scene
        with bpy.context.temp_override(scene=scene, view_layer=self._target.layer):
            depsgraph = bpy.context.evaluated_depsgraph_get()
            for number, point in enumerate(points.tolist()):
                hit, where, _, _, item, _ = scene.ray_cast(
                    depsgraph, mathutils.Vector(point) + towards * _OFFSET_M, towards
                )
                if hit:
                    node[number], position[number] = item.pass_index, where
        return Casters(node, position)

    @contextlib.contextmanager
    def _lit(self, *, suns: bool) -> Iterator[None]:
        """Light the scene only by its suns, or by everything else."""
        background = self._target.scene.world.node_tree.nodes["Background"].inputs["Strength"]
        lamps = [item for item in self._objects.values() if item.type == "LIGHT"]
        hidden = [lamp for lamp in lamps if (lamp.data.type == "SUN") != suns]
        strength = background.default_value
        for lamp in hidden:
            lamp.hide_render = True
        if suns:
            background.default_value = 0.0
        try:
            yield
        finally:
            for lamp in hidden:
                lamp.hide_render = False
            background.default_value = strength

    @contextlib.contextmanager
    def _opaque_or_absent(self) -> Iterator[None]:
        """Make translucent surfaces opaque or absent inside the context, so that labels are deterministic."""
        for item in self._translucent:
            show_labels(item, True)
        try:
            yield
        finally:
            for item in self._translucent:
                show_labels(item, False)

    def _build(self) -> None:
        graph = self._graph
        # Set before the first render: an existing Cycles session cannot get new passes, and a second one costs as much.
        wanted = set(_LABEL_PASSES if wants_labels(self._task.outputs) else ())
        wanted.update(_BUFFER_PASSES if wants_screen_space(self._task) else ())
        for name in _BUFFER_PASSES:
            setattr(self._target.layer, name, name in wanted)
        sources = self._sources
        self._environment = Environment(
            self._target.scene, graph, self._task.scene.background, sources.environments, sources.assets
        )
        for index, node in enumerate(graph.nodes):
            kind = node.WhichOneof("content")
            if kind is None or kind == "camera" or surrounds(node):
                continue
            if not self._sources.standard and kind != "sprite":
                raise InvalidTask(
                    "settings.view_transform",
                    "VIEW_TRANSFORM_RAW",
                    f"node {node.id!r} is a {kind}: only scenes of sprites have it, others VIEW_TRANSFORM_STANDARD",
                )
            if kind not in self._builders:
                self._builders[kind] = BUILDERS[kind](self._sources, graph)
            item = self._objects[index] = self._builders[kind].create(graph, index)
            self._blocks.append(item)
            item.pass_index = index + 1
            self._target.scene.collection.objects.link(item)
        self._share_meshes()
        cycles = self._target.scene.cycles
        cycles.max_bounces = cycles.diffuse_bounces = cycles.glossy_bounces = self._settings.max_bounces
        cycles.transmission_bounces = self._settings.max_bounces
        self._translucent = [item for item in self._objects.values() if is_translucent(item)]
        sprites = sum(node.HasField("sprite") for node in graph.nodes)
        self._target.transparency(_MOST_SURFACES if self._translucent else sprites)
        self.apply(graph, range(len(graph.nodes)))

    def _remove(self) -> None:
        made = [block for each in self._builders.values() for block in each.blocks]
        surroundings = [] if self._environment is None else self._environment.blocks
        self._target.remove([*self._blocks, *made, *surroundings])

    def _share_meshes(self) -> None:
        """Give every mesh a second, invisible object.

        Cycles merges a mesh with a single user into the world's geometry, and rebuilds all of it whenever such an
        object moves. A mesh with two users is instanced, and its objects move at no cost.
        """
        users = collections.Counter(item.data for item in self._objects.values() if item.type == "MESH")
        for mesh, count in users.items():
            if count == 1 and len(mesh.polygons) >= _MANY_POLYGONS:
                twin = bpy.data.objects.new("twin", mesh)
                self._blocks.append(twin)
                for ray in ("camera", "diffuse", "glossy", "transmission", "shadow"):
                    setattr(twin, f"visible_{ray}", False)
                self._target.scene.collection.objects.link(twin)

    def _aim(self, graph: SceneGraph) -> None:
        view = camera_view(graph, self._settings.width_px, self._settings.height_px)
        if self._frame is None and not view.is_pinhole and view.perspective:
            self._frame = pinhole_frame(camera_view(self._graph, self._settings.width_px, self._settings.height_px))
        self._lens = lens_map(view, f"scene.nodes[{graph.camera}].camera", self._frame)
        view = self._view = view if self._lens is None else self._lens.pinhole
        camera = self._target.camera
        longest = max(view.width_px, view.height_px)
        if view.perspective:
            camera.data.type = "PERSP"
            camera.data.angle = 2 * math.atan(longest / 2 / view.focal_px)
        else:
            camera.data.type = "ORTHO"
            camera.data.ortho_scale = longest / view.focal_px
        u, v = view.center_px
        camera.data.shift_x = (view.width_px / 2 - u) / longest
        camera.data.shift_y = (v - view.height_px / 2) / longest
        camera.data.clip_start, camera.data.clip_end = view.near_m, view.far_m
        camera.matrix_world = matrix(np.linalg.inv(view.camera_from_world))

    def _builder(self, index: int) -> Builder:
        return self._builders[str(self._graph.nodes[index].WhichOneof("content"))]


@contextlib.contextmanager
def _kept(owner: Any, *names: str) -> Iterator[None]:
    """Restore attributes of a Blender block on exit."""
    values = {name: getattr(owner, name) for name in names}
    try:
        yield
    finally:
        for name, value in values.items():
            setattr(owner, name, value)
