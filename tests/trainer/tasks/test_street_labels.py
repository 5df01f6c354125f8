"""Labels of rendered streets at KITTI's own size, against the pixels that show the objects."""

import numpy as np
import pytest
from metasim.v1 import render_pb2 as pb

from trainer.datasets.kitti_labels import KittiObject
from trainer.grammar import load_grammar
from trainer.pool import PoolOptions, open_pool
from trainer.rendering import Renderer
from trainer.tasks.kitti_ap import MODERATE
from trainer.tasks.kitti_rules import scene_objects

SIZE = {"render.width": 1242, "render.height": 375, "render.samples": 1}


@pytest.fixture(scope="module")
def cars() -> list[tuple[KittiObject, np.ndarray]]:
    """Cars that nothing hides, neither things nor the image's border, and around the pixels that show them: left, top,
    right, bottom, counted as KITTI counts, from the centre of the first pixel."""
    grammar = load_grammar("driving", SIZE)
    rng = np.random.default_rng(7)
    scenes = [grammar.sample(rng) for _ in range(6)]
    with open_pool(PoolOptions(engine="blender", workers=1), assets=grammar.assets) as pool:
        frames = Renderer(pool, grammar).render(scenes, 0, (pb.OUTPUT_BOXES, pb.OUTPUT_DEPTH))
    found = []
    for scene, frame in zip(scenes, frames, strict=True):
        shown = {box.node: box.visible for box in frame.boxes}
        for node, item in scene_objects(scene, frame).items():
            if item.type == "Car" and item.occluded == 0 and item.truncated == 0:
                box = shown[node]
                edges = box.x_px, box.y_px, box.x_px + box.width_px, box.y_px + box.height_px
                found.append((item, np.array(edges) - 0.5))
    return found


def height(item: KittiObject) -> float:
    return item.box[3] - item.box[1]


@pytest.mark.blender
def test_boxes_go_around_the_pixels_that_show_the_cars(cars):
    overlaps, off = [], []
    for item, shown in cars:
        if height(item) >= MODERATE.min_height_px:
            box = np.array(item.box)
            shared = np.prod(np.minimum(box, shown)[2:] - np.maximum(box, shown)[:2])
            overlaps.append(shared / (np.prod(box[2:] - box[:2]) + np.prod(shown[2:] - shown[:2]) - shared))
            off.append((shown - box) * (1, 1, -1, -1))
    assert len(overlaps) >= 10
    assert np.mean(overlaps) > 0.95
    # No side is systematically too far out or in, and what pixels miss of mirrors is less than one.
    assert np.abs(np.mean(off, axis=0)).max() < 0.35
    assert np.abs(off).max() < 1
