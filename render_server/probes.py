"""Columns of the Jacobian: which scenes to render for them, and how their difference travels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from metasim.tensors import tensor_to_proto
from metasim.v1 import render_pb2 as pb
from metasim.v1 import scene_pb2

from render_server.errors import InvalidTask
from render_server.scene_graph import ANGLES, SceneGraph, missing_attribute, natural_range


@dataclass(frozen=True)
class Probe:
    """Two renders whose difference over `span` is a column. None stands for the unperturbed scene."""

    node: int
    attribute: scene_pb2.Attribute.ValueType
    lower: float | None
    upper: float | None
    span: float  # Upper minus lower value, in the attribute's unit, > 0

    def lower_graph(self, graph: SceneGraph) -> SceneGraph | None:
        """The scene at the lower value; None for the unperturbed one."""
        return None if self.lower is None else graph.with_value(self.node, self.attribute, self.lower)

    def upper_graph(self, graph: SceneGraph) -> SceneGraph | None:
        """The scene at the upper value; None for the unperturbed one."""
        return None if self.upper is None else graph.with_value(self.node, self.attribute, self.upper)


def plan_probes(graph: SceneGraph, columns: Sequence[pb.Column]) -> list[Probe]:
    """One probe per column: central differences, one-sided where a step would leave the attribute's range.

    Raises:
        InvalidTask: unknown node, an attribute that it lacks, a value outside the range, or no step that fits.
    """
    return [_plan(graph, column, f"columns[{index}]") for index, column in enumerate(columns)]


def _plan(graph: SceneGraph, column: pb.Column, field: str) -> Probe:
    node = graph.index(column.node)
    if node is None:
        raise InvalidTask(f"{field}.node", repr(column.node), "it must be the id of a node of the scene")
    value = graph.value(node, column.attribute)
    if value is None:
        raise missing_attribute(f"{field}.attribute", graph.nodes[node], column.attribute)
    step = column.step
    if not (step > 0 and math.isfinite(step)):
        raise InvalidTask(f"{field}.step", step, "it must be finite and > 0")

    low = column.minimum if column.HasField("minimum") else -math.inf
    high = column.maximum if column.HasField("maximum") else math.inf
    at = value
    if column.attribute in ANGLES:
        if high - low >= 360.0:
            low, high = -math.inf, math.inf
        elif math.isfinite(low):
            at = low + (value - low) % 360.0
        elif math.isfinite(high):
            at = high - (high - value) % 360.0
    if not low <= at <= high:
        name = f"{_name(column)} of node {column.node!r}"
        raise InvalidTask(f"{field}: {name}", f"{value:g}", f"it must lie in the column's range [{low:g}, {high:g}]")

    natural_low, natural_high, open_ended = natural_range(graph.nodes[node], column.attribute)

    def fits(candidate: float) -> bool:
        inside = natural_low < candidate < natural_high if open_ended else natural_low <= candidate <= natural_high
        return inside and low <= candidate <= high

    lower = value - step if fits(at - step) else None
    upper = value + step if fits(at + step) else None
    if lower is None and upper is None:
        low, high = max(low, natural_low), min(high, natural_high)
        raise InvalidTask(
            f"{field}.step", f"{step:g}", f"a step from {value:g} to one side at least must stay in [{low:g}, {high:g}]"
        )
    span = (value if upper is None else upper) - (value if lower is None else lower)
    if span <= 0:
        raise InvalidTask(f"{field}.step", f"{step:g}", f"it must be large enough to change the value {value:g}")
    return Probe(node=node, attribute=column.attribute, lower=lower, upper=upper, span=span)


def _name(column: pb.Column) -> str:
    """The attribute's name for error texts, e.g. `yaw`."""
    return scene_pb2.Attribute.Name(column.attribute).removeprefix("ATTRIBUTE_").lower()


def column_result(difference: np.ndarray, span: float, *, left_px: int = 0, top_px: int = 0) -> pb.ColumnResult:
    """Packs a difference image, trimmed to the bounding box of its non-zero pixels.

    Args:
        difference: [height, width, 3] float32, display values at the upper minus at the lower value; one channel
            instead of three if all are the same.
        span: upper minus lower value.
        left_px, top_px: where the array lies in the image.
    """
    half = difference.astype(np.float16)
    height, width, channels = half.shape
    rows = half.reshape(height, width * channels).any(axis=1).nonzero()[0]
    if len(rows) == 0:
        return pb.ColumnResult(
            region=pb.Rectangle(), difference=tensor_to_proto(np.zeros((0, 0, 3), np.float16), compress=True), span=span
        )
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    columns = half[top:bottom].reshape(bottom - top, width * channels).any(axis=0).nonzero()[0] // channels
    left, right = int(columns[0]), int(columns[-1]) + 1
    region = pb.Rectangle(x_px=left_px + left, y_px=top_px + top, width_px=right - left, height_px=bottom - top)
    part = half[top:bottom, left:right]
    if channels == 1:
        part = np.repeat(part, 3, axis=2)
    return pb.ColumnResult(region=region, difference=tensor_to_proto(part, compress=True), span=span)
