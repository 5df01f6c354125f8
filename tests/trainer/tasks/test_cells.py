"""Counting and multi-label classification of images of several objects."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from metasim.v1 import render_pb2 as pb

from trainer.datasets.kitti_labels import KittiObject
from trainer.errors import InputError
from trainer.rendering import Frame
from trainer.tasks.cells import CellSettings, CellTask
from trainer.tasks.counting import MAE, Counting
from trainer.tasks.counting import open_network as open_counting
from trainer.tasks.multilabel import ACCURACY, EXACT, MultiLabel

CLASSES = ("disc", "bar")
SETTINGS = CellSettings(CLASSES, epochs=12, batch_size=8)


def scenes(count: int, seed: int, height: int = 48, width: int = 64) -> tuple[np.ndarray, list[np.ndarray]]:
    """Up to four bright discs and dark bars in noise, each in a column of its own; the numbers of both."""
    rng = np.random.default_rng(seed)
    images = rng.integers(90, 150, (count, height, width, 3), dtype=np.uint8)
    labels = []
    for image in images:
        numbers = np.zeros(2, int)
        for column in rng.permutation(4)[: rng.integers(0, 5)]:
            kind = int(rng.integers(2))
            top, left = int(rng.integers(0, height - 12)), column * width // 4 + 2
            image[top : top + 10, left : left + 10] = (230, 230, 60) if kind == 0 else (20, 20, 90)
            numbers[kind] += 1
        labels.append(numbers)
    return images, labels


def trained(task: CellTask, count: int) -> torch.nn.Module:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return task.train(*scenes(count, 0), seed=0)
    finally:
        torch.set_num_threads(threads)


def test_counting_learns_numbers() -> None:
    task = Counting(replace(SETTINGS, epochs=8))
    model = trained(task, 128)
    images, labels = scenes(60, 1)
    scores = task.score(model, images, labels)
    assert (scores.primary, scores.errors, list(scores.values)) == (MAE, True, [MAE, "MAE disc", "MAE bar"])
    # The best constant is off by more than 0.8.
    constant = np.abs(np.stack(labels) - np.median(np.stack(labels), axis=0)).mean()
    assert constant > 0.6
    assert scores.value < constant / 2
    assert scores.reward == -scores.value
    # Twice the width shows twice as many.
    double = np.concatenate([images, images[::-1]], axis=2)
    both = [one + other for one, other in zip(labels, labels[::-1], strict=True)]
    assert task.score(model, double, both).value < 2 * constant / 2


def test_coordinates_tell_classes_apart_that_differ_by_their_place() -> None:
    def sided(count: int, seed: int) -> tuple[np.ndarray, list[np.ndarray]]:
        rng = np.random.default_rng(seed)
        images = rng.integers(90, 150, (count, 32, 64, 3), dtype=np.uint8)
        labels = [rng.integers(0, 2, 2) for _ in range(count)]
        for image, (left, right) in zip(images, labels, strict=True):
            row, column = rng.integers(0, 22, 2)
            image[row : row + 10, column : column + 10] = 250 if left else 100
            image[row : row + 10, 32 + column : 42 + column] = 250 if right else 100
        return images, labels

    def score(*, coordinates: bool) -> float:
        task = MultiLabel(
            CellSettings(("left", "right"), epochs=10, batch_size=8, mirror=False, coordinates=coordinates)
        )
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return task.score(task.train(*sided(96, 0), seed=0), *sided(60, 1)).value
        finally:
            torch.set_num_threads(threads)

    assert score(coordinates=True) > 0.95
    assert score(coordinates=False) < 0.9


def test_a_thing_at_each_of_four_places_is_learned_in_few_steps() -> None:
    """Eight classes that differ by their look and their place, from 120 images and 150 steps."""

    def places(count: int, seed: int) -> tuple[np.ndarray, list[np.ndarray]]:
        rng = np.random.default_rng(seed)
        images = rng.integers(100, 140, (count, 48, 48, 3), dtype=np.uint8)
        labels = []
        for image in images:
            there = rng.integers(0, 2, 4)
            for place, screw in enumerate(there):
                row, column = 24 * np.array(divmod(place, 2)) + rng.integers(2, 11, 2)
                size = 10 if screw else 4
                image[row : row + size, column : column + size] = rng.integers(160, 230) if screw else 20
            labels.append(np.concatenate([there, 1 - there]))
        return images, labels

    names = tuple(f"{thing} {place}" for thing in ("screw", "hole") for place in range(4))
    task = MultiLabel(CellSettings(names, epochs=10, batch_size=8, mirror=False, coordinates=True))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert task.score(task.train(*places(120, 0), seed=0), *places(60, 1)).value > 0.9
    finally:
        torch.set_num_threads(threads)


def test_a_random_camera_changes_what_is_learned_from() -> None:
    images, labels = scenes(16, 0)
    plain, taken = (
        MultiLabel(replace(SETTINGS, epochs=1, camera=camera)).train(images, labels, seed=0) for camera in (False, True)
    )
    assert not torch.equal(plain.head.weight, taken.head.weight)


def test_multi_label_classification_learns_presence() -> None:
    task = MultiLabel(SETTINGS)
    scores = task.score(trained(task, 160), *scenes(60, 1))
    assert (scores.primary, scores.errors, list(scores.values)) == (ACCURACY, False, [ACCURACY, EXACT, "disc", "bar"])
    assert scores.value > 0.9
    assert scores.values[EXACT] <= scores.values["disc"]


def test_results_in_closed_form() -> None:
    counts = Counting(SETTINGS).results(np.array([[1.5, 2.0], [0.0, 3.0]]), np.array([[1, 2], [2, 0]])).scores()
    assert counts.values == pytest.approx({MAE: (0.5 + 0 + 2 + 3) / 4, "MAE disc": 1.25, "MAE bar": 1.5})
    shown = MultiLabel(SETTINGS).results(np.array([[1.0, -1.0], [-2.0, 3.0]]), np.array([[3, 0], [1, 2]])).scores()
    assert shown.values == {ACCURACY: 0.75, EXACT: 0.5, "disc": 0.5, "bar": 1.0}


@pytest.mark.parametrize("task", [Counting(SETTINGS), MultiLabel(SETTINGS)])
def test_the_first_prediction_is_the_mean(task: CellTask) -> None:
    """Before the first step, the head's bias alone predicts the training set's mean counts, or even odds."""
    mean = np.array([3.0, 0.5])
    values = torch.from_numpy(task.first_value(mean, 48)).reshape(1, 2, 1, 1).expand(1, 2, 6, 8)
    expected = mean if isinstance(task, Counting) else [0, 0]
    assert task.pooled(values)[0].tolist() == pytest.approx(list(expected), abs=1e-6)


def test_labels_count_the_visible_objects_of_scenes_and_photos() -> None:
    task = Counting(SETTINGS)
    seen = pb.Rectangle(x_px=1, y_px=1, width_px=4, height_px=4)
    boxes = (
        pb.Box(node="bar-1", class_name="bar", visible=seen, visible_px=9),
        pb.Box(node="bar-2", class_name="bar", visible=seen, visible_px=9),
        pb.Box(node="disc-1", class_name="disc", visible_px=0),
    )
    assert task.label(None, Frame({}, boxes)).tolist() == [0, 2]
    given = [KittiObject(kind, -1, 0, -10, (0, 0, 4, 4)) for kind in ("Disc", "bar", "lamp", "DontCare", "disc")]
    assert task.label_photo(given).tolist() == [2, 1]


def test_the_same_seed_gives_the_same_network_and_fine_tuning_continues_it() -> None:
    task = Counting(CellSettings(CLASSES, epochs=1))
    images, labels = scenes(24, 0)
    state = torch.get_rng_state()
    first, again = (task.train(images, labels, seed=3) for _ in range(2))
    tuned = Counting(CellSettings(CLASSES, epochs=2)).fine_tune(first, images[:8], labels[:8], seed=4)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(first.parameters(), tuned.parameters(), strict=True))


def test_settings_are_checked() -> None:
    assert open_counting(CLASSES, "full", given={"epochs": 3, "learning_rate": 1e-3}).settings.epochs == 3
    with pytest.raises(
        InputError, match=r"^task_settings\.epoch: unknown key; did you mean 'epochs'\? Known: epochs, "
    ):
        open_counting(CLASSES, "full", given={"epoch": 3})
    with pytest.raises(InputError, match=r"^task_settings\.epochs is 'many': input should be a valid integer"):
        open_counting(CLASSES, "full", given={"epochs": "many"})
    with pytest.raises(InputError, match=r"^counting needs objects with a class; the grammar has none: add `class:"):
        open_counting((), "full")
    with pytest.raises(InputError, match=r"^label 1 is \[1\]; 2 whole numbers from 0 on are needed$"):
        Counting(SETTINGS).train(scenes(2, 0)[0], [np.array([1, 0]), np.array([1])], seed=0)
