"""`check_gradient` finds good gradients good and wrong ones wrong."""

from pathlib import Path

import pytest
from support.grammars import write_sprites
from support.worlds import BLOBS, CUBES

from trainer.checks.gradient import CheckOptions, check_gradient
from trainer.errors import InputError
from trainer.pool import PoolOptions


@pytest.fixture
def world(tmp_path: Path) -> str:
    return str(write_sprites(tmp_path, BLOBS))


def checked(world: str, **options: object) -> dict:
    return check_gradient(CheckOptions(world, scenes=2, **options, pool=PoolOptions(engine="fake", workers=1)))  # type: ignore[arg-type]


def test_the_defaults_are_good_and_near_the_exact_derivative(world: str) -> None:
    found = checked(world)

    assert found["good"]
    assert [item["attribute"] for item in found["attributes"]] == ["thing.x", "thing.y", "thing.yaw", "thing.scale"]
    for item in found["attributes"]:
        assert item["columns"] == 4
        for kind in ("region", "image", "loss"):
            assert item[kind]["cosine"] == pytest.approx(1, abs=1e-4)
            assert item[kind]["norm_ratio"] == pytest.approx(1, abs=1e-3)
        assert item["analytic"]["cosine"] > 0.999
    # Half a pixel to each side.
    assert found["attributes"][0]["span"] == pytest.approx(1)


def test_coarse_steps_are_found(world: str) -> None:
    found = checked(world, overrides={"thing.x": {"uniform": [-4, 4], "step": 9}})

    judged = {item["attribute"]: item["good"] for item in found["attributes"]}
    assert judged == {"thing.x": False, "thing.y": True, "thing.yaw": True, "thing.scale": True}
    assert not found["good"]


def test_every_loss_of_screen_space_goes_the_way_of_training(world: str) -> None:
    found = checked(world, overrides={"training.probing.method": "screen"})

    assert found["good"]
    assert found["probing"]["method"] == "screen"


def test_a_part_of_the_columns_can_be_checked(world: str) -> None:
    found = checked(world, columns=0.5)

    assert found["good"]
    assert sum(item["columns"] for item in found["attributes"]) == 8


def test_without_mutable_attributes_there_is_nothing_to_check(tmp_path: Path) -> None:
    path = write_sprites(tmp_path, BLOBS.replace("class: thing\n", "class: thing\n    mutable: false\n"))

    with pytest.raises(InputError, match=r"has no mutable attribute in 2 scenes: there is no gradient$"):
        checked(str(path))


@pytest.mark.blender
def test_regions_of_meshes_with_shadows_are_good(tmp_path: Path) -> None:
    path = tmp_path / "cubes.yaml"
    path.write_text(CUBES)

    found = check_gradient(
        CheckOptions(
            str(path), scenes=1, samples=128, overrides={"training.probing.samples": 64}, pool=PoolOptions(workers=1)
        )
    )

    assert found["good"], found["attributes"]
