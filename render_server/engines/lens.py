"""Images through a lens, interpolated from images of an ideal pinhole camera.

Cycles has no camera with Brown-Conrady distortion; its polynomial lenses are radial functions of the angle. The pinhole
image is therefore rendered over the lens's field of view, and each pixel interpolates it bilinearly in linear light.
Pixels do not depend on their window, so crops equal frames bit for bit.
"""

import math
from dataclasses import replace

import numpy as np
from metasim.camera import CameraView
from metasim.lens import Distortion

from render_server.errors import InvalidTask
from render_server.jacobian.regions import NOWHERE, Window

#: Maximum size of the pinhole image, as a multiple of the image's pixels.
_LARGEST = 8.0
#: Margin around the unperturbed scene's pinhole image for those of probes, in pixels.
_MARGIN_PX = 8

#: Left, top, right and bottom of a pinhole image, in pixels from the optical axis.
PinholeFrame = tuple[int, int, int, int]


class LensMap:
    """The positions in the pinhole image of an image's pixels.

    Args:
        view: of a perspective camera.
        field: path of the camera in the task, for errors.
        frame: the pinhole image to use if it covers the lens's field of view. Sampling noise depends on a pixel's
            position in the whole image, so the noise of a probe's two sides cancels only in the same frame.

    Attributes:
        pinhole: the view behind the lens. Its focal length in pixels is that of `view`.

    Raises:
        InvalidTask: a pixel shows nothing, or the pinhole image is too large.
    """

    def __init__(self, view: CameraView, field: str, frame: PinholeFrame | None = None) -> None:
        places = _places(view)
        wrong = np.isnan(places).any(axis=2)
        lens = f"{field}.perspective.lens"
        shown = ", ".join(f"{number:g}" for number in view.distortion.coefficients)
        value = f"a distortion (k1, k2, p1, p2, k3) of ({shown})"
        if wrong.any():
            row, column = (int(each[0]) for each in wrong.nonzero())
            raise InvalidTask(
                lens, value, f"it must be invertible all over the image, and pixel ({column}, {row}) has no inverse"
            )
        left, top, right, bottom = _bounds(places)
        width, height = right - left, bottom - top
        if width * height > _LARGEST * view.width_px * view.height_px + 4 * (width + height):
            raise InvalidTask(lens, value, f"it must not need a pinhole image of {width} x {height} pixels")
        if frame is not None and min(left - frame[0], top - frame[1], frame[2] - right, frame[3] - bottom) >= 0:
            left, top, right, bottom = frame
            width, height = right - left, bottom - top
        self.pinhole = replace(
            view,
            width_px=width,
            height_px=height,
            center=(-left / width, -top / height),
            aspect=1.0,
            distortion=Distortion(),
        )
        # The pixel whose centre is to the upper left of a position, and the position's offset from that centre.
        corner = np.floor(places - 0.5)
        self._beyond = (places - 0.5 - corner).astype(np.float32)
        self._column, self._row = (corner - (left, top)).astype(np.int64).transpose(2, 0, 1)
        nearest = np.floor(places).astype(np.int64) - (left, top)
        self._nearest = nearest[..., 1], nearest[..., 0]

    def source(self, window: Window) -> Window:
        """Return the part of the pinhole image that a window of the image is interpolated from."""
        if not window.pixels:
            return NOWHERE
        columns, rows = self._column[window.slices], self._row[window.slices]
        return Window(int(columns.min()), int(rows.min()), int(columns.max()) + 2, int(rows.max()) + 2)

    def image(self, pinhole: np.ndarray, window: Window) -> np.ndarray:
        """Return a window of the image.

        Args:
            pinhole: [h, w, 3] float32, the part of the pinhole image given by `source`.
        """
        source = self.source(window)
        columns, rows = self._column[window.slices] - source.left, self._row[window.slices] - source.top
        x, y = self._beyond[window.slices][..., :1], self._beyond[window.slices][..., 1:]
        above = (1 - x) * pinhole[rows, columns] + x * pinhole[rows, columns + 1]
        below = (1 - x) * pinhole[rows + 1, columns] + x * pinhole[rows + 1, columns + 1]
        result: np.ndarray = (1 - y) * above + y * below
        return result

    def nearest(self, pinhole: np.ndarray) -> np.ndarray:
        """Return labels of the image from the nearest pixels of the whole pinhole image [h, w, ...]."""
        return pinhole[self._nearest]


def lens_map(view: CameraView, field: str, frame: PinholeFrame | None = None) -> LensMap | None:
    """Return the map of a view's lens; None if the renderer's camera needs no lens."""
    if view.is_pinhole or not view.perspective or not math.isfinite(view.focal_px):
        return None
    return LensMap(view, field, frame)


def pinhole_frame(view: CameraView) -> PinholeFrame | None:
    """Return the frame for an unperturbed perspective view and its probes; None if a pixel shows nothing."""
    places = _places(view)
    if np.isnan(places).any():
        return None
    left, top, right, bottom = _bounds(places)
    return left - _MARGIN_PX, top - _MARGIN_PX, right + _MARGIN_PX, bottom + _MARGIN_PX


def _places(view: CameraView) -> np.ndarray:
    """Return each pixel's position in the pinhole image, [h, w, 2] in pixels from the optical axis."""
    columns, rows = np.meshgrid(np.arange(view.width_px) + 0.5, np.arange(view.height_px) + 0.5)
    places: np.ndarray = view.undistorted(np.stack((columns, rows), axis=2)) * view.focal_px
    return places


def _bounds(places: np.ndarray) -> PinholeFrame:
    """Return the frame around positions, padded by one pixel so that every pixel has four neighbours."""
    low, high = np.floor(places.min((0, 1))), np.floor(places.max((0, 1)))
    return int(low[0]) - 1, int(low[1]) - 1, int(high[0]) + 2, int(high[1]) + 2
