"""Encoding of columns: trimmed differences, or the products of differences with the gradient of a loss."""

import numpy as np
from metasim.tensors import tensor_from_proto, tensor_to_proto
from metasim.v1 import render_pb2 as pb

from render_server.errors import InvalidTask
from render_server.jacobian.probes import Probe


class ColumnResults:
    """Collects the results of a task's columns.

    Raises:
        InvalidTask: the image gradient cannot be read or does not fit the image.
    """

    def __init__(self, task: pb.RenderTask) -> None:
        self._gradient = image_gradient(task)
        self._results = [pb.ColumnResult() for _ in task.columns]

    def add(
        self,
        probe: Probe,
        difference: np.ndarray,
        *,
        left_px: int = 0,
        top_px: int = 0,
        samples: int = 0,
        frame: np.ndarray | None = None,
    ) -> None:
        """Record the result of a probe.

        Args:
            difference: [h, w, 3] float32, display values at the end of the step minus at its beginning; one channel
                if all three are the same.
            left_px, top_px: its position in the image.
            samples: number of samples taken.
            frame: the same difference of the whole frame, [height, width, 3], for an audit.
        """
        result = self._results[probe.column]
        result.samples, result.span = samples, probe.span
        if self._gradient is None:
            top, bottom, left, right, half = _trimmed(difference)
            _place(result.region, left_px + left, top_px + top, right - left, bottom - top)
            result.difference.CopyFrom(tensor_to_proto(half, compress=True))
        else:
            height, width = difference.shape[:2]
            _place(result.region, left_px, top_px, width, height)
            window = self._gradient[top_px : top_px + height, left_px : left_px + width]
            result.product = float(np.sum(window * difference, dtype=np.float64)) / probe.span
        if frame is not None:
            _audit(result.audit, difference, frame, left_px, top_px)

    def add_product(self, probe: Probe, product: float, frame: np.ndarray | None = None) -> None:
        """Record a product with the image gradient computed in screen space.

        Args:
            frame: the difference of the whole frame, [height, width, 3], for an audit.
        """
        result = self._results[probe.column]
        result.span, result.product, result.screen_space = probe.span, product, True
        _place(result.region, 0, 0, 0, 0)
        if frame is not None and self._gradient is not None:
            exact = float(np.sum(self._gradient * frame, dtype=np.float64))
            found = product * probe.span
            result.audit.region_norm, result.audit.frame_norm = abs(found), abs(exact)
            result.audit.product = found * exact

    def in_order(self) -> list[pb.ColumnResult]:
        """Return one result per column of the task."""
        return self._results


def image_gradient(task: pb.RenderTask) -> np.ndarray | None:
    """Return the task's ∂loss/∂image, float32 [height, width, 3]; None if it has none.

    Raises:
        InvalidTask: its tensor cannot be read, has another shape or element type, or is not finite.
    """
    if not task.HasField("image_gradient"):
        return None
    expected = (task.settings.height_px, task.settings.width_px, 3)
    try:
        gradient = tensor_from_proto(task.image_gradient, max_bytes=4 * expected[0] * expected[1] * 3)
    except ValueError as error:
        raise InvalidTask("image_gradient", f"a broken tensor ({error})", "it must hold a gradient") from error
    if gradient.shape != expected or gradient.dtype.kind != "f":
        raise InvalidTask(
            "image_gradient",
            f"{gradient.dtype} {list(gradient.shape)}",
            f"it must be float32 or float16 {list(expected)}",
        )
    if not np.isfinite(gradient).all():
        raise InvalidTask("image_gradient", "not finite everywhere", "every value must be finite")
    return gradient.astype(np.float32)


def _trimmed(difference: np.ndarray) -> tuple[int, int, int, int, np.ndarray]:
    """Return (top, bottom, left, right) around the pixels that are not 0 in half precision, and these [h, w, 3]."""
    half = difference.astype(np.float16)
    height, width, channels = half.shape
    # Ignore the sign bit, because -0 is 0.
    bits = (half.view(np.uint16) << 1).reshape(height, width * channels)
    rows = np.bitwise_or.reduce(bits, axis=1).nonzero()[0]
    if len(rows) == 0:
        return 0, 0, 0, 0, np.zeros((0, 0, 3), np.float16)
    columns = np.bitwise_or.reduce(bits, axis=0).nonzero()[0]
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    left, right = int(columns[0]) // channels, int(columns[-1]) // channels + 1
    part = half[top:bottom, left:right]
    return top, bottom, left, right, np.repeat(part, 3, axis=2) if channels == 1 else part


def _place(region: pb.Rectangle, left: int, top: int, width: int, height: int) -> None:
    region.SetInParent()
    if width and height:
        region.x_px, region.y_px, region.width_px, region.height_px = left, top, width, height


def _audit(audit: pb.Audit, region: np.ndarray, frame: np.ndarray, left: int, top: int) -> None:
    height, width = region.shape[:2]
    window = frame[top : top + height, left : left + width]
    region = np.broadcast_to(region, window.shape)
    audit.region_norm = float(np.linalg.norm(region.astype(np.float64)))
    audit.frame_norm = float(np.linalg.norm(frame.astype(np.float64)))
    audit.product = float(np.sum(window * region, dtype=np.float64))
