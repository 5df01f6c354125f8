"""The U-Net: what it learns, its IoU against closed forms, that it repeats itself, and what it refuses."""

import numpy as np
import pytest
import torch
from metasim.v1 import render_pb2 as pb
from support.grammars import write_sprites
from support.worlds import sampled
from torch import nn

from trainer.errors import InputError
from trainer.grammar import load_grammar
from trainer.rendering import Frame
from trainer.tasks import Scores, TaskNetwork
from trainer.tasks.segmentation import (
    MEAN,
    SegmentationSettings,
    Segmenter,
    UNet,
    confusion,
    open_network,
    per_class_iou,
)

QUICK = Segmenter(SegmentationSettings(("bar", "disc"), filters=8, epochs=10, batch_size=8))


def scenes(count: int, seed: int, size: int = 32) -> tuple[np.ndarray, list[np.ndarray]]:
    """Images uint8 [count, size, size, 3] of a bar and, nearer, a disc in noise; masks uint8 [size, size]."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 90, (count, size, size, 3), dtype=np.uint8)
    y, x = np.mgrid[:size, :size]
    labels = []
    for image in images:
        mask = np.zeros((size, size), np.uint8)
        left, top = rng.integers(2, size - 12, 2)
        mask[top : top + 5, left : left + 10] = 1
        mask[np.hypot(*(rng.uniform(5, size - 5, (2, 1, 1)) - (y, x))) < 5] = 2
        image[mask == 1] = (200, 180, 60)
        image[mask == 2] = (60, 120, 220)
        labels.append(mask)
    return images, labels


@pytest.fixture(scope="module")
def trained() -> UNet:
    return QUICK.train(*scenes(160, 1), seed=0)


def test_learns_shapes_to_the_pixel(trained: UNet) -> None:
    scores = QUICK.score(trained, *scenes(60, 2))
    assert scores.primary == MEAN
    assert list(scores.values) == ["bar", "disc", MEAN]
    assert min(scores.values.values()) > 0.97


def test_is_a_task_network() -> None:
    network: TaskNetwork[np.ndarray, UNet] = QUICK
    assert (network.name, network.outputs) == ("segmentation", (pb.OUTPUT_CLASS_MASK,))


def test_has_seven_convolutions_of_16_to_64_filters() -> None:
    network = open_network(("car", "road"), "full")
    model = UNet(3, network.settings.filters, torch.Generator().manual_seed(0))
    convolutions = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    assert [layer.out_channels for layer in convolutions] == [16, 32, 64, 64, 32, 16, 3]
    assert {layer.kernel_size for layer in convolutions} == {(3, 3)}


@pytest.mark.parametrize(("height", "width"), [(64, 64), (30, 47), (8, 9)])
def test_takes_images_of_any_size(height: int, width: int) -> None:
    model = UNet(3, 8, torch.Generator().manual_seed(0))
    assert model(torch.zeros(2, 3, height, width)).shape == (2, 3, height, width)


def test_initial_weights_keep_the_variance() -> None:
    model = UNet(5, 16, torch.Generator().manual_seed(0))
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            assert layer.weight.var().item() == pytest.approx(2 / layer.weight[0].numel(), rel=0.15)
            assert not layer.bias.any()


def test_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    short = Segmenter(SegmentationSettings(("bar", "disc"), filters=8, epochs=1))
    first, second, other = (short.train(*scenes(32, 1), seed=seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["convolutions.0.weight"], other["convolutions.0.weight"])


def test_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    Segmenter(SegmentationSettings(("bar", "disc"), filters=8, epochs=1)).train(*scenes(16, 1), seed=3)
    assert torch.equal(before, torch.get_rng_state())


def test_progress_is_told_after_every_epoch() -> None:
    told: list[tuple[int, int]] = []
    short = Segmenter(SegmentationSettings(("bar", "disc"), filters=8, epochs=2))
    short.train(*scenes(8, 1), seed=3, progress=lambda done, of: told.append((done, of)))
    assert told == [(1, 2), (2, 2)]


def test_iou_of_squares_that_overlap() -> None:
    true, found = np.zeros((2, 20, 20), int), np.zeros((2, 20, 20), int)
    true[0, 2:12, 2:12], found[0, 2:12, 7:17] = 1, 1  # 100 pixels each, 50 in common: 50 / 150
    true[1, :4], found[1, :2] = 2, 2  # 80 and 40 pixels, 40 in common: 40 / 80
    assert per_class_iou(confusion(found, true, 2)).tolist() == pytest.approx([1 / 3, 1 / 2])


def test_iou_counts_pixels_of_all_images_together() -> None:
    true, found = np.zeros((2, 1, 10), int), np.zeros((2, 1, 10), int)
    true[0], found[0] = 1, 1  # 10 of 10
    true[1, 0, :2] = 1  # 0 of 2
    assert per_class_iou(confusion(found, true, 1)).tolist() == pytest.approx([10 / 12])


def test_iou_of_a_class_taken_for_another_is_zero_for_both_and_one_where_there_is_none() -> None:
    assert per_class_iou(confusion(np.full((1, 2, 2), 2), np.full((1, 2, 2), 1), 3)).tolist() == [0, 0, 1]


def test_the_mean_leaves_out_the_background(trained: UNet) -> None:
    images, labels = scenes(4, 2)
    predicted = QUICK.predict(trained, images)
    wrong = [np.where(mask == 1, 0, mask).astype(np.uint8) for mask in predicted]
    assert QUICK.score(trained, images, wrong) == Scores(MEAN, {"bar": 0.0, "disc": 1.0, MEAN: 0.5})
    assert QUICK.score(trained, images, list(predicted)).value == 1
    assert len(labels) == len(predicted)


def test_the_label_is_the_class_mask(tmp_path) -> None:
    scene = sampled(load_grammar(write_sprites(tmp_path)), 1)[0]
    mask = np.array([[0, 1], [2, 1]], np.uint16)
    label = QUICK.label(scene, Frame({pb.OUTPUT_CLASS_MASK: mask}))
    assert (label.dtype, label.tolist()) == (np.uint8, mask.tolist())


def test_a_quick_network_sees_a_tenth_of_the_images() -> None:
    full, quick = (open_network(("a", "b", "c"), budget) for budget in ("full", "quick"))
    assert quick.settings.classes == full.settings.classes == ("a", "b", "c")
    assert quick.train_images * quick.settings.epochs * 10 < full.train_images * full.settings.epochs


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (
            np.zeros((2, 1, 32, 32), np.uint8),
            [np.zeros((32, 32), np.uint8)] * 2,
            r"images are uint8 \(2, 1, 32, 32\); allowed: uint8 \[N, H, W, 3\]",
        ),
        (np.zeros((2, 32, 32, 3)), [np.zeros((32, 32), np.uint8)] * 2, r"images are float64 \(2, 32, 32, 3\); allowed"),
        (np.zeros((0, 32, 32, 3), np.uint8), [], r"0 images of 32x32 px; at least 1 of 8x8 is needed"),
        (np.zeros((1, 4, 32, 3), np.uint8), [np.zeros((4, 32), int)], r"1 images of 32x4 px; at least 1 of 8x8 is"),
        (
            np.zeros((2, 32, 32, 3), np.uint8),
            [np.zeros((32, 32), int)],
            r"1 labels for 2 images; each image needs one",
        ),
        (
            np.zeros((1, 32, 32, 3), np.uint8),
            [np.zeros((32, 30), int)],
            r"mask 0 is int64 \(32, 30\); whole numbers \(32, 32\) are needed",
        ),
        (
            np.zeros((1, 32, 32, 3), np.uint8),
            [np.zeros((32, 32))],
            r"mask 0 is float64 \(32, 32\); whole numbers \(32, 32\) are needed",
        ),
        (
            np.zeros((1, 32, 32, 3), np.uint8),
            [np.full((32, 32), 3)],
            r"mask 0 holds 3, which is no class; allowed: 0 to 2",
        ),
        (
            np.zeros((1, 32, 32, 3), np.uint8),
            [np.full((32, 32), -1)],
            r"mask 0 holds -1, which is no class; allowed: 0 to 2",
        ),
    ],
)
def test_refuses_what_it_cannot_learn(images: np.ndarray, labels: list[np.ndarray], message: str) -> None:
    with pytest.raises(InputError, match=f"^{message}"):
        QUICK.train(images, labels, seed=0)
