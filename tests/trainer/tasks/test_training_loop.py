"""The shared training loop, fine-tuning of every network, bootstrap samples of results, and devices."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from trainer.device import open_device
from trainer.errors import InputError
from trainer.tasks.classifier import ClassifierSettings, DigitClassifier
from trainer.tasks.pose import Pose, PoseEstimation, PoseSettings
from trainer.tasks.segmentation import MEAN, OverlapResults, SegmentationSettings, Segmenter, confusion
from trainer.tasks.task import MeanResults, Scores
from trainer.tasks.training_loop import TrainingPlan, optimise


class Scripted(nn.Module):
    """A weight whose loss is linear, so that SGD shows the learning rate of each step."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))


def run(count: int, plan: TrainingPlan, slope: float = 1.0) -> tuple[list[list[int]], list[float]]:
    """Train on `count` samples; return the batches and the weight before each step and at the end."""
    model, batches, weights = Scripted(), [], []

    def loss_of(batch: torch.Tensor) -> torch.Tensor:
        batches.append(sorted(batch.tolist()))
        weights.append(float(model.weight.detach()))
        return slope * model.weight.sum()

    told: list[tuple[int, int]] = []
    optimizer = torch.optim.SGD(model.parameters(), 1.0)
    generator = torch.Generator().manual_seed(0)
    trained = optimise(model, optimizer, count, loss_of, plan, generator, lambda *epoch: told.append(epoch))
    assert trained is model
    assert not model.training
    assert told == [(epoch + 1, plan.epochs) for epoch in range(plan.epochs)]
    return batches, [*weights, float(model.weight.detach())]


def test_each_epoch_visits_every_sample_once_in_full_batches() -> None:
    batches, _ = run(7, TrainingPlan(epochs=2, batch_size=3))
    assert [len(batch) for batch in batches] == [3, 3, 3, 3]
    assert all(len(set(batches[first] + batches[first + 1])) == 6 for first in (0, 2))
    kept, _ = run(7, TrainingPlan(epochs=2, batch_size=3, keep_last=True))
    assert [len(batch) for batch in kept] == [3, 3, 1] * 2
    assert sorted(kept[0] + kept[1] + kept[2]) == list(range(7))


def test_a_batch_is_never_larger_than_the_dataset() -> None:
    assert [len(batch) for batch in run(2, TrainingPlan(epochs=1, batch_size=8))[0]] == [2]


def test_the_schedule_scales_each_step() -> None:
    _, weights = run(4, TrainingPlan(epochs=2, batch_size=2, schedule=lambda progress: 1 - progress))
    assert -np.diff(weights) == pytest.approx([1, 0.75, 0.5, 0.25])


def test_large_gradients_are_clipped() -> None:
    _, weights = run(2, TrainingPlan(epochs=1, batch_size=1, schedule=lambda _: 1.0, clip_norm=2.0), slope=8.0)
    assert -np.diff(weights) == pytest.approx([2, 2], abs=1e-4)


def colours(count: int, seed: int) -> tuple[np.ndarray, list[int]]:
    """Images whose top half is bright for class 1."""
    rng = np.random.default_rng(seed)
    labels = [index % 2 for index in range(count)]
    images = rng.integers(0, 60, (count, 32, 32, 3), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[: 16 if label else 4] += 120
    return images, labels


NETWORKS: dict[str, tuple[Any, Any]] = {
    "classification": (DigitClassifier(ClassifierSettings(classes=2, epochs=2, batch_size=8)), lambda label: label),
    "segmentation": (
        Segmenter(SegmentationSettings(("a", "b"), filters=8, epochs=2, batch_size=8)),
        lambda label: np.full((32, 32), 1 + label, np.uint8),
    ),
    "pose": (PoseEstimation(PoseSettings(("a", "b"), epochs=2, batch_size=8)), lambda label: Pose(label, 90.0 * label)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_fine_tuning_continues_a_copy(name: str) -> None:
    task, label_of = NETWORKS[name]
    images, classes = colours(24, 0)
    labels = [label_of(each) for each in classes]
    model = task.train(images, labels, seed=0)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    tuned, again = (task.fine_tune(model, images[:8], labels[:8], seed=1).state_dict() for _ in range(2))
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert all(torch.equal(tuned[key], value) for key, value in again.items())
    assert any(not torch.equal(tuned[key], value) for key, value in before.items())
    other, retuned = task.train(images, labels, seed=1), task.fine_tune(model, images[:8], labels[:8], seed=1)
    distance, fresh = (
        max(
            float((one - two).detach().abs().max())
            for one, two in zip(net.parameters(), model.parameters(), strict=True)
        )
        for net in (retuned, other)
    )
    assert distance < fresh / 2, "fine-tuning starts from the trained weights"


@pytest.mark.parametrize("name", NETWORKS)
def test_scores_are_those_of_the_results_over_all_images(name: str) -> None:
    task, label_of = NETWORKS[name]
    images, classes = colours(16, 0)
    labels = [label_of(each) for each in classes]
    model = task.train(images, labels, seed=0)
    results = task.test(model, images, labels)
    assert task.score(model, images, labels) == results.scores() == results.scores(np.arange(16))
    half = np.array([3, 3, 5, 0, 7, 7, 7, 2])
    expected = task.score(model, images[half], [labels[number] for number in half])
    assert results.scores(half) == expected


def test_mean_results_average_the_chosen_images() -> None:
    results = MeanResults("error", {"error": np.array([1.0, 2.0, 6.0])}, errors=True)
    assert results.scores() == Scores("error", {"error": 3.0}, errors=True)
    assert results.scores(np.array([2, 2, 0])).value == pytest.approx(13 / 3)
    assert results.scores().reward == -3.0
    assert Scores("accuracy", {"accuracy": 0.5}).reward == 0.5


def test_overlap_results_pool_the_pixels_of_the_chosen_images() -> None:
    true, found = np.ones((2, 1, 10), int), np.ones((2, 1, 10), int)
    found[1, 0, :5] = 0
    results = OverlapResults(("a",), np.stack([confusion(*pair, 1) for pair in zip(found, true, strict=True)]))
    assert results.scores().values == {"a": 0.75, MEAN: 0.75}
    assert results.scores(np.array([1, 1])).value == 0.5


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert open_device("cpu") == open_device("auto") == "cpu"
    with pytest.raises(InputError, match=r"^torch .* finds no cuda device here; use --device cpu or auto$"):
        open_device("cuda")
    with pytest.raises(InputError, match=r"^device 'tpu' is unknown; allowed: auto, cpu, cuda, mps$"):
        open_device("tpu")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert open_device("auto") == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert open_device("auto") == "cuda"
