"""What can be said about Mask R-CNN without torchvision; runs everywhere."""

import re
import sys
from pathlib import Path

import pytest

from trainer.errors import InputError
from trainer.tasks.mask_rcnn import WEIGHTS_URL, _find_weights, open_network


def test_missing_torchvision_is_named_with_the_next_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(InputError, match=r"^Mask R-CNN needs torchvision \(.*\); install the extra `vision`"):
        open_network(("car",), "full")


def test_a_grammar_without_cars_is_refused() -> None:
    with pytest.raises(InputError, match=r"^KITTI's rules score the class car; the grammar's classes are: tree, h"):
        open_network(("tree", "house"), "full")


def test_weights_are_looked_for_in_torchs_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert _find_weights(None) is None
    cached = tmp_path / "hub" / "checkpoints" / WEIGHTS_URL.rpartition("/")[2]
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"")
    assert _find_weights(None) == cached
    mine = tmp_path / "mine.pth"
    with pytest.raises(
        InputError, match=f"^ResNet-50 weights: there is no file {re.escape(str(mine))}; fetch https://"
    ):
        _find_weights(mine)
