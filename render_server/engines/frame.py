"""Rendered frames and their results."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from metasim.camera import CameraView
from metasim.tensors import tensor_to_proto
from metasim.v1 import render_pb2 as pb

from render_server.errors import InvalidTask
from render_server.scene import labels
from render_server.scene.geometry import Outline
from render_server.scene.scene_graph import SceneGraph

#: Outputs computed from the instance at each pixel's centre.
LABELS = frozenset(
    {
        pb.OUTPUT_INSTANCE_MASK,
        pb.OUTPUT_CLASS_MASK,
        pb.OUTPUT_DEPTH,
        pb.OUTPUT_NORMAL,
        pb.OUTPUT_BOXES,
    }
)


@dataclass(frozen=True)
class SurfaceLayers:
    """The nearest surface at each pixel's centre whose opacity is at least one half."""

    node: np.ndarray  # [h, w] uint16: index of the node + 1, nodes without a class included; 0: nothing
    depth: np.ndarray  # [h, w] float32, metres along the camera's axis; +inf: nothing
    normal: np.ndarray  # [h, w, 3] float32, world frame; 0: nothing
    outlines: Mapping[int, Outline]  # Of every drawn node if boxes are requested, for amodal boxes


def wants_image(outputs: Sequence[pb.Output.ValueType]) -> bool:
    """Return whether any of the outputs is an image."""
    return pb.OUTPUT_IMAGE_F32 in outputs or pb.OUTPUT_IMAGE_U8 in outputs


def wants_labels(outputs: Sequence[pb.Output.ValueType]) -> bool:
    """Return whether any of the outputs needs `SurfaceLayers`."""
    return any(output in LABELS for output in outputs)


def pack(
    task: pb.RenderTask,
    graph: SceneGraph,
    view: CameraView,
    image: np.ndarray | None,
    surface: SurfaceLayers | None,
    columns: Sequence[pb.ColumnResult],
) -> pb.RenderResult:
    """Return the result without its timing.

    Args:
        image: [h, w, 3] float32, display values, 0 to 1; not None if the task's outputs hold an image.
        surface: not None if the task's outputs need labels.

    Raises:
        InvalidTask: an output does not exist.
    """
    result = pb.RenderResult(id=task.id, columns=columns)
    instances = None if surface is None else labels.hide_unclassed(graph, surface.node)
    for index, output in enumerate(task.outputs):
        if output == pb.OUTPUT_IMAGE_U8 and image is not None:
            tensor = tensor_to_proto(quantise(image))
        elif output == pb.OUTPUT_IMAGE_F32 and image is not None:
            tensor = tensor_to_proto(image)
        elif surface is None or instances is None or output not in LABELS:
            raise InvalidTask(f"outputs[{index}]", output, "it must be one of the outputs of render.proto")
        elif output == pb.OUTPUT_BOXES:
            result.boxes.extend(labels.boxes(graph, view, instances, surface.outlines))
            continue
        elif output == pb.OUTPUT_INSTANCE_MASK:
            tensor = tensor_to_proto(instances, compress=True)
        elif output == pb.OUTPUT_CLASS_MASK:
            classes = {name: number for number, name in enumerate(task.scene.classes)}
            tensor = tensor_to_proto(labels.class_mask(graph, classes, instances), compress=True)
        elif output == pb.OUTPUT_DEPTH:
            tensor = tensor_to_proto(surface.depth, compress=True)
        else:
            tensor = tensor_to_proto(surface.normal, compress=True)
        result.layers.add(output=output).tensor.CopyFrom(tensor)
    return result


def quantise(image: np.ndarray) -> np.ndarray:
    """Return display values 0 to 1 as uint8, rounded half to even."""
    return np.rint(image * np.float32(255)).astype(np.uint8)
