"""Labels, from the instance mask and the projected geometry."""

from collections.abc import Mapping

import numpy as np
from metasim.camera import CameraView
from metasim.v1 import render_pb2 as pb

from render_server.scene.geometry import Outline, clipped_box
from render_server.scene.scene_graph import SceneGraph


def hide_unclassed(graph: SceneGraph, instance_mask: np.ndarray) -> np.ndarray:
    """Return the mask [h, w] uint16 without the nodes that have no class; these still hide what is behind them."""
    values = np.array([0, *(i + 1 if node.class_name else 0 for i, node in enumerate(graph.nodes))], dtype=np.uint16)
    return values[instance_mask]


def class_mask(graph: SceneGraph, classes: Mapping[str, int], instance_mask: np.ndarray) -> np.ndarray:
    """Return the class mask [h, w] uint16: index of the class + 1; 0 where the instance mask is 0.

    Args:
        classes: index of each class in `Scene.classes`.
    """
    values = [0, *(classes[node.class_name] + 1 if node.class_name else 0 for node in graph.nodes)]
    return np.array(values, dtype=np.uint16)[instance_mask]


def boxes(
    graph: SceneGraph, view: CameraView, instance_mask: np.ndarray, outlines: Mapping[int, Outline]
) -> list[pb.Box]:
    """Return one box per node that has a class and draws something, in the order of the nodes.

    Args:
        instance_mask: [h, w] uint16, index of the node + 1.
        outlines: of each drawn node, by its index; the amodal boxes surround them.
    """
    result = []
    for index, node in enumerate(graph.nodes):
        if not node.class_name or index not in outlines:
            continue
        box = pb.Box(node=node.id, class_name=node.class_name)
        mask = instance_mask == index + 1
        rows = mask.any(axis=1).nonzero()[0]
        if len(rows):
            columns = mask.any(axis=0).nonzero()[0]
            box.visible.CopyFrom(_rectangle(columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
            box.visible_px = int(np.count_nonzero(mask))
        around = clipped_box(view, outlines[index])
        if around is not None:
            box.amodal.CopyFrom(_rectangle(*around))
        if len(outlines[index].points):
            box.extent.CopyFrom(_extent(outlines[index].points, graph.world[index]))
        result.append(box)
    return result


def _extent(points: np.ndarray, world: np.ndarray) -> pb.Extent:
    """Return the extent of world points [n, 3] in the frame of the node with that matrix."""
    own = (points - world[:3, 3]) @ np.linalg.inv(world[:3, :3]).T
    (x0, y0, z0), (x1, y1, z1) = own.min(axis=0).tolist(), own.max(axis=0).tolist()
    return pb.Extent(low_x_m=x0, low_y_m=y0, low_z_m=z0, high_x_m=x1, high_y_m=y1, high_z_m=z1)


def _rectangle(left: float, top: float, right: float, bottom: float) -> pb.Rectangle:
    return pb.Rectangle(x_px=left, y_px=top, width_px=right - left, height_px=bottom - top)
