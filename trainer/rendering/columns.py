"""Columns of the Jacobian: requests to workers, and their results."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from metasim.tensors import tensor_from_proto, tensor_to_proto
from metasim.v1 import render_pb2 as pb
from metasim.v1 import tensor_pb2

from trainer.grammar import AttributeSpec, SceneGraph
from trainer.randomness import Purpose, generator
from trainer.rendering.probing import Probing

#: Longest step that is used, as a fraction of the range: it fits on one side of any value.
_LONGEST = 0.499


@dataclass(frozen=True)
class Column:
    """The difference of two images between which one attribute takes a step."""

    top: int
    left: int
    difference: np.ndarray  # float16 [h, w, 3], display values; zero elsewhere
    span: float  # Of the attribute, in its unit

    @property
    def derivative(self) -> np.ndarray:
        """∂image/∂attribute in its rectangle, float32 [h, w, 3]."""
        return self.difference.astype(np.float32) / np.float32(self.span)

    def dot(self, gradient: np.ndarray) -> float:
        """Return Σ gradient · derivative over all pixels, for a gradient [H, W, 3]."""
        height, width, _ = self.difference.shape
        part = gradient[self.top : self.top + height, self.left : self.left + width]
        # Not by BLAS, whose sums depend on the number of threads.
        return float(np.sum(part * self.difference.astype(np.float32), dtype=np.float64)) / self.span

    def in_frame(self, height: int, width: int) -> np.ndarray:
        """Return ∂image/∂attribute in the whole frame, float32 [height, width, 3]."""
        frame = np.zeros((height, width, 3), np.float32)
        rows, columns, _ = self.difference.shape
        frame[self.top : self.top + rows, self.left : self.left + columns] = self.derivative
        return frame


@dataclass(frozen=True)
class SceneColumns:
    """The columns of one scene that are probed.

    Attributes:
        indices: index in `scene.mutable` of each column.
        wire: each column as the worker is asked for it.
    """

    indices: tuple[int, ...]
    wire: tuple[pb.Column, ...]

    def __len__(self) -> int:
        return len(self.indices)

    def subset(self, positions: Sequence[int]) -> "SceneColumns":
        """Return the columns at these positions, in this order."""
        return SceneColumns(tuple(self.indices[k] for k in positions), tuple(self.wire[k] for k in positions))


def plan_columns(
    scenes: Sequence[SceneGraph], probing: Probing, seed: int, only: Collection[tuple[str, str]] | None = None
) -> list[SceneColumns]:
    """Return each scene's columns; `seed` decides which of them are audited.

    Args:
        only: kind and name of the attributes that are probed; default: all.
    """
    rng = generator(seed, Purpose.PROBES)
    plan = []
    for scene in scenes:
        audited = rng.random(len(scene.mutable)) < probing.audit
        indices = [
            index
            for index, item in enumerate(scene.mutable)
            if only is None or (scene.nodes[item.node].kind, item.name) in only
        ]
        wire = tuple(_wire(scene, index, audit=bool(audited[index])) for index in indices)
        plan.append(SceneColumns(tuple(indices), wire))
    return plan


def column_from_wire(column: pb.ColumnResult) -> Column:
    """Return a column of a result."""
    return Column(
        top=round(column.region.y_px),
        left=round(column.region.x_px),
        difference=tensor_from_proto(column.difference),
        span=column.span,
    )


def pack_gradient(gradient: np.ndarray) -> tuple[tensor_pb2.Tensor, float]:
    """Return ∂loss/∂image [H, W, 3] in half precision, and the power of two by which it was multiplied to fit.

    Half precision keeps 11 bits of all values down to 2^-28 of the largest.

    Args:
        gradient: finite and not zero everywhere.
    """
    scale = 2.0 ** (14 - int(np.floor(np.log2(np.abs(gradient).max()))))
    return tensor_to_proto((gradient.astype(np.float64) * scale).astype(np.float16), compress=True), scale


def _wire(scene: SceneGraph, index: int, *, audit: bool) -> pb.Column:
    item = scene.mutable[index]
    column = pb.Column(
        node=scene.nodes[item.node].id, attribute=item.spec.attribute, step=_step(item.spec), audit=audit
    )
    if not item.spec.wraps:
        column.minimum, column.maximum = item.spec.low, item.spec.high
    return column


def _step(spec: AttributeSpec) -> float:
    """Return the grammar's step to each side; 0 if it states none: then the worker chooses half a pixel."""
    if spec.step is None:
        return 0.0
    return spec.step if spec.wraps else min(spec.step, _LONGEST * (spec.high - spec.low))
