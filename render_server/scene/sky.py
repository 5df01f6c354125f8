"""A clear sky and its sun in closed form: Preetham, Shirley and Smits, "A practical analytic model for daylight", 1999.

Light is red, green and blue in linear Rec. 709. The unit of luminance and illuminance is the illuminance that the
zenith sun and its sky give level ground at the default turbidity.
"""

import math
from functools import lru_cache

import numpy as np
from metasim.v1 import scene_pb2

DEFAULT_TURBIDITY = 3.0
SUN_DIAMETER_DEG = 0.53
#: Height and width of the map of a sky.
MAP_SHAPE = (64, 128)

#: Of the lower half of the sky, which stands for ground.
_ALBEDO = 0.2
#: Rows: the coefficients A to E of Y, x and y; columns: their slope with turbidity and their offset (Preetham, A.2).
_DISTRIBUTION = (
    ((0.1787, -1.4630), (-0.3554, 0.4275), (-0.0227, 5.3251), (0.1206, -2.5771), (-0.0670, 0.3703)),
    ((-0.0193, -0.2592), (-0.0665, 0.0008), (-0.0004, 0.2125), (-0.0641, -0.8989), (-0.0033, 0.0452)),
    ((-0.0167, -0.2608), (-0.0950, 0.0092), (-0.0079, 0.2102), (-0.0441, -1.6537), (-0.0109, 0.0529)),
)
_ZENITH_X = np.array(
    ((0.00166, -0.00375, 0.00209, 0), (-0.02903, 0.06377, -0.03202, 0.00394), (0.11693, -0.21196, 0.06052, 0.25886))
)
_ZENITH_Y = np.array(
    ((0.00275, -0.00610, 0.00317, 0), (-0.04214, 0.08970, -0.04153, 0.00516), (0.15346, -0.26756, 0.06670, 0.26688))
)
_XYZ_TO_RGB = np.array([[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]])
#: Wavelengths that stand for red, green and blue, in micrometres.
_WAVELENGTHS = np.array((0.61, 0.55, 0.465))
#: Illuminance of the sun outside of the atmosphere, klx.
_SUN_KLX = 128.0


def turbidity_of(sky: scene_pb2.SkyLight) -> float:
    """Return the turbidity, or its default."""
    return sky.turbidity if sky.HasField("turbidity") else DEFAULT_TURBIDITY


def sun_direction(elevation_deg: float) -> np.ndarray:
    """Return the unit vector to the sun in the frame of the sky's node."""
    elevation = math.radians(elevation_deg)
    return np.array((math.cos(elevation), 0.0, math.sin(elevation)))


def sky_map(elevation_deg: float, turbidity: float) -> np.ndarray:
    """Return the radiance of the sky without the sun, float32 [*MAP_SHAPE, 3], laid out as an environment map."""
    return (_sky(elevation_deg, turbidity) / _unit()).astype(np.float32)


def sun_irradiance(elevation_deg: float, turbidity: float) -> np.ndarray:
    """Return the irradiance [3] of a surface that faces the sun."""
    return _sun(elevation_deg, turbidity) / _unit()


def map_directions() -> tuple[np.ndarray, np.ndarray]:
    """Return the unit vectors [h, w, 3] and the solid angles [h, w] of the map's texels."""
    height, width = MAP_SHAPE
    polar = np.pi * (np.arange(height) + 0.5) / height
    azimuth = np.pi - 2 * np.pi * (np.arange(width) + 0.5) / width
    sine = np.broadcast_to(np.sin(polar)[:, None], MAP_SHAPE)
    vectors = np.stack((sine * np.cos(azimuth), sine * np.sin(azimuth), 0 * sine + np.cos(polar)[:, None]), axis=2)
    return vectors, sine * (np.pi / height) * (2 * np.pi / width)


@lru_cache(maxsize=1)
def _unit() -> float:
    """Return the illuminance of level ground under a zenith sun at the default turbidity, klx."""
    vectors, solid_angles = map_directions()
    sky = _luminance(_sky(90.0, DEFAULT_TURBIDITY))
    return float(
        (sky * solid_angles * np.maximum(vectors[..., 2], 0)).sum() + _luminance(_sun(90.0, DEFAULT_TURBIDITY))
    )


def _luminance(rgb: np.ndarray) -> np.ndarray:
    return rgb @ np.array((0.2126, 0.7152, 0.0722))


def _sky(elevation_deg: float, turbidity: float) -> np.ndarray:
    """Return the luminance of the sky, kcd/m2, as colours [h, w, 3]."""
    vectors, solid_angles = map_directions()
    zenith_angle = math.radians(90.0 - elevation_deg)
    cosine = np.maximum(vectors[..., 2], 0.01)
    gamma = np.arccos(np.clip(vectors @ sun_direction(elevation_deg), -1, 1))
    chi = (4 / 9 - turbidity / 120) * (np.pi - 2 * zenith_angle)
    powers, angles = np.array((turbidity**2, turbidity, 1)), zenith_angle ** np.array((3, 2, 1, 0))
    zenith = (
        (4.0453 * turbidity - 4.9710) * math.tan(chi) - 0.2155 * turbidity + 2.4192,
        powers @ _ZENITH_X @ angles,
        powers @ _ZENITH_Y @ angles,
    )
    luminance, x, y = (
        value * _perez(rows, turbidity, cosine, gamma) / _perez(rows, turbidity, np.array(1.0), np.array(zenith_angle))
        for value, rows in zip(zenith, _DISTRIBUTION, strict=True)
    )
    luminance = np.maximum(luminance, 0)
    xyz = np.stack((luminance * x / y, luminance, luminance * (1 - x - y) / y), axis=2)
    rgb = np.maximum(xyz @ _XYZ_TO_RGB.T, 0)
    above = vectors[..., 2] > 0
    weights = np.where(above, solid_angles * vectors[..., 2], 0)
    level = (rgb * weights[..., None]).sum((0, 1)) + _sun(elevation_deg, turbidity) * math.cos(zenith_angle)
    return np.where(above[..., None], rgb, _ALBEDO * level / np.pi)


def _perez(
    rows: tuple[tuple[float, float], ...], turbidity: float, cosine: np.ndarray, gamma: np.ndarray
) -> np.ndarray:
    """Return Perez et al.'s distribution F(theta, gamma)."""
    a, b, c, d, e = (slope * turbidity + offset for slope, offset in rows)
    result: np.ndarray = (1 + a * np.exp(b / cosine)) * (1 + c * np.exp(d * gamma) + e * np.cos(gamma) ** 2)
    return result


def _sun(elevation_deg: float, turbidity: float) -> np.ndarray:
    """Return the illuminance [3] of a surface that faces the sun, klx, after Rayleigh scattering and aerosols."""
    air = 1 / (math.sin(math.radians(elevation_deg)) + 0.15 * (elevation_deg + 3.885) ** -1.253)
    rayleigh = np.exp(-0.008735 * air * _WAVELENGTHS**-4.08)
    aerosols = np.exp(-(0.04608 * turbidity - 0.04586) * air * _WAVELENGTHS**-1.3)
    result: np.ndarray = _SUN_KLX * rayleigh * aerosols
    return result
