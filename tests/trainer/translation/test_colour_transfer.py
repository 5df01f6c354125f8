"""Transfer of colours, against closed forms and an independent implementation."""

import numpy as np
import pytest

from trainer.translation.colour_transfer import (
    LATTICE,
    from_lab,
    lattice,
    line_transport,
    looked_up,
    moments_transfer,
    random_rotation,
    sliced_transport,
    to_lab,
)

RNG = np.random.default_rng(0)
RENDERS = RNG.uniform(0.3, 0.7, (400, 3))
PHOTOGRAPHS = np.clip(RNG.normal((0.6, 0.4, 0.3), (0.1, 0.05, 0.08), (300, 3)), 0, 1)


def test_lab_is_inverted() -> None:
    np.testing.assert_allclose(from_lab(to_lab(RENDERS)), RENDERS, atol=1e-9)


def test_grey_has_hardly_a_colour_in_lab() -> None:
    """The published matrix has rows that sum to 0.9996 to 0.9974: grey has α and β of some thousandths."""
    grey = to_lab(np.linspace(0.1, 1, 10)[:, None].repeat(3, 1))
    assert np.abs(grey[:, 1:]).max() < 0.004
    assert (np.diff(grey[:, 0]) > 0).all()


def test_the_moments_of_the_target_come_out() -> None:
    found = to_lab(moments_transfer(RENDERS, RENDERS, PHOTOGRAPHS))
    wanted = to_lab(PHOTOGRAPHS)
    np.testing.assert_allclose(found.mean(0), wanted.mean(0), atol=1e-9)
    np.testing.assert_allclose(found.std(0), wanted.std(0), atol=1e-9)


def test_transport_on_a_line_sorts() -> None:
    """Optimal transport between equally many points sends the k-th smallest to the k-th smallest."""
    source, target = RNG.normal(0, 1, 256), RNG.gamma(2.0, 1.0, 256)
    wanted = np.empty(256)
    wanted[np.argsort(source)] = np.sort(target)
    np.testing.assert_allclose(line_transport(source, source, target), wanted, atol=1e-9)


def test_transport_on_a_line_shifts_beyond_the_ends() -> None:
    source, target = np.linspace(0, 1, 50), np.linspace(2, 4, 50)
    np.testing.assert_allclose(line_transport(np.array([-0.5, 0.25, 1.5]), source, target), [1.5, 2.5, 4.5], atol=1e-9)


def test_grey_colours_are_transported_as_on_a_line() -> None:
    """Along one direction of colour all slices are the same transport, so sliced transport is that on the line."""
    source, target = np.sort(RNG.uniform(0, 0.5, 256)), np.sort(RNG.uniform(0.2, 1, 256) ** 2)
    grey = np.ones(3)
    found = sliced_transport(
        source[:, None] * grey, source[:, None] * grey, target[:, None] * grey, np.random.default_rng(1), 40
    )
    np.testing.assert_allclose(found, target[:, None] * grey, atol=1e-6)


def test_sliced_transport_reaches_the_target_in_every_direction() -> None:
    found = sliced_transport(RENDERS, RENDERS, PHOTOGRAPHS, np.random.default_rng(2))
    for axis in (*np.eye(3), *random_rotation(np.random.default_rng(3)).T):
        shares = np.linspace(0.02, 0.98, 49)
        before, after, wanted = (np.quantile(each @ axis, shares) for each in (RENDERS, found, PHOTOGRAPHS))
        assert np.abs(after - wanted).mean() < 0.2 * np.abs(before - wanted).mean()


def test_transport_of_a_distribution_to_itself_changes_nothing() -> None:
    found = sliced_transport(lattice(), RENDERS, RENDERS, np.random.default_rng(0), rounds=5)
    np.testing.assert_allclose(found, lattice(), atol=1e-9)


def test_a_rotation_is_orthogonal() -> None:
    matrix = random_rotation(np.random.default_rng(4))
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)


@pytest.mark.parametrize("power", [1.0, 2.0])
def test_a_table_is_looked_up(power: float) -> None:
    table = (lattice() ** power).reshape(LATTICE, LATTICE, LATTICE, 3).astype(np.float32)
    image = np.random.default_rng(5).integers(0, 256, (7, 5, 3), dtype=np.uint8)
    wanted = (image / 255.0) ** power * 255
    assert np.abs(looked_up(image, table) - wanted).max() <= 0.6
