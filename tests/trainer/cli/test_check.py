"""`metasim check`"""

import json
from collections.abc import Callable
from pathlib import Path

from support.grammars import write_sprites
from support.servers import server
from support.spoiled import nothing, renamed, spoiled
from support.worlds import BLOBS


def test_a_good_gradient(metasim: Callable, tmp_path: Path) -> None:
    world = write_sprites(tmp_path, BLOBS)

    outcome = metasim(f"check gradient {world} --engine fake --workers 1 --scenes 1")

    assert outcome.status == 0
    lines = outcome.out.splitlines()
    assert lines[0].split() == ["cosine,", "norm", "ratio", "columns", "span", "region", "image", "loss", "analytic"]
    assert lines[1].split()[:6] == ["thing.x", "2", "1", "px", "1.0000", "1.000"]
    assert "The gradient is good (region: cosine from 0.99, norm ratio within 2%; loss: cosine from 0.95" in outcome.out


def test_a_bad_gradient_fails(metasim: Callable, tmp_path: Path) -> None:
    world = write_sprites(tmp_path, BLOBS)

    outcome = metasim(f"check gradient {world} --engine fake --workers 1 --scenes 1 --json thing.x.step=9")

    assert outcome.status == 1
    assert json.loads(outcome.out)["good"] is False


def test_a_wrong_setting_is_named(metasim: Callable) -> None:
    outcome = metasim("check gradient mnist-rot training.probing.mode=fast")

    assert (outcome.status, outcome.out) == (2, "")
    assert "training.probing.mode is 'fast'; allowed: auto, jacobian, vjp" in outcome.err


def test_the_command_prints_a_line_for_each_check_and_fails_with_1(metasim: Callable) -> None:
    with server("--engine", "fake", "--workers", "1") as fake:
        good = metasim(f"check endpoint {fake.address}")
        assert good.status == 0
        assert "PASS  slots-first: the first reply of a stream is Slots\n" in good.out
        assert " checks passed, 0 failed, 6 were skipped.\n" in good.out
        with spoiled(fake.address, renamed, nothing) as address:
            bad = metasim(f"check endpoint {address} --json")
    assert bad.status == 1
    found = json.loads(bad.out)
    (failure,) = [check for check in found["checks"] if check["outcome"] == "fail"]
    assert (found["failed"], failure["name"]) == (1, "id-twice")
    assert "it must be CODE_ALREADY_EXISTS" in failure["detail"]
