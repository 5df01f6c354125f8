"""InceptionV3 features against torchvision's own network and transforms, with random weights in a real file."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

torchvision = pytest.importorskip("torchvision", reason="needs torchvision; run make test-vision")

from torchvision.models import Inception_V3_Weights, inception_v3  # noqa: E402
from torchvision.models.feature_extraction import create_feature_extractor  # noqa: E402
from torchvision.transforms.v2 import functional as transforms  # noqa: E402

from trainer.errors import InputError  # noqa: E402
from trainer.features.inception import LAYERS, WEIGHTS_URL, InceptionFeatures, find_weights, resized  # noqa: E402

pytestmark = pytest.mark.vision

NODES = {"maxpool1": "pool1", "maxpool2": "pool2", "Mixed_6e": "mixed6", "Mixed_7c": "mixed7"}


@pytest.fixture(scope="module")
def network() -> nn.Module:
    """torchvision's network as its published weights configure it, with random weights and statistics."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = inception_v3(weights=None, init_weights=False, transform_input=True)
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.running_mean, 0, 0.1)
                nn.init.uniform_(module.running_var, 0.5, 1.5)
    return network.eval()


@pytest.fixture(scope="module")
def weights(network: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "inception.pth"
    torch.save(network.state_dict(), path)
    return path


def images(count: int, height: int, width: int, seed: int = 1) -> Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(seed))


def close(actual: Tensor, expected: Tensor) -> bool:
    return bool(torch.allclose(actual, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max())))


def test_layers_equal_torchvisions_own_on_its_own_normalisation(network: nn.Module, weights: Path) -> None:
    x = images(2, 299, 299)
    preset = Inception_V3_Weights.IMAGENET1K_V1.transforms()
    assert preset.crop_size == [299]
    with torch.no_grad():
        maps = create_feature_extractor(network, NODES, suppress_diff_warning=True)(
            transforms.normalize(x, preset.mean, preset.std)
        )
        for layer, channels in LAYERS.items():
            features = InceptionFeatures(weights, [layer], grid=1)(x)
            assert features.shape == (2, channels)
            assert close(features, maps[layer].mean(dim=(2, 3)))


def test_several_layers_lie_side_by_side_from_the_lowest(weights: Path) -> None:
    x = images(2, 299, 299)
    both = InceptionFeatures(weights, ["pool2", "pool1"], grid=3)
    assert both.dimension == (64 + 192) * 9
    parts = [InceptionFeatures(weights, [layer], grid=3)(x) for layer in ("pool1", "pool2")]
    assert torch.equal(both(x), torch.cat(parts, dim=1))


def test_grid_keeps_where_things_are(weights: Path) -> None:
    x = torch.zeros(2, 3, 64, 64)
    x[0, :, 40:56, 8:24] = 1  # the lower left
    x[1, :, 40:56, 40:56] = 1  # the lower right
    coarse, fine = (InceptionFeatures(weights, ["pool1"], grid=grid)(x) for grid in (1, 2))
    cells = fine.unflatten(1, (64, 4))  # upper left, upper right, lower left, lower right
    contrast = (cells[0] - cells[1]).abs().mean(dim=0)
    assert contrast[2] > 5 * contrast[0]
    assert (fine[0] - fine[1]).norm() > 5 * (coarse[0] - coarse[1]).norm()


@pytest.mark.parametrize("size", [(32, 32), (188, 620)])
def test_resizing_is_torchvisions(size: tuple[int, int]) -> None:
    x = images(1, *size)
    interpolation = torchvision.transforms.InterpolationMode.BILINEAR
    assert torch.allclose(resized(x, 299), transforms.resize(x, [299, 299], interpolation, antialias=True), atol=1e-6)


def test_images_keep_their_size_without_resizing(network: nn.Module, weights: Path) -> None:
    x = images(1, 96, 128)
    preset = Inception_V3_Weights.IMAGENET1K_V1.transforms()
    with torch.no_grad():
        expected = create_feature_extractor(network, NODES, suppress_diff_warning=True)(
            transforms.normalize(x, preset.mean, preset.std)
        )["pool2"]
    assert close(InceptionFeatures(weights, ["pool2"], grid=1, size_px=None)(x), expected.mean(dim=(2, 3)))


def test_gradient_reaches_the_image_and_is_right(weights: Path) -> None:
    features = InceptionFeatures(weights, ["pool1", "pool2"], grid=2).double()
    x = images(2, 32, 32).double().requires_grad_()
    direction = images(2, 32, 32, seed=2).double() - 0.5
    coefficients = images(1, 1, features.dimension, seed=3)[0, 0, 0].double()
    (gradient,) = torch.autograd.grad((features(x) @ coefficients).sum(), x)
    with torch.no_grad():
        step = 1e-8  # The kinks of rectifiers and poolings lie close together
        plus, minus = (features(x + sign * step * direction) @ coefficients for sign in (1, -1))
    assert float((gradient * direction).sum()) == pytest.approx(float((plus - minus).sum() / (2 * step)), rel=1e-4)
    assert all((gradient[index].abs() > 0).float().mean() > 0.9 for index in range(2))


def test_weights_are_frozen_and_statistics_fixed(weights: Path) -> None:
    features = InceptionFeatures(weights)
    assert not any(parameter.requires_grad for parameter in features.parameters())
    x = images(2, 64, 64)
    before = features(x)
    features.train()
    features(images(2, 64, 64, seed=2))
    assert torch.equal(features(x), before)


def test_images_do_not_depend_on_their_batch(weights: Path) -> None:
    features = InceptionFeatures(weights)
    x = images(3, 64, 64)
    assert close(features(x)[1:2], features(x[1:2]))


def test_weights_come_from_torchs_cache(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Inception_V3_Weights.IMAGENET1K_V1.url == WEIGHTS_URL
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    cached = tmp_path / "hub" / "checkpoints" / "inception_v3_google-0cc3c7bd.pth"
    cached.parent.mkdir(parents=True)
    cached.symlink_to(weights)
    assert find_weights(None) == cached
    x = images(1, 64, 64)
    assert torch.equal(InceptionFeatures()(x), InceptionFeatures(weights)(x))


def test_loading_leaves_the_global_generator_alone(weights: Path) -> None:
    before = torch.get_rng_state()
    InceptionFeatures(weights)
    assert torch.equal(before, torch.get_rng_state())


def test_missing_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"there is no file .*none\.pth; fetch https://download\.pytorch\.org/.*pth to"
    ):
        InceptionFeatures(tmp_path / "none.pth")


def test_pickled_objects_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "objects.pth"
    torch.save({"code": Path("x")}, path)
    with pytest.raises(InputError, match=r"objects\.pth is no file of weights \(Weights only load failed"):
        InceptionFeatures(path)


@pytest.mark.parametrize("size", [0, 40, 1_000_000])
def test_truncated_weights_are_refused(size: int, weights: Path, tmp_path: Path) -> None:
    path = tmp_path / "short.pth"
    path.write_bytes(weights.read_bytes()[:size])
    with pytest.raises(InputError, match=r"short\.pth is no file of weights \(.+\); fetch https://"):
        InceptionFeatures(path)


@pytest.mark.parametrize("content", [{"conv.weight": torch.zeros(1)}, [1, 2]])
def test_other_weights_are_refused(content: object, tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    torch.save(content, path)
    with pytest.raises(
        InputError, match=r"other\.pth holds other weights than torchvision's InceptionV3 \(.+\); fetch"
    ):
        InceptionFeatures(path)
