"""Visibility: the fraction of objects outside the image, behind the camera, or behind other objects."""

from collections.abc import Sequence

from metasim.v1 import render_pb2 as pb

from trainer.grammar import SceneGraph
from trainer.rendering import Frame

#: Outputs that frames need besides images.
OUTPUTS = (pb.OUTPUT_BOXES,)
#: An object with fewer visible pixels counts as invisible.
LEAST_PX = 1


def out_of_sight(scenes: Sequence[SceneGraph], frames: Sequence[Frame], least_px: int = LEAST_PX) -> dict[str, float]:
    """Return the fraction of objects that are not visible, by kind of node.

    Only nodes with a class count, because others have no boxes.

    Args:
        frames: of the scenes, rendered with `OUTPUTS`.
        least_px: objects with fewer visible pixels count as invisible.
    """
    hidden: dict[str, int] = {}
    counts: dict[str, int] = {}
    for scene, frame in zip(scenes, frames, strict=True):
        seen = {box.node for box in frame.boxes if box.visible_px >= least_px}
        for node in scene.nodes:
            if node.class_name:
                counts[node.kind] = counts.get(node.kind, 0) + 1
                hidden[node.kind] = hidden.get(node.kind, 0) + (node.id not in seen)
    return {kind: hidden[kind] / count for kind, count in sorted(counts.items())}
