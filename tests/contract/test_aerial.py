"""Aerial views: the two engines that draw textures agree on masks to the pixel."""

import numpy as np
import pytest
from metasim.v1 import render_pb2 as pb
from support.scenes import Assets, layers

from render_server.engines import Engine
from trainer.experiments import load_experiment

#: Largest difference of the images, in display values, and mean one.
IMAGE_TOLERANCE, MEAN_TOLERANCE = 2e-3, 1e-5
OUTPUTS = (pb.OUTPUT_IMAGE_F32, pb.OUTPUT_INSTANCE_MASK, pb.OUTPUT_CLASS_MASK, pb.OUTPUT_BOXES)


@pytest.mark.blender
def test_masks_agree_to_the_pixel(raster: Engine, blender: Engine, assets: Assets) -> None:
    experiment = load_experiment("aerial")
    assert experiment.target is not None
    rng = np.random.default_rng(5)
    classes: set[int] = set()
    for grammar in (experiment.grammar, experiment.target.grammar) * 6:
        scene = grammar.sample(rng)
        wire = scene.to_wire(grammar.assets.hash_of)
        for node in wire.nodes:
            if node.HasField("sprite"):
                assert assets.add(grammar.assets(node.sprite.asset)) == node.sprite.asset
        task = pb.RenderTask(id="1", scene=wire, settings=grammar.render_settings(), outputs=OUTPUTS)
        first, second = raster.render(task, assets), blender.render(task, assets)
        one, other = layers(first), layers(second)
        for mask in (pb.OUTPUT_INSTANCE_MASK, pb.OUTPUT_CLASS_MASK):
            np.testing.assert_array_equal(one[mask], other[mask])
        assert list(first.boxes) == list(second.boxes)
        gap = np.abs(one[pb.OUTPUT_IMAGE_F32] - other[pb.OUTPUT_IMAGE_F32])
        assert gap.max() < IMAGE_TOLERANCE
        assert gap.mean() < MEAN_TOLERANCE
        classes |= set(np.unique(one[pb.OUTPUT_CLASS_MASK]).tolist())
    assert classes == {0, 1, 2, 3, 4}
