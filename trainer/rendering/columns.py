"""Columns of the Jacobian as the trainer asks for them and as it uses them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from metasim.tensors import tensor_from_proto, tensor_to_proto
from metasim.v1 import render_pb2 as pb
from metasim.v1 import tensor_pb2

from trainer.grammar import AttributeSpec, SceneGraph
from trainer.randomness import Purpose, generator
from trainer.rendering.probing import Probing

#: Longest step that a grammar may state, as a fraction of the range: such a one fits on one side of any value.
_LONGEST = 0.499


@dataclass(frozen=True)
class Column:
    """A difference of images that the step of one attribute made; with simultaneous perturbation, of all attributes."""

    top: int
    left: int
    difference: np.ndarray  # float16 [h, w, 3], display values; zero elsewhere
    span: float  # Of the attribute, in its unit

    @property
    def derivative(self) -> np.ndarray:
        """∂image/∂attribute in its rectangle, float32 [h, w, 3]."""
        return self.difference.astype(np.float32) / np.float32(self.span)

    def dot(self, gradient: np.ndarray) -> float:
        """Σ gradient · derivative over all pixels, of a gradient [H, W, 3]."""
        height, width, _ = self.difference.shape
        part = gradient[self.top : self.top + height, self.left : self.left + width]
        # No BLAS: its sums depend on the number of threads.
        return float(np.sum(part * self.difference.astype(np.float32), dtype=np.float64)) / self.span

    def in_frame(self, height: int, width: int) -> np.ndarray:
        """∂image/∂attribute of the whole frame, float32 [height, width, 3]."""
        frame = np.zeros((height, width, 3), np.float32)
        rows, columns, _ = self.difference.shape
        frame[self.top : self.top + rows, self.left : self.left + columns] = self.derivative
        return frame


@dataclass(frozen=True)
class SceneColumns:
    """The columns of one scene that are probed.

    Attributes:
        places: of each, its index in `scene.mutable`.
        wire: of each, what the worker is asked for.
    """

    places: tuple[int, ...]
    wire: tuple[pb.Column, ...]

    def __len__(self) -> int:
        return len(self.places)


@dataclass(frozen=True)
class Plan:
    """What is probed of a batch of scenes.

    Attributes:
        scenes: a `SceneColumns` each.
        weight: by which derivatives are multiplied: one over the probability that a column is among them.
    """

    scenes: tuple[SceneColumns, ...]
    weight: float


def plan_columns(
    scenes: Sequence[SceneGraph], probing: Probing, seed: int, only: Collection[tuple[str, str]] | None = None
) -> Plan:
    """Chooses columns, signs and audits: a function of the arguments alone.

    Args:
        only: kind and name of the attributes that are probed; default: all.
    """
    rng = generator(seed, Purpose.PROBES)
    probed = np.array(
        [
            only is None or (scene.nodes[item.node].kind, item.name) in only
            for scene in scenes
            for item in scene.mutable
        ],
        dtype=bool,
    )
    total, wanted = len(probed), np.flatnonzero(probed)
    count = len(wanted)
    if probing.columns < 1 and count:
        count = max(1, round(probing.columns * len(wanted)))
        probed[rng.permutation(wanted)[count:]] = False
    backward = rng.random(total) < 0.5 if probing.difference == "spsa" else np.zeros(total, dtype=bool)
    audited = rng.random(total) < probing.audit
    plans, first = [], 0
    for scene in scenes:
        places = [place for place in range(len(scene.mutable)) if probed[first + place]]
        wire = [
            _wire(scene, place, backward=bool(backward[first + place]), audit=bool(audited[first + place]))
            for place in places
        ]
        if probing.difference == "spsa":
            for column in wire[1:]:  # One probe for all: the first speaks for them.
                column.audit = False
        plans.append(SceneColumns(tuple(places), tuple(wire)))
        first += len(scene.mutable)
    return Plan(tuple(plans), len(wanted) / count if count else 1.0)


def column_from_wire(column: pb.ColumnResult, shared: np.ndarray | None = None) -> Column:
    """A column of a result.

    Args:
        shared: the difference of the first column, where that stands for all.
    """
    return Column(
        top=round(column.region.y_px),
        left=round(column.region.x_px),
        difference=tensor_from_proto(column.difference) if shared is None else shared,
        span=column.span,
    )


def pack_gradient(gradient: np.ndarray) -> tuple[tensor_pb2.Tensor, float]:
    """∂loss/∂image [H, W, 3] in half precision, and the power of two that it was multiplied with to fit into it.

    Half precision keeps 11 bits of everything down to 2^-28 of the largest value.

    Args:
        gradient: finite and not zero everywhere.
    """
    scale = 2.0 ** (14 - int(np.floor(np.log2(np.abs(gradient).max()))))
    return tensor_to_proto((gradient.astype(np.float64) * scale).astype(np.float16), compress=True), scale


def _wire(scene: SceneGraph, place: int, *, backward: bool, audit: bool) -> pb.Column:
    item = scene.mutable[place]
    column = pb.Column(
        node=scene.nodes[item.node].id,
        attribute=item.spec.attribute,
        step=_step(item.spec),
        backward=backward,
        audit=audit,
    )
    if not item.spec.wraps:
        column.minimum, column.maximum = item.spec.low, item.spec.high
    return column


def _step(spec: AttributeSpec) -> float:
    """The grammar's step to each side; 0, where it states none, leaves it to the worker: half a pixel of motion."""
    if spec.step is None:
        return 0.0
    return spec.step if spec.wraps else min(spec.step, _LONGEST * (spec.high - spec.low))
