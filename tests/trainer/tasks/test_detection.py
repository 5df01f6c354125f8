"""Car detection: what it learns, that it repeats itself, and what it refuses."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from metasim.v1 import render_pb2 as pb

from trainer.datasets.kitti_labels import KittiObject
from trainer.errors import InputError
from trainer.grammar import load_grammar
from trainer.rendering import Frame
from trainer.tasks.detection import CarDetection, DetectionSettings, detection_scores, open_network

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


def overturned(images: np.ndarray, labels: list):
    """The same cars on their roofs."""
    last = images.shape[1] - 1
    turned = [
        tuple(replace(item, box=(item.box[0], last - item.box[3], item.box[2], last - item.box[1])) for item in objects)
        for objects in labels
    ]
    return np.ascontiguousarray(images[:, ::-1]), turned


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


def test_it_goes_on_from_what_it_has_learned(trained):
    model, _ = trained
    images, labels = overturned(*cars(32, 4))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    tuned, again = (QUICK.fine_tune(model, images, labels, 0) for _ in range(2))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(torch.equal(value, tuned.state_dict()[name]) for name, value in again.state_dict().items())
    fresh = overturned(*cars(32, 5))
    first, then = (QUICK.score(each, *fresh).value for each in (model, tuned))
    assert then > max(first, 0.5)


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


WORLD = """
render: {width: 620, height: 188}
nodes:
  camera: {camera: perspective, fov: 29.2, z: 1.65, roll: 90, yaw: -90}
  car: {mesh: cube, class: car, width: 4, depth: 1.6, height: 1.5, x: 20, y: 3, z: 0.75, yaw: 180}
  hidden: {mesh: cube, class: car, x: 40}
  tree: {mesh: cube, class: tree, x: 30}
scene: [camera, car, hidden, tree]
"""


def frame_of(depth=np.inf):
    """What a worker would say of the scene: boxes of the car and of what is not to be labelled."""
    extent = pb.Extent(low_x_m=-2, low_y_m=-0.8, low_z_m=-0.75, high_x_m=2, high_y_m=0.8, high_z_m=0.75)
    seen = pb.Rectangle(x_px=220.5, y_px=90.5, width_px=40, height_px=30)
    boxes = [
        pb.Box(node="car-1", class_name="car", visible=seen, amodal=seen, visible_px=900, extent=extent),
        pb.Box(node="hidden-1", class_name="car", amodal=seen, extent=extent),
        pb.Box(node="tree-1", class_name="tree", visible=seen, amodal=seen, visible_px=900, extent=extent),
    ]
    layers = {
        pb.OUTPUT_IMAGE_U8: np.zeros((188, 620, 3), np.uint8),
        pb.OUTPUT_DEPTH: np.full((188, 620), depth, np.float32),
    }
    return Frame(layers, tuple(boxes))


@pytest.fixture
def scene(tmp_path):
    (tmp_path / "world.yaml").write_text(WORLD)
    return load_grammar(tmp_path / "world.yaml").sample(np.random.default_rng(0))


def test_scenes_are_labelled_as_kitti_does(scene):
    (label,) = CarDetection().label(scene, frame_of())
    assert (label.type, label.occluded, label.truncated) == ("Car", 0, 0)
    # KITTI counts from the centre of the first pixel.
    assert label.box == (220, 90, 260, 120)
    assert label.dimensions == pytest.approx((1.5, 1.6, 4))
    # 20 m ahead, 3 m to the left, on a ground 1.65 m below the camera; it comes towards us.
    assert label.location == pytest.approx((-3, 1.65, 20), abs=1e-6)
    assert abs(label.rotation_y) == pytest.approx(np.pi / 2)
    assert label.alpha == pytest.approx(label.rotation_y - np.arctan2(-3, 20))


def test_things_in_front_hide_cars(scene):
    (label,) = CarDetection().label(scene, frame_of(depth=10))
    assert label.occluded == 2


def test_networks_are_opened_for_grammars_with_cars():
    assert open_network(("car", "tree"), "full").settings == DetectionSettings()
    assert open_network(("CAR",), "quick").settings.max_width_px == 160
    with pytest.raises(InputError, match=r"^detection looks for the class car; the grammar's classes are: none$"):
        open_network((), "full")
