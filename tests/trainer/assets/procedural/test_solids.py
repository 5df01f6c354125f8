import numpy as np
import pytest

from trainer.assets.procedural.shape import Shape, joined
from trainer.assets.procedural.solids import box, ellipsoid, extruded, triangulated, tube, turned

L_OUTLINE = [(0.0, 0.0), (3, 0), (3, 1), (1, 1), (1, 2), (0, 2)]

SOLIDS = {
    "box": (box(2, 3, 4), 24.0),
    "cylinder": (turned([(0, 0), (1, 0), (1, 2), (0, 2)], 256), 2 * np.pi),
    "cone": (turned([(0, 0), (1, 0), (0, 3)], 256), np.pi),
    "ellipsoid": (ellipsoid(2, 4, 6, 96, 64), 8 * np.pi),
    "extruded": (extruded(L_OUTLINE, 2.0), 8.0),
}


def face_normals(shape: Shape) -> np.ndarray:
    a, b, c = (shape.points[shape.triangles[:, corner]] for corner in range(3))
    return np.cross(b - a, c - a)


@pytest.mark.parametrize("name", SOLIDS)
def test_solids_are_closed_and_have_their_volume(name: str) -> None:
    shape, volume = SOLIDS[name]
    a, b, c = (shape.points[shape.triangles[:, corner]] for corner in range(3))
    # The divergence theorem: only a closed surface that faces outwards has the volume wherever it stands.
    for origin in (np.zeros(3), np.array([5.0, -7, 11])):
        found = np.einsum("ij,ij->i", a - origin, np.cross(b - origin, c - origin)).sum() / 6
        assert found == pytest.approx(volume, rel=5e-3)


@pytest.mark.parametrize(
    "shape",
    [*(shape for shape, _ in SOLIDS.values()), tube([(0.0, 0, 0), (0, 0, 1), (0.5, 0, 2)], 0.1)],
    ids=[*SOLIDS, "tube"],
)
def test_normals_have_length_one_and_point_outwards(shape: Shape) -> None:
    np.testing.assert_allclose(np.linalg.norm(shape.normals, axis=1), 1)
    flat = face_normals(shape)
    assert (np.linalg.norm(flat, axis=1) > 0).all()
    for corner in range(3):
        assert (np.einsum("ij,ij->i", flat, shape.normals[shape.triangles[:, corner]]) > 0).all()


def test_round_things_are_smooth_and_edges_sharp() -> None:
    ball = ellipsoid(1, 1, 1)
    np.testing.assert_allclose(ball.normals, ball.points / 0.5, atol=0.16)
    sides = turned([(1, 0), (1, 1), (0, 1)], 8)
    assert set(np.round(sides.normals[:, 2], 6)) == {0.0, 1.0}


def test_prints_are_upright_for_who_looks_at_the_side() -> None:
    cells = [(k / 6, 0.0, (k + 1) / 6, 1.0) for k in range(6)]
    shape = box(2, 2, 2, cells)
    # Lower left corners of front, right, back and left, as seen from outside.
    np.testing.assert_allclose(shape.points[[0, 4, 8, 12]], [(-1, -1, 0), (1, -1, 0), (1, 1, 0), (-1, 1, 0)])
    np.testing.assert_allclose(shape.uvs[[0, 4, 8, 12]], [(k / 6, 0) for k in range(4)])
    front = np.flatnonzero(np.isclose(turned([(1, 0), (1, 1)], 8).uvs[:, 0], 0.5))
    np.testing.assert_allclose(turned([(1, 0), (1, 1)], 8).points[front][:, :2], [(0, -1)] * 2, atol=1e-12)


def test_concave_outlines_are_cut_into_triangles() -> None:
    triangles = triangulated(np.array(L_OUTLINE))
    assert triangles.shape == (4, 3)
    with pytest.raises(ValueError, match="runs clockwise or crosses itself"):
        triangulated(np.array(L_OUTLINE[::-1]))


def test_joined_shapes_keep_their_triangles_apart() -> None:
    both = joined([box(1, 1, 1), box(2, 2, 2).moved(z=1)])
    assert both.triangles[12:].min() == 24
    np.testing.assert_array_equal(both.points[24:, 2].min(), 1)
