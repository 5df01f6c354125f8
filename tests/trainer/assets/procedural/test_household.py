import io

import numpy as np
import pytest
from metasim.v1 import scene_pb2 as pb
from PIL import Image

from trainer.assets.procedural import Family
from trainer.assets.procedural.household import HOUSEHOLD, MODELS
from trainer.assets.procedural.household_surfaces import TABLES, WALLS
from trainer.assets.procedural.shape import joined


@pytest.mark.parametrize("name", MODELS)
def test_models_are_of_a_household_and_stand_on_the_table(name: str) -> None:
    shape = joined([part for part, _ in MODELS[name]()])
    low, high = shape.points.min(axis=0), shape.points.max(axis=0)
    assert low[2] == pytest.approx(0, abs=1e-6)
    assert ((high - low > 0.05) & (high - low < 0.25)).all()
    # What is turned about its origin should stay about where it is.
    assert (np.abs(low + high)[:2] / 2 < 0.025).all()
    assert 12 <= len(shape.triangles) <= 2500
    flat = np.cross(
        shape.points[shape.triangles[:, 1]] - shape.points[shape.triangles[:, 0]],
        shape.points[shape.triangles[:, 2]] - shape.points[shape.triangles[:, 0]],
    )
    outwards = np.einsum("ij,ij->i", flat, shape.normals[shape.triangles].mean(axis=1))
    assert (outwards >= -1e-12).all()


def test_the_family_says_what_is_what() -> None:
    assert [HOUSEHOLD.label(index) for index in range(HOUSEHOLD.count)] == ["box", "mug", "bottle", "toy", "tool"]
    assert HOUSEHOLD.mesh_format == pb.MESH_FORMAT_GLB
    assert HOUSEHOLD.make(1).startswith(b"glTF")
    assert HOUSEHOLD.make(1) == HOUSEHOLD.make(1)
    assert len({HOUSEHOLD.make(index) for index in range(5)}) == 5


@pytest.mark.parametrize("surfaces", [TABLES, WALLS], ids=["tables", "walls"])
def test_surfaces_are_pictures_that_differ(surfaces: Family) -> None:
    pictures = [np.asarray(Image.open(io.BytesIO(surfaces.make(index)))) for index in range(surfaces.count)]
    assert {picture.shape for picture in pictures} == {(128, 128, 3)}
    assert len({picture.mean().round() for picture in pictures}) == surfaces.count
    assert surfaces.make(0) == surfaces.make(0)
