"""Checks of the columns of the Jacobian."""

import math

import numpy as np
from metasim.tensors import tensor_from_proto, tensor_to_proto
from metasim.v1 import render_pb2 as pb
from metasim.v1 import scene_pb2

from trainer.checks.conformance import Rule, Worker
from trainer.checks.endpoint_tasks import (
    demand,
    good,
    image_of,
)

#: Half precision rounds a difference by up to 2^-12; coordinates add their noise.
_DIFFERENCE = 1e-3


def _column_task(worker: Worker, **probes: object) -> pb.RenderTask:
    task = good(worker, "columns")
    for attribute, step in (
        (scene_pb2.ATTRIBUTE_X, 0.5),
        (scene_pb2.ATTRIBUTE_YAW, 3.0),
        (scene_pb2.ATTRIBUTE_RED, 0.1),
    ):
        task.columns.add(node="thing", attribute=attribute, step=step)
    task.probes.CopyFrom(pb.ProbeSettings(**probes))  # type: ignore[arg-type]
    return task


def _difference(column: pb.ColumnResult) -> np.ndarray:
    """Return the difference in the whole frame of 32 x 32 pixels."""
    frame = np.zeros((32, 32, 3))
    part = tensor_from_proto(column.difference)
    demand(part.dtype == np.float16, f"the difference is {part.dtype}")
    region = column.region
    size = (round(region.height_px), round(region.width_px), 3)
    demand(part.shape == size, f"the difference has the shape {list(part.shape)} in a region of {list(size)}")
    top, left = round(region.y_px), round(region.x_px)
    frame[top : top + size[0], left : left + size[1]] = part
    return frame


def _moved(worker: Worker, attribute: int, delta: float) -> np.ndarray:
    task = good(worker)
    node = task.scene.nodes[1]
    if attribute == scene_pb2.ATTRIBUTE_X:
        node.transform.x_m += delta
    elif attribute == scene_pb2.ATTRIBUTE_YAW:
        node.transform.yaw_deg += delta
    else:
        node.sprite.tint.red += delta
    return image_of(worker, task).astype(np.float64)


def _check_difference(worker: Worker, *, begin: float, difference: "pb.Difference.ValueType") -> None:
    task = _column_task(worker, difference=difference)
    result = worker.render(task)
    demand(len(result.columns) == len(task.columns), f"there are {len(result.columns)} results for 3 columns")
    for asked, column in zip(task.columns, result.columns, strict=True):
        name = scene_pb2.Attribute.Name(asked.attribute)
        span = (1 - begin) * asked.step
        demand(math.isclose(column.span, span, rel_tol=1e-6), f"the span of {name} is {column.span}; it must be {span}")
        expected = _moved(worker, asked.attribute, asked.step) - _moved(worker, asked.attribute, begin * asked.step)
        worst = float(np.abs(_difference(column) - expected).max())
        demand(worst < _DIFFERENCE, f"the column of {name} differs by {worst:.3g} from renders of moved scenes")


def central(worker: Worker) -> None:
    _check_difference(worker, begin=-1, difference=pb.DIFFERENCE_CENTRAL)


def forward(worker: Worker) -> None:
    _check_difference(worker, begin=0, difference=pb.DIFFERENCE_FORWARD)


def column_range(worker: Worker) -> None:
    for difference in (pb.DIFFERENCE_CENTRAL, pb.DIFFERENCE_FORWARD):
        task = _column_task(worker, difference=difference)
        del task.columns[1:]
        task.columns[0].minimum, task.columns[0].maximum = 0.0, 3.2
        span = worker.render(task).columns[0].span
        central = difference == pb.DIFFERENCE_CENTRAL
        # x is 3: the step of 0.5 upwards leaves the range.
        demand(math.isclose(span, 0.5 if central else -0.5, rel_tol=1e-6), f"the span at the end of a range is {span}")


def chosen_step(worker: Worker) -> None:
    task = _column_task(worker)
    for column in task.columns:
        column.step = 0
    spans = [column.span for column in worker.render(task).columns]
    for span in spans:
        demand(span > 0 and math.isfinite(span), f"the span of a chosen step is {span}")
    x = spans[0]
    demand(0.2 < x < 5, f"a chosen step moves an object by {x} pixels in all")


def products(worker: Worker) -> None:
    gradient = np.random.default_rng(0).normal(size=(32, 32, 3)).astype(np.float32)
    plain = worker.render(_column_task(worker))
    task = _column_task(worker)
    task.image_gradient.CopyFrom(tensor_to_proto(gradient, compress=True))
    for column, product in zip(plain.columns, worker.render(task).columns, strict=True):
        difference = _difference(column)
        expected = float((gradient * difference).sum()) / column.span
        scale = float(np.linalg.norm(gradient) * np.linalg.norm(difference) / abs(column.span))
        demand(not product.HasField("difference"), "a column with an image gradient has a difference")
        demand(
            abs(product.product - expected) <= 1e-3 * scale + 1e-9,
            f"a product is {product.product}; it must be {expected}",
        )


def audits(worker: Worker) -> None:
    task = _column_task(worker)
    task.columns[0].audit = True
    first, second, _ = worker.render(task).columns
    demand(first.HasField("audit") and not second.HasField("audit"), "the audit is not of the column that asks for it")
    norm = float(np.linalg.norm(_difference(first)))
    demand(math.isclose(first.audit.frame_norm, norm, rel_tol=0.01), "the audit's norm is not that of the difference")


def full_frame(worker: Worker) -> None:
    regions, frames = (worker.render(_column_task(worker, full_frame=value)) for value in (False, True))
    for region, frame in zip(regions.columns, frames.columns, strict=True):
        worst = float(np.abs(_difference(region) - _difference(frame)).max())
        demand(worst < _DIFFERENCE, f"a column in its region differs by {worst:.3g} from the whole frame")


#: The checks, in the order in which they run.
RULES: tuple[Rule, ...] = (
    Rule("central", "central differences are those of renders of moved scenes", central),
    Rule("forward", "forward differences are those of renders of moved scenes", forward),
    Rule("column-range", "a step that would leave the range is not taken", column_range),
    Rule("column-step", "a step of 0 is chosen by the worker", chosen_step),
    Rule("products", "with an image gradient a column returns its product with the difference", products),
    Rule("audit", "an audited column compares its region with the whole frame", audits),
    Rule("full-frame", "the region of a flat scene holds all that changes", full_frame),
)
