"""Car detection: what it learns, that it repeats itself, and what it refuses."""

import numpy as np
import pytest
import torch

from trainer.data.kitti_labels import KittiObject
from trainer.errors import InputError
from trainer.tasks.detection import CarDetection, DetectionSettings, detection_scores

QUICK = CarDetection(DetectionSettings(epochs=8, width=16))


def cars(count: int, seed: int, height: int = 48, width: int = 96):
    """Noise with blocks on dark wheels in it, 60 % as high as they are wide; and their labels."""
    rng = np.random.default_rng(seed)
    images = rng.integers(90, 160, (count, height, width, 3), dtype=np.uint8)
    labels = []
    for image in images:
        w = int(rng.integers(16, 40))
        h = int(0.6 * w)
        x, y = int(rng.integers(0, width - w)), int(rng.integers(0, height - h))
        image[y : y + h, x : x + w] = rng.choice([20, 230], 3)
        image[y + h * 3 // 4 : y + h, x : x + w] = 0
        labels.append((KittiObject("Car", 0, 0, 0, (x, y, x + w, y + h)),))
    return images, labels


@pytest.fixture(scope="module")
def trained():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    seen = []
    images, labels = cars(96, 0)
    model = QUICK.train(images, labels, 0, lambda done, every: seen.append((done, every)))
    yield model, seen
    torch.set_num_threads(threads)


def test_it_learns_to_find_cars(trained):
    model, seen = trained
    images, labels = cars(60, 1)
    scores = QUICK.score(model, images, labels)
    assert scores.primary == "ap_moderate"
    assert set(scores.values) == {
        f"{kind}_{level}" for kind in ("ap", "ap11") for level in ("easy", "moderate", "hard")
    }
    assert scores.value > 0.8
    assert seen == [(done, 8) for done in range(1, 9)]


def test_detections_are_boxes_in_the_image(trained):
    images, labels = cars(4, 2)
    for found, objects in zip(QUICK.detect(trained[0], images), labels, strict=True):
        best = found[0]
        assert best.type == "Car"
        assert 0 < best.score <= 1
        np.testing.assert_allclose(best.box, objects[0].box, atol=4)
        assert all(item.score <= best.score for item in found)
        assert all(0 <= item.box[0] <= item.box[2] <= 96 and 0 <= item.box[1] <= item.box[3] <= 48 for item in found)


def test_the_same_seed_gives_the_same_network():
    network = CarDetection(DetectionSettings(epochs=1, width=16))
    images, labels = cars(16, 0)
    threads, state = torch.get_num_threads(), torch.random.get_rng_state()
    torch.set_num_threads(1)
    try:
        first, again, other = (network.train(images, labels, seed).state_dict() for seed in (0, 0, 1))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_wide_images_are_searched_at_a_smaller_size(trained):
    """Twice as wide as allowed: found at half the size, and reported at the image's own."""
    images, _ = cars(3, 3)
    doubled = images.repeat(2, axis=1).repeat(2, axis=2)
    network = CarDetection(DetectionSettings(width=16, max_width_px=96))
    for found, half in zip(network.detect(trained[0], doubled), QUICK.detect(trained[0], images), strict=True):
        np.testing.assert_allclose(found[0].box, np.multiply(half[0].box, 2), atol=1e-3)
        assert found[0].score == pytest.approx(half[0].score, abs=1e-4)


def test_what_is_sought_and_what_is_left_alone():
    def item(kind, top=0.0, bottom=40.0, occluded=0):
        return KittiObject(kind, 0, occluded, 0, (0, top, 40, bottom))

    sought, unsure = CarDetection()._sorted(
        (
            item("Car"),
            item("Car", bottom=7.9),
            item("Car", occluded=3),
            item("Van"),
            item("DontCare"),
            item("Pedestrian"),
        ),
        factor=1,
        size=(188, 620),
    )
    # 16 px of 375 are 8 of 188.
    assert sought == [[0, 0, 40, 40]]
    assert unsure == [[0, 0, 40, 7.9], *[[0, 0, 40, 40]] * 3]


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (
            np.zeros((1, 48, 96, 3), np.float32),
            [()],
            r"images are float32 \(1, 48, 96, 3\); allowed: uint8 \[N, H, W, 3\]",
        ),
        (np.zeros((0, 48, 96, 3), np.uint8), [], "0 images of 96x48 px; at least 1 of 32x32 is needed"),
        (np.zeros((2, 48, 96, 3), np.uint8), [()], "1 labels for 2 images; each image needs one"),
        (np.zeros((2, 48, 96, 3), np.uint8), [(), ()], "none of the 2 images shows a Car that can be learned"),
    ],
)
def test_what_cannot_be_learned_is_refused(images, labels, message):
    with pytest.raises(InputError, match=f"^{message}$"):
        QUICK.train(images, labels, 0)


def test_without_a_car_of_moderate_difficulty_there_is_no_score():
    hidden = KittiObject("Car", 0, 2, 0, (0, 0, 40, 40))
    with pytest.raises(InputError, match=r"^the 1 images to score on show no Car of moderate difficulty: at least"):
        detection_scores([()], [(hidden,)], 375, DetectionSettings())
    # Where only easy ones lack, the others are told.
    partly = KittiObject("Car", 0, 1, 0, (0, 0, 40, 40))
    assert set(detection_scores([()], [(partly,)], 375, DetectionSettings()).values) == {
        "ap_moderate",
        "ap11_moderate",
        "ap_hard",
        "ap11_hard",
    }
