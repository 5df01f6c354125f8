"""Projections of objects into the image of a scene graph's camera, and the boxes around them."""

from dataclasses import dataclass

import numpy as np
from metasim import camera
from metasim.camera import CameraView

from render_server.scene.scene_graph import SceneGraph


def camera_view(graph: SceneGraph, width_px: int, height_px: int) -> CameraView:
    """Return the view of the graph's camera on an image of that size."""
    return camera.camera_view(graph.nodes[graph.camera].camera, graph.world[graph.camera], width_px, height_px)


@dataclass(frozen=True)
class Outline:
    """World points whose projections have the same bounding box as the object.

    `edges` are pairs of points; an edge with one end behind the near plane is cut there.
    """

    points: np.ndarray  # [n, 3] float64, world frame
    edges: np.ndarray | None = None  # [m, 2] int


def projected_box(view: CameraView, outline: Outline) -> tuple[float, float, float, float] | None:
    """Return (left, top, right, bottom) in pixels around an object, also outside of the image; None if it is behind."""
    return view.box_around(view.to_camera(outline.points), outline.edges)


def clipped_box(view: CameraView, outline: Outline) -> tuple[float, float, float, float] | None:
    """Return the part of `projected_box` inside the image; None if there is none."""
    box = projected_box(view, outline)
    if box is None:
        return None
    left, top, right, bottom = (
        max(box[0], 0.0),
        max(box[1], 0.0),
        min(box[2], view.width_px),
        min(box[3], view.height_px),
    )
    return (left, top, right, bottom) if left < right and top < bottom else None
