"""The scenes to render for the columns of the Jacobian."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from metasim.v1 import render_pb2 as pb
from metasim.v1 import scene_pb2

from render_server.errors import InvalidTask
from render_server.scene.attribute_range import StepRange, step_range
from render_server.scene.scene_graph import SceneGraph

#: Chooses the default step of a column, in the attribute's unit, > 0; see `steps.py`.
StepRule = Callable[[int, scene_pb2.Attribute.ValueType], float]


@dataclass(frozen=True)
class Probe:
    """Two renders whose difference is one column.

    Attributes:
        column: index of the column in the task.
        begin, end: scenes at the beginning and at the end of the step; None stands for the unperturbed scene.
        span: value of the attribute at the end minus at the beginning. Not 0.
    """

    column: int
    begin: SceneGraph | None
    end: SceneGraph | None
    span: float

    @property
    def sides(self) -> tuple[SceneGraph | None, SceneGraph | None]:
        """(begin, end)"""
        return self.begin, self.end


def plan_probes(graph: SceneGraph, task: pb.RenderTask, step_rule: StepRule) -> list[Probe]:
    """Return the probe of each of the task's columns.

    Raises:
        InvalidTask: a node or attribute does not exist, a value is outside the range, or no step fits.
    """
    forward = task.probes.difference == pb.DIFFERENCE_FORWARD
    steps = [_ends(graph, index, column, step_rule, forward=forward) for index, column in enumerate(task.columns)]
    return [
        Probe(index, _at(graph, step, step.begin), _at(graph, step, step.end), step.span)
        for index, step in enumerate(steps)
    ]


def check_columns(graph: SceneGraph, columns: Sequence[pb.Column]) -> None:
    """Check a task like `plan_probes`, without choosing steps.

    Raises:
        InvalidTask: see `plan_probes`.
    """
    for index, column in enumerate(columns):
        _ends(graph, index, column, lambda *_: 0.0, forward=False)


@dataclass(frozen=True)
class _Step:
    """The step of one attribute: its values at the beginning and at the end; None stands for its value in the scene."""

    node: int
    attribute: scene_pb2.Attribute.ValueType
    begin: float | None
    end: float | None
    span: float


def _ends(graph: SceneGraph, index: int, column: pb.Column, step_rule: StepRule, *, forward: bool) -> _Step:
    field = f"columns[{index}]"
    allowed = step_range(graph, column, field)
    step = column.step or allowed.fitted(step_rule(allowed.node, column.attribute))
    value = allowed.value
    lower = value - step if allowed.below >= step else None
    upper = value + step if allowed.above >= step else None
    if lower is None and upper is None:
        raise _no_step_fits(allowed, step, field)
    begin, end = lower, upper
    if forward:
        begin, end = None, lower if upper is None else upper
    span = (value if end is None else end) - (value if begin is None else begin)
    if span == 0 and step > 0:
        raise InvalidTask(f"{field}.step", f"{step:g}", f"it must be large enough to change the value {value:g}")
    return _Step(allowed.node, column.attribute, begin, end, span)


def _at(graph: SceneGraph, step: _Step, value: float | None) -> SceneGraph | None:
    return None if value is None else graph.with_value(step.node, step.attribute, value)


def _no_step_fits(allowed: StepRange, step: float, field: str) -> InvalidTask:
    low, high = allowed.value - allowed.below, allowed.value + allowed.above
    return InvalidTask(
        f"{field}.step",
        f"{step:g}",
        f"a step from {allowed.value:g} to one side at least must stay in [{low:g}, {high:g}]",
    )
