"""What can be said about InceptionV3 without torchvision; runs everywhere."""

import re
import sys
from pathlib import Path

import pytest
import torch

from trainer.errors import InputError
from trainer.features.inception import InceptionFeatures, find_weights, normalised, resized


def test_missing_torchvision_is_named_with_the_next_step(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    monkeypatch.setitem(sys.modules, "torchvision.models", None)
    with pytest.raises(
        InputError, match=r"^InceptionV3 needs torchvision \(.*\); install the extra `vision`, or choose"
    ):
        InceptionFeatures(tmp_path / "weights.pth")


def test_missing_weights_name_torchs_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    place = tmp_path / "hub" / "checkpoints" / "inception_v3_google-0cc3c7bd.pth"
    with pytest.raises(InputError) as caught:
        find_weights(None)
    assert str(caught.value) == (
        f"InceptionV3 weights: there is no file {place}; fetch "
        "https://download.pytorch.org/models/inception_v3_google-0cc3c7bd.pth to that place, "
        "or name another file with --inception-weights"
    )


def test_missing_weights_name_the_path_that_was_given(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"there is no file {re.escape(str(tmp_path / 'mine.pth'))}; fetch"):
        find_weights(tmp_path / "mine.pth")


def test_given_weights_are_found(tmp_path: Path) -> None:
    path = tmp_path / "mine.pth"
    path.write_bytes(b"")
    assert find_weights(path) == path


@pytest.mark.parametrize(("layers", "shown"), [(["pool1", "pool9"], "'pool9'"), ([], r"'\(none\)'")])
def test_unknown_layers_are_refused(layers: list[str], shown: str) -> None:
    with pytest.raises(InputError, match=f"layer {shown} is unknown; allowed: pool1, pool2, mixed6, mixed7"):
        InceptionFeatures(layers=layers)


def test_grid_must_have_a_cell() -> None:
    with pytest.raises(InputError, match=r"grid of InceptionV3 features is 0; it must be at least 1"):
        InceptionFeatures(grid=0)


def test_black_is_minus_one_and_white_one() -> None:
    assert normalised(torch.tensor([0.0, 0.5, 1.0])).tolist() == [-1.0, 0.0, 1.0]


def test_resizing_keeps_brightness_and_images_of_the_right_size() -> None:
    x = torch.rand(1, 3, 40, 20, generator=torch.Generator().manual_seed(1))
    larger = resized(x, 299)
    assert larger.shape == (1, 3, 299, 299)
    assert larger.mean().item() == pytest.approx(x.mean().item(), abs=0.01)
    assert resized(larger, 299) is larger
    assert resized(x, None) is x
