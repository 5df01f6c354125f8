"""Mask R-CNN by torchvision: it trains, with masks and without, and finds boxes in the image."""

from pathlib import Path

import numpy as np
import pytest
import torch

torchvision = pytest.importorskip("torchvision", reason="needs torchvision; run make test-vision")

from trainer.datasets.kitti_labels import KittiObject  # noqa: E402
from trainer.errors import InputError  # noqa: E402
from trainer.tasks.mask_rcnn import MaskedLabels, MaskRcnn, MaskRcnnSettings  # noqa: E402

pytestmark = pytest.mark.vision

HEIGHT, WIDTH = 64, 96
QUICK = MaskRcnnSettings(epochs=1, batch_size=2, height_px=HEIGHT, device="cpu")


def blocks(count: int) -> tuple[np.ndarray, list[MaskedLabels]]:
    images = np.full((count, HEIGHT, WIDTH, 3), 120, np.uint8)
    labels = []
    for place, image in enumerate(images):
        x = 10 * place
        image[20:50, x : x + 40] = 255
        mask = np.zeros((1, HEIGHT, WIDTH), dtype=bool)
        mask[0, 20:50, x : x + 40] = True
        labels.append(MaskedLabels((KittiObject("Car", 0, 0, 0, (x, 20, x + 40, 50)),), mask))
    return images, labels


def test_it_trains_with_masks_and_scores() -> None:
    images, labels = blocks(4)
    state, seen = torch.random.get_rng_state(), []
    model = MaskRcnn(QUICK).train(images, labels, 0, lambda *done: seen.append(done))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert seen == [(1, 1)]
    assert model.roi_heads.has_mask()
    network = MaskRcnn(QUICK)
    for found in network.detect(model, images):
        for item in found:
            assert 0 <= item.box[0] <= item.box[2] <= WIDTH
            assert 0 <= item.box[1] <= item.box[3] <= HEIGHT
            assert 0 <= item.score <= 1
    scores = network.score(model, images, labels)
    assert scores.primary == "ap_moderate"
    assert 0 <= scores.value <= 1


def test_labels_without_masks_train_the_rest() -> None:
    images, labels = blocks(2)
    model = MaskRcnn(QUICK).train(images, [label.objects for label in labels], 0)
    assert not model.roi_heads.has_mask()


def test_it_goes_on_from_what_it_has_learned() -> None:
    images, labels = blocks(2)
    network = MaskRcnn(QUICK)
    model = network.train(images, labels, 0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    tuned = network.fine_tune(model, images, [label.objects for label in labels], 0)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.roi_heads.has_mask()
    assert not tuned.roi_heads.has_mask()
    name = "roi_heads.box_predictor.cls_score.weight"
    assert not torch.equal(tuned.state_dict()[name], before[name])


def test_the_backbone_takes_weights_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "resnet50.pth"
    with torch.random.fork_rng():
        torch.manual_seed(1)
        state = torchvision.models.resnet50(weights=None).state_dict()
    torch.save(state, file)
    model = MaskRcnn(MaskRcnnSettings(weights=file, height_px=HEIGHT, device="cpu"))._network(masked=True)
    body = model.backbone.body
    assert torch.equal(body.layer4[2].conv3.weight, state["layer4.2.conv3.weight"])
    assert torch.equal(body.bn1.running_var, state["bn1.running_var"])
    file.write_bytes(b"not weights")
    with pytest.raises(InputError, match=r"does not hold the weights of torchvision's ResNet-50 \(.*\); fetch https"):
        MaskRcnn(MaskRcnnSettings(weights=file, device="cpu"))._network(masked=True)


def test_images_without_cars_are_refused() -> None:
    with pytest.raises(InputError, match=r"^none of the 2 images shows a Car that can be learned$"):
        MaskRcnn(QUICK).train(blocks(2)[0], [(), ()], 0)
