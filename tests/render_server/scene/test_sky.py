"""The clear sky: its unit, its sun, and what Preetham's model says of it."""

import numpy as np
import pytest

from render_server.scene.sky import map_directions, sky_map, sun_direction, sun_irradiance

LUMINANCE = np.array((0.2126, 0.7152, 0.0722))


def level(elevation: float, turbidity: float) -> float:
    vectors, solid_angles = map_directions()
    sky = (sky_map(elevation, turbidity) @ LUMINANCE * solid_angles * np.maximum(vectors[..., 2], 0)).sum()
    return float(sky + sun_irradiance(elevation, turbidity) @ LUMINANCE * sun_direction(elevation)[2])


def test_the_unit_is_level_ground_under_a_zenith_sun() -> None:
    assert level(90, 3) == pytest.approx(1, rel=1e-6)
    assert level(60, 3) < 1
    assert level(5, 3) < 0.3


def test_solid_angles_are_those_of_the_sphere() -> None:
    vectors, solid_angles = map_directions()
    assert solid_angles.sum() == pytest.approx(4 * np.pi, rel=1e-3)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=2), 1)
    # The middle of the map is +x, and right of it is the right of someone who looks there: -y.
    assert vectors[32, 63] @ (1, 0, 0) > 0.99
    assert vectors[32, 80, 1] < -0.5


def test_low_suns_are_orange_and_skies_blue() -> None:
    red, _, blue = sun_irradiance(5, 3)
    assert red > 3 * blue
    zenith = sky_map(60, 2.5)[1].mean(axis=0)
    assert zenith[2] > 1.5 * zenith[0]


def test_haze_moves_light_from_the_sun_to_the_sky() -> None:
    assert sun_irradiance(45, 8) @ LUMINANCE < sun_irradiance(45, 2) @ LUMINANCE
    assert sky_map(45, 8)[:32].mean() > sky_map(45, 2)[:32].mean()


def test_the_sky_is_brightest_about_the_sun_and_alike_on_both_sides() -> None:
    sky = sky_map(30, 3) @ LUMINANCE
    row, column = np.unravel_index(sky[:31].argmax(), sky[:31].shape)
    vectors, _ = map_directions()
    assert vectors[row, column] @ sun_direction(30) > 0.9
    np.testing.assert_allclose(sky, sky[:, ::-1], rtol=1e-5)


def test_zenith_luminance_is_preethams() -> None:
    """Y_z = (4.0453 T - 4.9710) tan((4/9 - T/120)(pi - 2 theta)) - 0.2155 T + 2.4192 kcd/m2, against another sun's."""

    def zenith(elevation: float, t: float) -> float:
        angle = np.pi / 2 - np.radians(elevation)
        return (4.0453 * t - 4.9710) * np.tan((4 / 9 - t / 120) * (np.pi - 2 * angle)) - 0.2155 * t + 2.4192

    found = [(sky_map(elevation, 4)[0] @ LUMINANCE).mean() for elevation in (60, 30)]
    assert found[0] / found[1] == pytest.approx(zenith(60, 4) / zenith(30, 4), rel=0.05)
