"""The renderer R as one differentiable operation: values of mutable attributes in, images out.

Forward renders the scenes and, with them, the columns of the Jacobian by central differences; backward applies it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from metasim.tensors import tensor_from_proto
from metasim.v1 import render_pb2 as pb
from torch import Tensor

from trainer.encoding import with_values
from trainer.grammar import AssetRef, AttributeSpec, Grammar, SceneGraph
from trainer.pool import RenderPool

#: Step of a probe to each side, as a fraction of the attribute's range, where the grammar states none.
DEFAULT_STEP = 0.01


def probe_step(spec: AttributeSpec) -> float:
    """Step of the central difference to each side, in the attribute's unit."""
    return spec.step if spec.step is not None else DEFAULT_STEP * (spec.high - spec.low)


@dataclass(frozen=True)
class Frame:
    """A rendered scene: layers by `Output`, and the boxes of its objects."""

    layers: Mapping[int, np.ndarray]
    boxes: tuple[pb.Box, ...] = ()

    @property
    def image(self) -> np.ndarray:
        """[H, W, 3], uint8 or float32 in [0, 1], whichever was asked for."""
        return next(
            self.layers[output] for output in (pb.OUTPUT_IMAGE_U8, pb.OUTPUT_IMAGE_F32) if output in self.layers
        )


@dataclass(frozen=True)
class Column:
    """∂image/∂attribute where it is not zero."""

    top: int
    left: int
    derivative: np.ndarray  # float32 [h, w, 3], per unit of the attribute

    def dot(self, grad: np.ndarray) -> float:
        """Σ grad · derivative over all pixels, of grad [H, W, 3]."""
        height, width, _ = self.derivative.shape
        part = grad[self.top : self.top + height, self.left : self.left + width]
        return float(np.vdot(part, self.derivative))


class Renderer:
    """Renders scenes of one grammar (or of others with the same render settings) on a pool.

    Args:
        asset_hash: names the assets of scenes; default: the grammar's own.
        chunk: scenes in flight at once, so that memory stays bounded however many are asked for.
    """

    def __init__(
        self,
        pool: RenderPool,
        grammar: Grammar,
        *,
        asset_hash: Callable[[AssetRef], str] | None = None,
        chunk: int = 512,
    ) -> None:
        self.pool = pool
        self.settings = grammar.render_settings()
        self._asset_hash = asset_hash or grammar.assets.hash_of
        self._chunk = chunk

    def render(
        self, scenes: Sequence[SceneGraph], seed: int, outputs: Sequence[int] = (pb.OUTPUT_IMAGE_U8,)
    ) -> list[Frame]:
        """One frame per scene. Scene i has the sampling noise of seed + i."""
        frames = []
        for first in range(0, len(scenes), self._chunk):
            tasks = [
                self._task(scene, first + i, seed, outputs)
                for i, scene in enumerate(scenes[first : first + self._chunk])
            ]
            frames += [_frame(result) for result in self.pool.render(tasks)]
        return frames

    def images(self, scenes: Sequence[SceneGraph], seed: int) -> np.ndarray:
        """8-bit images [N, H, W, 3]."""
        frames = self.render(scenes, seed)
        size = (self.settings.height_px, self.settings.width_px, 3)
        return np.stack([frame.image for frame in frames]) if frames else np.zeros((0, *size), dtype=np.uint8)

    def probe(self, scenes: Sequence[SceneGraph], seed: int) -> tuple[np.ndarray, list[list[Column]]]:
        """Float images [N, H, W, 3] and, per scene, the columns of its Jacobian in the order of `scene.mutable`."""
        tasks = [self._task(scene, i, seed, (pb.OUTPUT_IMAGE_F32,), _columns(scene)) for i, scene in enumerate(scenes)]
        results = self.pool.render(tasks)
        images = np.stack([_frame(result).image for result in results])
        return images, [[_column(column) for column in result.columns] for result in results]

    def differentiable(self, values: Tensor, scenes: Sequence[SceneGraph], seed: int) -> Tensor:
        """Images, float32 [N, 3, H, W], of scenes whose mutable attributes take `values`.

        Args:
            values: [M], scene after scene in the order of `scene.mutable`; the gradient flows back to them.
        """
        images: Tensor = _Render.apply(values, self, scenes, seed)
        return images

    def _task(
        self, scene: SceneGraph, index: int, seed: int, outputs: Sequence[int], columns: Sequence[pb.Column] = ()
    ) -> pb.RenderTask:
        return pb.RenderTask(
            id=f"{seed}/{index}",
            scene=scene.to_wire(self._asset_hash),
            settings=self.settings,
            seed=(seed + index) % 2**32,
            outputs=outputs,  # type: ignore[arg-type]
            columns=columns,
        )


class _Render(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        values: Tensor,
        renderer: Renderer,
        scenes: Sequence[SceneGraph],
        seed: int,
    ) -> Tensor:
        images, jacobians = renderer.probe(with_values(scenes, values), seed)
        ctx.jacobians = jacobians  # type: ignore[attr-defined]
        return torch.from_numpy(images).permute(0, 3, 1, 2).to(values.device)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> tuple[Tensor, None, None, None]:
        pixels = grad.permute(0, 2, 3, 1).contiguous().cpu().numpy()
        jacobians: list[list[Column]] = ctx.jacobians  # type: ignore[attr-defined]
        products = [column.dot(image) for image, columns in zip(pixels, jacobians, strict=True) for column in columns]
        return torch.tensor(products, dtype=grad.dtype, device=grad.device), None, None, None


def _columns(scene: SceneGraph) -> list[pb.Column]:
    columns = []
    for item in scene.mutable:
        column = pb.Column(node=scene.nodes[item.node].id, attribute=item.spec.attribute, step=probe_step(item.spec))
        if not item.spec.wraps:
            column.minimum, column.maximum = item.spec.low, item.spec.high
        columns.append(column)
    return columns


def _frame(result: pb.RenderResult) -> Frame:
    return Frame({layer.output: tensor_from_proto(layer.tensor) for layer in result.layers}, tuple(result.boxes))


def _column(column: pb.ColumnResult) -> Column:
    difference = tensor_from_proto(column.difference)
    return Column(
        top=round(column.region.y_px),
        left=round(column.region.x_px),
        derivative=difference.astype(np.float32) / np.float32(column.span),
    )
