"""Scenes rendered into samples, with only the labels that a format needs."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence

import numpy as np
from metasim.camera import CameraView
from metasim.tensors import tensor_from_proto
from metasim.transforms import world_matrices
from metasim.v1 import render_pb2 as pb
from metasim.v1 import scene_pb2

from trainer.assets.asset_sets import AssetSet
from trainer.datasets.writers.geometry import camera_of, cuboid_of
from trainer.datasets.writers.meshes import MeshFile, MeshSource
from trainer.datasets.writers.picture import PNG, Encoding, Picture
from trainer.datasets.writers.sample import Instance, Need, Rectangle, Sample
from trainer.grammar import Grammar, SceneGraph
from trainer.grammar.nodes import Mesh
from trainer.pool import RenderPool
from trainer.pool.result_cache import ResultCache
from trainer.rendering import Frame, Renderer

_OUTPUTS: dict[Need, tuple["pb.Output.ValueType", ...]] = {
    Need.BOXES: (pb.OUTPUT_BOXES,),
    Need.MASKS: (pb.OUTPUT_CLASS_MASK, pb.OUTPUT_INSTANCE_MASK),
    Need.DEPTH: (pb.OUTPUT_DEPTH,),
    Need.NORMALS: (pb.OUTPUT_NORMAL,),
    Need.SILHOUETTES: (),
    Need.CAMERA: (),
}
_MASKS = {pb.OUTPUT_CLASS_MASK: "class", pb.OUTPUT_INSTANCE_MASK: "instance"}
#: Labels that audits compare.
_AUDITED = (*_OUTPUTS[Need.BOXES], *_OUTPUTS[Need.MASKS])


class SampleRenderer:
    """Renders scenes of one grammar with the labels that a format needs.

    Args:
        encoding: image encoding by the workers; None: they return pixels.
        encodes_masks: workers encode masks as PNGs.
        cache: disk cache of results.
    """

    def __init__(
        self,
        pool: RenderPool,
        grammar: Grammar,
        needs: Need,
        *,
        encoding: Encoding | None = None,
        encodes_masks: bool = False,
        cache: ResultCache | None = None,
    ) -> None:
        self._grammar, self._pool, self._needs = grammar, pool, needs
        self._renderer = Renderer(pool, grammar, cache=cache)
        self._item_names: dict[str, list[str]] = {}
        self._outputs = (pb.OUTPUT_IMAGE_U8, *(output for need in needs for output in _OUTPUTS[need]))
        self._encodings: dict[int, Encoding] = {}
        if encoding is not None:
            self._encodings[pb.OUTPUT_IMAGE_U8] = encoding
        if encodes_masks:
            self._encodings |= dict.fromkeys(_MASKS, PNG)

    def samples(
        self,
        scenes: Sequence[SceneGraph],
        seed: int,
        numbers: Sequence[int] | None = None,
        audited: Collection[int] = (),
    ) -> Iterator[Sample]:
        """Return a sample for each scene; scene i has the sampling noise of seed + i, or of seed + numbers[i].

        Args:
            audited: indices of scenes rendered with boxes and masks even if the format does not need them.
        """
        numbers = range(len(scenes)) if numbers is None else numbers
        wires = [scene.to_wire(self._grammar.assets.hash_of) for scene in scenes]
        frames: list[Frame | None] = [None] * len(scenes)
        full = (*self._outputs, *(output for output in _AUDITED if output not in self._outputs))
        for outputs, places in (
            (self._outputs, [place for place in range(len(scenes)) if place not in audited]),
            (full, sorted(audited)),
        ):
            encodings = [
                pb.LayerEncoding(output=output, format=each.format, quality=each.quality)  # type: ignore[arg-type]
                for output, each in self._encodings.items()
                if output in outputs
            ]
            found = self._renderer.render_wires(
                [wires[place] for place in places], seed, [numbers[place] for place in places], outputs, encodings
            )
            for place, frame in zip(places, found, strict=True):
                frames[place] = frame
        done = [frame for frame in frames if frame is not None]
        scenes = [_settled(scene, frame) for scene, frame in zip(scenes, done, strict=True)]
        for wire, frame in zip(wires, done, strict=True):
            _settle(wire, frame)
        alone: list[dict[str, np.ndarray]] = [{} for _ in wires]
        if Need.SILHOUETTES in self._needs:
            alone = self._silhouettes(wires, done, seed, numbers)
        for place, (scene, wire, frame, silhouettes) in enumerate(zip(scenes, wires, done, alone, strict=True)):
            yield self._sample(scene, wire, frame, silhouettes, Need.CAMERA in self._needs or place in audited)

    def _sample(
        self,
        scene: SceneGraph,
        wire: scene_pb2.Scene,
        frame: Frame,
        silhouettes: dict[str, np.ndarray],
        placed: bool,
    ) -> Sample:
        """Return a sample; `placed` includes the camera and the poses of objects."""
        nodes = scene.nodes
        classes = [node.class_name for node in nodes if node.class_name]
        label = image_label(classes[0], self._grammar.classes) if len(classes) == 1 else None
        attributes = [
            {"node": nodes[item.node].id, "attribute": item.name, "value": round(float(values[item.name]), 4)}
            for item in scene.mutable
            if (values := nodes[item.node].values)
        ]
        camera = camera_of(wire, self._renderer.settings) if placed else None
        return Sample(
            picture=self._picture(frame, pb.OUTPUT_IMAGE_U8),
            label=label,
            instances=self._instances(scene, wire, frame, camera, silhouettes),
            camera=camera,
            mask_pictures={
                name: self._picture(frame, output)
                for output, name in _MASKS.items()
                if output in frame.layers or output in frame.files
            },
            depth=frame.layers.get(pb.OUTPUT_DEPTH),
            normals=frame.layers.get(pb.OUTPUT_NORMAL),
            metadata={"attributes": attributes},
        )

    def _picture(self, frame: Frame, output: int) -> Picture:
        if output not in frame.files:
            return Picture.of(frame.layers[output])
        settings = self._renderer.settings
        return Picture(settings.height_px, settings.width_px, frame.files[output], self._encodings[output])

    def _instances(
        self,
        scene: SceneGraph,
        wire: scene_pb2.Scene,
        frame: Frame,
        camera: CameraView | None,
        silhouettes: dict[str, np.ndarray],
    ) -> tuple[Instance, ...]:
        """Return the objects of a scene; without a camera, cuboids are left out."""
        places = {node.id: place for place, node in enumerate(scene.nodes)}
        world = world_matrices(wire) if frame.boxes and camera is not None else {}
        found = []
        for box in frame.boxes:
            name = box.node
            place = places[name]
            cuboid, scale = None, (1.0, 1.0, 1.0)
            if camera is not None:
                cuboid = cuboid_of(box.extent, world[name], camera) if box.HasField("extent") else None
                scale = _mesh_scale(wire.nodes[place], world[name])
            found.append(
                Instance(
                    node=name,
                    class_name=box.class_name,
                    number=place + 1,
                    visible=_rectangle(box.visible) if box.HasField("visible") else None,
                    amodal=_rectangle(box.amodal) if box.HasField("amodal") else None,
                    visible_px=box.visible_px,
                    cuboid=cuboid,
                    model=self._model(scene, place),
                    mesh_scale=scale,
                    silhouette=silhouettes.get(name),
                )
            )
        return tuple(found)

    def _model(self, scene: SceneGraph, place: int) -> str:
        node = scene.nodes[place]
        if not isinstance(scene.kinds[node.kind].content, Mesh) or node.asset is None:
            return node.class_name
        name = node.asset.set
        if name not in self._item_names:
            self._item_names[name] = item_names(self._grammar.asset_sets[name])
        return self._item_names[name][node.asset.index]

    def _silhouettes(
        self, wires: Sequence[scene_pb2.Scene], frames: Sequence[Frame], seed: int, numbers: Sequence[int]
    ) -> list[dict[str, np.ndarray]]:
        """Return for each scene the masks bool [h, w] of its visible objects, each rendered alone."""
        settings = pb.RenderSettings()
        settings.CopyFrom(self._renderer.settings)
        settings.samples = 1
        tasks, places = [], []
        for number, (wire, frame) in enumerate(zip(wires, frames, strict=True)):
            for box in frame.boxes:
                if box.HasField("visible"):
                    places.append((number, box.node))
                    tasks.append(
                        pb.RenderTask(
                            id=f"{seed}/{number}.{box.node}",
                            scene=_alone(wire, box.node),
                            settings=settings,
                            seed=(seed + numbers[number]) % 2**32,
                            outputs=[pb.OUTPUT_INSTANCE_MASK],
                        )
                    )
        found: list[dict[str, np.ndarray]] = [{} for _ in wires]
        for (number, node), result in zip(places, self._pool.render(tasks), strict=True):
            found[number][node] = tensor_from_proto(result.layers[0].tensor) > 0
        return found


def image_label(class_name: str, classes: Sequence[str]) -> int | str:
    """Return the label of an image that shows one object: a number if all classes of the grammar are numbers.

    All labels of a dataset thus have one type.
    """
    numbers = all(name.isascii() and name.isdecimal() and len(name) < 10 and name == str(int(name)) for name in classes)
    return int(class_name) if numbers else class_name


def model_names(grammar: Grammar) -> tuple[str, ...]:
    """Return the values of `Instance.model`: items of the mesh sets of nodes with a class, then the classes."""
    names: list[str] = []
    others = False
    for kind in grammar.kinds.values():
        if not kind.class_name:
            continue
        if isinstance(kind.content, Mesh) and kind.content.asset is not None:
            names += item_names(grammar.asset_sets[kind.content.asset.set])
        else:
            others = True
    return tuple(dict.fromkeys(names + (list(grammar.classes) if others else [])))


def item_names(items: AssetSet) -> list[str]:
    """Return a name for each item of a set, `SET/ITEM`; equal names are made unique by label or number."""
    short = [items.item_name(index) or str(index) for index in range(len(items))]
    often = Counter(short)
    labelled = [name if often[name] == 1 else f"{items.label(index)}/{name}" for index, name in enumerate(short)]
    often = Counter(labelled)
    return [
        f"{items.name}/{name}" if often[name] == 1 else f"{items.name}/{name}#{index}"
        for index, name in enumerate(labelled)
    ]


def mesh_source(grammar: Grammar) -> MeshSource:
    """Return the files of the models of a grammar's sets of meshes."""
    places = {
        name: (items, index)
        for items in grammar.asset_sets.values()
        if items.mesh_format(0) is not None
        for index, name in enumerate(item_names(items))
    }

    def file_of(model: str) -> MeshFile | None:
        if model not in places:
            return None
        items, index = places[model]
        mesh_format = items.mesh_format(index) or scene_pb2.MESH_FORMAT_UNSPECIFIED
        return MeshFile(items.data(index), mesh_format, items.stated_symmetries(index))

    return file_of


def _mesh_scale(node: scene_pb2.Node, world: np.ndarray) -> tuple[float, float, float]:
    """See `Instance.mesh_scale`."""
    scale, mesh = float(np.linalg.norm(world[:3, 0])), node.mesh
    x, y, z = (getattr(mesh, name) if mesh.HasField(name) else 1.0 for name in ("size_x", "size_y", "size_z"))
    return scale * x, scale * y, scale * z


def _settled(scene: SceneGraph, frame: Frame) -> SceneGraph:
    """Return the rendered scene, with the poses of settled nodes."""
    return scene.with_poses({pose.node: pose.transform for pose in frame.poses}) if frame.poses else scene


def _settle(wire: scene_pb2.Scene, frame: Frame) -> None:
    """Set the nodes of a scene to their settled poses."""
    poses = {pose.node: pose.transform for pose in frame.poses}
    for node in wire.nodes:
        if node.id in poses:
            node.transform.CopyFrom(poses[node.id])
            node.settles = False


def _alone(scene: scene_pb2.Scene, shown: str) -> scene_pb2.Scene:
    """Return the scene with only one node's content and the camera; other nodes keep only their frames."""
    alone = scene_pb2.Scene()
    alone.CopyFrom(scene)
    for node in alone.nodes:
        if node.id != shown and not node.HasField("camera"):
            content = node.WhichOneof("content")
            if content is not None:
                node.ClearField(content)
    return alone


def _rectangle(box: pb.Rectangle) -> Rectangle:
    return Rectangle(box.x_px, box.y_px, box.width_px, box.height_px)
