"""The digit classifier: what it learns, that it repeats itself, and what it refuses."""

import gzip

import numpy as np
import pytest
import torch
from PIL import Image
from support.scenes import DATA
from torch import Tensor, nn

from trainer.errors import InputError
from trainer.features.schedule import one_cycle
from trainer.tasks import Scores, TaskNetwork
from trainer.tasks.classifier import (
    VIEWS,
    ClassifierSettings,
    DigitClassifier,
    DigitNet,
    grey,
    strained,
    varying_window,
)

QUICK = DigitClassifier(ClassifierSettings(epochs=2, batch_size=50))


def bars(count: int, size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [count, 1, size, size] of a bar whose height tells its class, in noise; labels [count]."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 10, count)
    images = rng.integers(0, 60, (count, 1, size, size), dtype=np.uint8)
    step = size // 11
    for image, label in zip(images, labels, strict=True):
        image[0, (label + 1) * step - 1 : (label + 1) * step + 1, size // 4 : -size // 4] = 220
    return images, labels


def mnist(name: str, count: int) -> np.ndarray:
    path = DATA / "mnist" / name
    if not path.is_file():
        pytest.skip(f"{path} is absent")
    return np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8)[16 if "images" in name else 8 :][
        : count * (784 if "images" in name else 1)
    ]


@pytest.mark.parametrize(("size", "form"), [(32, "grey"), (64, "rgb")])
def test_learns_classes_that_can_be_told_apart(size: int, form: str) -> None:
    def images(seed: int) -> tuple[np.ndarray, np.ndarray]:
        pixels, labels = bars(800, size, seed)
        return (np.repeat(pixels[:, 0, :, :, None], 3, axis=3) if form == "rgb" else pixels), labels

    model = QUICK.train(*images(1), seed=0)
    assert QUICK.score(model, *images(2)).value > 0.97


def test_learns_real_digits() -> None:
    classifier = DigitClassifier(ClassifierSettings(epochs=3))
    images = mnist("train-images-idx3-ubyte.gz", 6_000).reshape(-1, 1, 28, 28)
    labels = mnist("train-labels-idx1-ubyte.gz", 6_000)
    test_images = mnist("t10k-images-idx3-ubyte.gz", 2_000).reshape(-1, 1, 28, 28)
    test_labels = mnist("t10k-labels-idx1-ubyte.gz", 2_000)
    model = classifier.train(images, labels, seed=0)
    assert classifier.score(model, test_images, test_labels).value > 0.96


def test_is_a_task_network() -> None:
    network: TaskNetwork[np.ndarray, DigitNet] = QUICK
    assert network.name == "classification"


def test_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    images, labels = bars(200, 32, 1)
    first, second, other = (QUICK.train(images, labels, seed=seed) for seed in (3, 3, 4))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not torch.equal(first.conv1.weight, other.conv1.weight)


def test_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    QUICK.train(*bars(100, 32, 1), seed=3)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("size", [28, 32, 64])
def test_has_two_convolutions_and_three_fully_connected_layers(size: int) -> None:
    model = DigitNet((slice(0, size), slice(0, size)), 10, torch.Generator().manual_seed(0))
    kinds = [type(module) for module in model.children()]
    assert kinds == [nn.Conv2d, nn.Conv2d, nn.Linear, nn.Linear, nn.Linear]
    assert model(torch.zeros(2, 1, size, size)).shape == (2, 10)


def test_initial_weights_keep_the_variance() -> None:
    model = DigitNet((slice(0, 32), slice(0, 32)), 10, torch.Generator().manual_seed(0))
    for layer in (model.conv1, model.conv2, model.fc1, model.fc2, model.fc3):
        assert layer.weight.var().item() == pytest.approx(2 / layer.weight[0].numel(), rel=0.15)
        assert not layer.bias.any()


def test_progress_is_told_after_every_epoch() -> None:
    told: list[tuple[int, int]] = []
    QUICK.train(*bars(60, 32, 1), seed=3, progress=lambda done, of: told.append((done, of)))
    assert told == [(1, 2), (2, 2)]


def test_score_is_the_fraction_of_right_answers() -> None:
    images, labels = bars(2_300, 32, 1)
    model = QUICK.train(images[:50], labels[:50], seed=3)
    predicted = QUICK.predict(model, images)
    wrong = np.where(np.arange(2_300) < 575, (predicted + 1) % 10, predicted)
    assert QUICK.score(model, images, wrong) == Scores("accuracy", {"accuracy": 0.75})


def test_prediction_averages_over_nine_views() -> None:
    class Spot(DigitNet):
        """Says that class 1 is certain if pixel (5, 5) is white, else that class 0 is a little more likely."""

        def forward(self, images: Tensor) -> Tensor:
            certain = torch.tensor([0.0, 20.0])
            unsure = torch.tensor([0.5, 0.0])
            return torch.where(images[:, 0, 5, 5, None] > 0.5, certain, unsure)

    model = Spot((slice(0, 16), slice(0, 16)), 2, torch.Generator().manual_seed(0))
    images = np.zeros((10, 1, 16, 16), np.uint8)
    for index, (y, x) in enumerate(VIEWS):
        images[index, 0, 5 + y, 5 + x] = 255
    images[9, 0, 5, 7] = 255
    assert QUICK.predict(model, images).tolist() == [1] * 9 + [0]


def test_grey_agrees_with_pillow() -> None:
    images = np.random.default_rng(1).integers(0, 256, (3, 20, 24, 3), dtype=np.uint8)
    expected = np.stack([np.asarray(Image.fromarray(image).convert("L")) for image in images]).astype(int)
    assert np.abs(grey(images).numpy().astype(int) - expected).max() <= 1


def test_grey_leaves_grey_images_as_they_are_and_takes_read_only_ones() -> None:
    ramp = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    ramp.setflags(write=False)
    assert np.array_equal(grey(np.repeat(ramp[..., None], 3, axis=3)).numpy(), ramp)
    assert np.array_equal(grey(ramp[:, None]).numpy(), ramp)


def blob(height: int, width: int, sigma_x: float, sigma_y: float) -> Tensor:
    y, x = torch.meshgrid(torch.arange(height) + 0.5 - height / 2, torch.arange(width) + 0.5 - width / 2, indexing="ij")
    return torch.exp(-((x / sigma_x) ** 2 + (y / sigma_y) ** 2) / 2)[None, None]


def moments(images: Tensor) -> tuple[Tensor, Tensor]:
    """Centre [N, 2] and covariance [N, 2, 2] of each image, in pixels, x before y."""
    height, width = images.shape[-2:]
    y, x = torch.meshgrid(torch.arange(height).double(), torch.arange(width).double(), indexing="ij")
    where = torch.stack([x.flatten(), y.flatten()], dim=1)
    pixels = images.double().flatten(1)
    weights = pixels / pixels.sum(1, keepdim=True)
    centre = weights @ where
    offset = where - centre[:, None]
    return centre, torch.einsum("np,npi,npj->nij", weights, offset, offset)


def test_augmentation_moves_each_image_within_its_limit() -> None:
    image = blob(40, 48, 3, 3)
    moved = strained(image.expand(500, -1, -1, -1), 0, 2, torch.Generator().manual_seed(1))
    offset = moments(moved)[0] - moments(image)[0]
    assert float(offset.abs().max()) == pytest.approx(2, abs=0.05)
    assert offset.std(dim=0).tolist() == pytest.approx([2 / 3**0.5] * 2, rel=0.08)


def test_augmentation_stretches_but_does_not_turn() -> None:
    # Round blobs show the matrix: the covariance is its inverse squared, whose elements have twice its deviation.
    stretched = strained(blob(40, 60, 4, 4).expand(1000, -1, -1, -1), 0.05, 0, torch.Generator().manual_seed(1))
    covariance = moments(stretched)[1] / 16
    assert [float(covariance[:, i, j].std()) for i, j in ((0, 0), (0, 1), (1, 1))] == pytest.approx([0.1] * 3, rel=0.12)
    # A long blob keeps its direction on average.
    long = moments(strained(blob(60, 60, 8, 2).expand(1000, -1, -1, -1), 0.05, 0, torch.Generator().manual_seed(1)))[1]
    turn = 0.5 * torch.atan2(2 * long[:, 0, 1], long[:, 0, 0] - long[:, 1, 1])
    assert float(turn.mean()) == pytest.approx(0, abs=0.006)


def test_augmentation_repeats_the_edges() -> None:
    image = torch.full((4, 1, 20, 20), 0.25)
    assert torch.allclose(strained(image, 0.1, 3, torch.Generator().manual_seed(1)), image)


def test_augmentation_can_be_off() -> None:
    image = torch.rand(2, 1, 20, 20, generator=torch.Generator().manual_seed(1))
    assert strained(image, 0, 0, torch.Generator()) is image


def test_window_holds_what_varies() -> None:
    images = torch.full((3, 64, 60), 7, dtype=torch.uint8)
    images[1, 40, 5] = 9
    images[2, 62, 30] = 0
    assert varying_window(images) == (slice(38, 64), slice(3, 33))


def test_window_is_large_enough_for_the_network_and_whole_where_nothing_varies() -> None:
    images = torch.zeros((2, 64, 60), dtype=torch.uint8)
    assert varying_window(images) == (slice(0, 64), slice(0, 60))
    images[1, 62, 1] = 1
    assert varying_window(images) == (slice(48, 64), slice(0, 16))


def test_pixels_outside_the_window_change_nothing() -> None:
    model = DigitNet((slice(20, 50), slice(0, 40)), 10, torch.Generator().manual_seed(0))
    images = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(1))
    inside = torch.zeros_like(images)
    inside[:, :, 20:50, :40] = images[:, :, 20:50, :40]
    assert torch.equal(model(images), model(inside))
    assert not torch.equal(model(images), model(torch.zeros_like(images)))


def test_one_cycle_rises_and_falls() -> None:
    assert [one_cycle(at) for at in (0.0, 0.1, 0.2, 0.6, 1.0)] == pytest.approx([0, 0.5, 1, 0.5, 0])


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (
            np.zeros((2, 32, 32), np.uint8),
            np.zeros(2, int),
            r"images are uint8 \(2, 32, 32\); allowed: uint8",
        ),
        (np.zeros((2, 1, 32, 32)), np.zeros(2, int), r"images are float64 \(2, 1, 32, 32\); allowed"),
        (np.zeros((0, 1, 32, 32), np.uint8), np.zeros(0, int), r"0 images of 32x32 px; at least 1 of 16x16 is needed"),
        (np.zeros((2, 1, 8, 32), np.uint8), np.zeros(2, int), r"2 images of 32x8 px; at least 1 of 16x16 is needed"),
        (np.zeros((2, 1, 32, 32), np.uint8), np.zeros(3, int), r"labels are int64 \(3,\); 2 images need whole numbers"),
        (np.zeros((2, 1, 32, 32), np.uint8), np.array([0, 10]), r"label 10 of image 1 is no class; allowed: 0 to 9"),
        (np.zeros((2, 1, 32, 32), np.uint8), np.array([-1, 0]), r"label -1 of image 0 is no class; allowed: 0 to 9"),
    ],
)
def test_refuses_what_it_cannot_learn(images: np.ndarray, labels: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        QUICK.train(images, labels, seed=0)
