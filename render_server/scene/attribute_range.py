"""The range in which a probe may move an attribute to either side of its value."""

import math
from dataclasses import dataclass

from metasim.v1 import render_pb2 as pb
from metasim.v1 import scene_pb2

from render_server.errors import InvalidTask
from render_server.scene.scene_graph import ANGLES, SceneGraph, missing_attribute, natural_range

#: Largest step that the worker chooses, as a fraction of the column's range.
_LARGEST_FRACTION = 0.05


@dataclass(frozen=True)
class StepRange:
    """An attribute of a node, and the distances from its value to the ends of its range.

    Attributes:
        below, above: longest step to either side, >= 0; infinite without an end.
    """

    node: int
    value: float
    below: float
    above: float

    def fitted(self, step: float) -> float:
        """Return a step of at most that length that is short against the range and fits on one side at least."""
        return min(step, _LARGEST_FRACTION * (self.below + self.above), max(self.below, self.above))


def step_range(graph: SceneGraph, column: pb.Column, field: str) -> StepRange:
    """Return the steps that the column's range and the limits of the field allow.

    Args:
        field: path of the column in the task, for error messages.

    Raises:
        InvalidTask: unknown node, an attribute that it lacks, a value outside the range, an invalid step, or an empty
            range.
    """
    node = graph.index(column.node)
    if node is None:
        raise InvalidTask(f"{field}.node", repr(column.node), "it must be the id of a node of the scene")
    value = graph.value(node, column.attribute)
    if value is None:
        raise missing_attribute(f"{field}.attribute", graph.nodes[node], column.attribute)
    if not (column.step >= 0 and math.isfinite(column.step)):
        raise InvalidTask(f"{field}.step", column.step, "it must be finite and >= 0; 0 leaves it to the worker")

    low = column.minimum if column.HasField("minimum") else -math.inf
    high = column.maximum if column.HasField("maximum") else math.inf
    at = value
    if column.attribute in ANGLES:
        if high - low >= 360.0:  # Also where an end is open.
            low, high = -math.inf, math.inf
        else:
            at = low + (value - low) % 360.0
    if not low <= at <= high:
        name = scene_pb2.Attribute.Name(column.attribute).removeprefix("ATTRIBUTE_").lower()
        raise InvalidTask(
            f"{field}: {name} of node {column.node!r}",
            f"{value:g}",
            f"it must lie in the column's range [{low:g}, {high:g}]",
        )
    if low == high and not column.step:
        raise InvalidTask(f"{field}.maximum", f"{high:g}", "it must lie above the minimum")

    natural_low, natural_high, open_ended = natural_range(graph.nodes[node], column.attribute)
    below, above = value - natural_low, natural_high - value
    if open_ended:  # The ends themselves cannot be reached.
        below, above = math.nextafter(below, 0.0), math.nextafter(above, 0.0)
    return StepRange(node=node, value=value, below=min(below, at - low), above=min(above, high - at))
