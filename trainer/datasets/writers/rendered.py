"""Scenes rendered into samples, with the labels that a format needs and no others."""

import re
from collections.abc import Iterator, Sequence

import numpy as np
from metasim.tensors import tensor_from_proto
from metasim.transforms import world_matrices
from metasim.v1 import render_pb2 as pb
from metasim.v1 import scene_pb2

from trainer.datasets.writers.geometry import Camera, camera_of, cuboid_of
from trainer.datasets.writers.meshes import MeshFile, MeshSource
from trainer.datasets.writers.sample import Instance, Need, Rectangle, Sample
from trainer.grammar import Grammar, SceneGraph
from trainer.grammar.nodes import Mesh
from trainer.pool import RenderPool
from trainer.rendering import Frame, Renderer

_OUTPUTS: dict[Need, tuple["pb.Output.ValueType", ...]] = {
    Need.BOXES: (pb.OUTPUT_BOXES,),
    Need.MASKS: (pb.OUTPUT_CLASS_MASK, pb.OUTPUT_INSTANCE_MASK),
    Need.DEPTH: (pb.OUTPUT_DEPTH,),
    Need.SILHOUETTES: (),
}


class SampleRenderer:
    """Renders scenes of one grammar with what a format needs."""

    def __init__(self, pool: RenderPool, grammar: Grammar, needs: Need) -> None:
        self._grammar, self._pool, self._needs = grammar, pool, needs
        self._renderer = Renderer(pool, grammar)
        self._outputs = (pb.OUTPUT_IMAGE_U8, *(output for need in needs for output in _OUTPUTS[need]))

    def samples(self, scenes: Sequence[SceneGraph], seed: int) -> Iterator[Sample]:
        """A sample for each scene; scene i has the sampling noise of seed + i."""
        frames = self._renderer.render(scenes, seed, self._outputs)
        wires = [scene.to_wire(self._grammar.assets.hash_of) for scene in scenes]
        silhouettes = self._silhouettes(wires, frames, seed) if Need.SILHOUETTES in self._needs else [{} for _ in wires]
        for scene, wire, frame, alone in zip(scenes, wires, frames, silhouettes, strict=True):
            yield self._sample(scene, wire, frame, alone)

    def _sample(
        self, scene: SceneGraph, wire: scene_pb2.Scene, frame: Frame, silhouettes: dict[str, np.ndarray]
    ) -> Sample:
        classes = [node.class_name for node in scene.nodes if node.class_name]
        label = classes[0] if len(classes) == 1 else None
        camera = camera_of(wire, self._renderer.settings)
        attributes = [
            {"node": scene.nodes[item.node].id, "attribute": item.name, "value": round(float(value), 4)}
            for item, value in zip(scene.mutable, scene.values(), strict=True)
        ]
        masks = {
            name: frame.layers[output]
            for name, output in (("class", pb.OUTPUT_CLASS_MASK), ("instance", pb.OUTPUT_INSTANCE_MASK))
            if output in frame.layers
        }
        return Sample(
            image=frame.image,
            label=int(label) if label is not None and re.fullmatch(r"\d{1,9}", label, re.ASCII) else label,
            instances=self._instances(scene, wire, frame, camera, silhouettes),
            camera=camera,
            masks=masks,
            depth=frame.layers.get(pb.OUTPUT_DEPTH),
            metadata={"attributes": attributes},
        )

    def _instances(
        self,
        scene: SceneGraph,
        wire: scene_pb2.Scene,
        frame: Frame,
        camera: Camera,
        silhouettes: dict[str, np.ndarray],
    ) -> tuple[Instance, ...]:
        places = {node.id: place for place, node in enumerate(wire.nodes)}
        world = world_matrices(wire) if frame.boxes else {}
        return tuple(
            Instance(
                node=box.node,
                class_name=box.class_name,
                number=places[box.node] + 1,
                visible=_rectangle(box.visible) if box.HasField("visible") else None,
                amodal=_rectangle(box.amodal) if box.HasField("amodal") else None,
                visible_px=box.visible_px,
                cuboid=cuboid_of(box.extent, world[box.node], camera) if box.HasField("extent") else None,
                model=_model(self._grammar, scene, places[box.node]),
                silhouette=silhouettes.get(box.node),
            )
            for box in frame.boxes
        )

    def _silhouettes(
        self, wires: Sequence[scene_pb2.Scene], frames: Sequence[Frame], seed: int
    ) -> list[dict[str, np.ndarray]]:
        """For each scene, the masks bool [h, w] of its visible objects, each alone before the camera."""
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
                            seed=(seed + number) % 2**32,
                            outputs=[pb.OUTPUT_INSTANCE_MASK],
                        )
                    )
        found: list[dict[str, np.ndarray]] = [{} for _ in wires]
        for (number, node), result in zip(places, self._pool.render(tasks), strict=True):
            found[number][node] = tensor_from_proto(result.layers[0].tensor) > 0
        return found


def model_names(grammar: Grammar) -> tuple[str, ...]:
    """What `Instance.model` can be: the items of the sets of meshes that nodes with a class show, then the classes."""
    names: list[str] = []
    others = False
    for kind in grammar.kinds.values():
        if not kind.class_name:
            continue
        if isinstance(kind.content, Mesh) and kind.content.asset is not None:
            asset_set = grammar.asset_sets[kind.content.asset.set]
            names += [_item(asset_set.name, asset_set.item_name(index), index) for index in range(len(asset_set))]
        else:
            others = True
    return tuple(dict.fromkeys(names + (list(grammar.classes) if others else [])))


def mesh_source(grammar: Grammar) -> MeshSource:
    """The files of the models of a grammar's sets of meshes."""
    places = {
        _item(name, items.item_name(index), index): (items, index)
        for name, items in grammar.asset_sets.items()
        if items.mesh_format(0) is not None
        for index in range(len(items))
    }

    def file_of(model: str) -> MeshFile | None:
        if model not in places:
            return None
        items, index = places[model]
        return MeshFile(items.data(index), items.mesh_format(index) or scene_pb2.MESH_FORMAT_UNSPECIFIED)

    return file_of


def _model(grammar: Grammar, scene: SceneGraph, place: int) -> str:
    node = scene.nodes[place]
    if isinstance(scene.kinds[node.kind].content, Mesh) and node.asset is not None:
        return _item(node.asset.set, grammar.asset_sets[node.asset.set].item_name(node.asset.index), node.asset.index)
    return node.class_name


def _item(set_name: str, item_name: str | None, index: int) -> str:
    return f"{set_name}/{index if item_name is None else item_name}"


def _alone(scene: scene_pb2.Scene, shown: str) -> scene_pb2.Scene:
    """The scene with the content of one node and the camera alone; all others stay as frames."""
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
