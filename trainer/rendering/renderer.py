"""The renderer R as one differentiable operation: from values of mutable attributes to images.

The forward pass renders the scenes. Either it also returns the columns of the Jacobian, or the backward pass asks the
workers for their products with the gradient of the loss; see `Probing`.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from metasim.tensors import tensor_from_proto
from metasim.v1 import render_pb2 as pb
from metasim.v1 import scene_pb2, tensor_pb2
from torch import Tensor

from trainer.errors import InputError, MetasimError, TaskRefused
from trainer.grammar import AssetRef, Grammar, SceneGraph
from trainer.model.encoding import with_values
from trainer.pool import RenderPool
from trainer.pool.result_cache import ResultCache
from trainer.rendering.audits import Audits
from trainer.rendering.columns import Column, SceneColumns, column_from_wire, pack_gradient, plan_columns
from trainer.rendering.probing import Probing

_DEFAULT = Probing()


@dataclass(frozen=True)
class Frame:
    """A rendered scene: layers by `Output`, the boxes of its objects, and layers that are image files."""

    layers: Mapping[int, np.ndarray]
    boxes: tuple[pb.Box, ...] = ()
    files: Mapping[int, bytes] = field(default_factory=dict)
    #: Of nodes that have settled.
    poses: tuple[pb.Pose, ...] = ()

    @property
    def image(self) -> np.ndarray:
        """[H, W, 3], uint8 or float32 in [0, 1], whichever was asked for."""
        return next(
            self.layers[output] for output in (pb.OUTPUT_IMAGE_U8, pb.OUTPUT_IMAGE_F32) if output in self.layers
        )


class Renderer:
    """Renders scenes of one grammar (or of others with the same render settings) on a pool.

    Args:
        asset_hash: returns the content hash of an asset; default: that of the grammar.
        chunk: number of scenes that are rendered at once, which bounds the memory.
        cache: keeps the results of `render_wires` on disk.

    Attributes:
        audits: audits of columns.
    """

    def __init__(
        self,
        pool: RenderPool,
        grammar: Grammar,
        *,
        asset_hash: Callable[[AssetRef], str] | None = None,
        chunk: int = 512,
        cache: ResultCache | None = None,
    ) -> None:
        self.pool = pool
        self.settings = grammar.render_settings()
        self.audits = Audits()
        self._grammar = grammar
        self._asset_hash = asset_hash or grammar.assets.hash_of
        self._chunk = chunk
        self._cache = cache

    def render(
        self,
        scenes: Sequence[SceneGraph],
        seed: int,
        outputs: Sequence[int] = (pb.OUTPUT_IMAGE_U8,),
        numbers: Sequence[int] | None = None,
    ) -> list[Frame]:
        """Return one frame per scene. The noise of scene i follows from seed + i, or from seed + numbers[i]."""
        frames: list[Frame] = []
        for first in range(0, len(scenes), self._chunk):
            part = range(first, min(first + self._chunk, len(scenes)))
            wires = [scenes[i].to_wire(self._asset_hash) for i in part]
            taken = part if numbers is None else numbers[part.start : part.stop]
            frames += self.render_wires(wires, seed, taken, outputs)
        return frames

    def render_wires(
        self,
        wires: Sequence[scene_pb2.Scene],
        seed: int,
        numbers: Sequence[int],
        outputs: Sequence[int],
        encodings: Sequence[pb.LayerEncoding] = (),
    ) -> list[Frame]:
        """Return one frame per scene. The noise of scene i follows from seed + numbers[i].

        Args:
            encodings: layers that come as image files.

        Raises:
            InputError: a worker does not encode images.
        """
        distinct = len(set(numbers)) == len(numbers)
        tasks = [
            pb.RenderTask(
                id=f"{seed}/{number}" if distinct else f"{seed}/{number}/{place}",
                scene=wire,
                settings=self.settings,
                seed=(seed + number) % 2**32,
                outputs=outputs,  # type: ignore[arg-type]
                encodings=encodings,
            )
            for place, (wire, number) in enumerate(zip(wires, numbers, strict=True))
        ]
        try:
            results = self._cache.render(self.pool, tasks) if self._cache else self.pool.render(tasks)
        except TaskRefused as error:
            raise self._by_file(error) from error
        frames = [_frame(result) for result in results]
        if any(encoding.output not in frame.files for frame in frames for encoding in encodings):
            raise InputError("a worker returns no image files, because it is too old for it; start a newer worker")
        return frames

    def _by_file(self, error: TaskRefused) -> MetasimError:
        """Return the error with hashes of assets replaced by their files."""
        text = str(error)
        for name, source in self._grammar.assets.sources(text).items():
            text = text.replace(name, source)
        return error if text == str(error) else InputError(text)

    def images(self, scenes: Sequence[SceneGraph], seed: int, *, numbers: Sequence[int] | None = None) -> np.ndarray:
        """Return 8-bit images [N, H, W, 3]."""
        frames = self.render(scenes, seed, numbers=numbers)
        return np.stack([frame.image for frame in frames]) if frames else np.zeros((0, *self._size), dtype=np.uint8)

    def float_images(self, scenes: Sequence[SceneGraph], seed: int) -> np.ndarray:
        """Return float32 images [N, H, W, 3]."""
        frames = self.render(scenes, seed, (pb.OUTPUT_IMAGE_F32,))
        return np.stack([frame.image for frame in frames]) if frames else np.zeros((0, *self._size), dtype=np.float32)

    def probe(
        self,
        scenes: Sequence[SceneGraph],
        seed: int,
        probing: Probing = _DEFAULT,
        plan: Sequence[SceneColumns] | None = None,
    ) -> tuple[np.ndarray, list[list[Column]]]:
        """Return float images [N, H, W, 3] and the columns of each scene, in the order of the plan.

        Args:
            plan: which columns are probed; default: `plan_columns(scenes, probing, seed)`.
        """
        return self._probe(scenes, seed, probing, plan_columns(scenes, probing, seed) if plan is None else plan)

    def products(
        self, scenes: Sequence[SceneGraph], seed: int, gradient: np.ndarray, probing: Probing = _DEFAULT
    ) -> list[list[float]]:
        """Return Σ gradient · ∂image/∂attribute, computed by the workers, for the columns of `plan_columns`.

        Args:
            gradient: [N, H, W, 3]. Scenes whose part is zero everywhere cost nothing.
        """
        return self._products(scenes, seed, gradient, probing, plan_columns(scenes, probing, seed))

    def differentiable(
        self,
        values: Tensor,
        scenes: Sequence[SceneGraph],
        seed: int,
        probing: Probing = _DEFAULT,
        probed: Collection[tuple[str, str]] | None = None,
    ) -> Tensor:
        """Return images, float32 [N, 3, H, W], of the scenes with their mutable attributes set to `values`.

        Without a gradient to compute, nothing is probed.

        Args:
            values: [M], scene after scene in the order of `scene.mutable`; the gradient flows back to them.
            probing: how the gradient is measured.
            probed: kind and name of the attributes that have a gradient; default: all.
        """
        if not (values.requires_grad and torch.is_grad_enabled()):
            return _to_torch(self.float_images(with_values(scenes, values), seed), values.device)
        images: Tensor = _Render.apply(values, self, scenes, seed, probing, probed)
        return images

    def _probe(
        self, scenes: Sequence[SceneGraph], seed: int, probing: Probing, plan: Sequence[SceneColumns]
    ) -> tuple[np.ndarray, list[list[Column]]]:
        frames: list[np.ndarray] = []
        jacobians: list[list[Column]] = []
        answers = self._probed(scenes, seed, probing, plan, outputs=(pb.OUTPUT_IMAGE_F32,))
        for scene, planned, results in zip(scenes, plan, answers, strict=True):
            frames.append(_frame(results[0]).image)
            jacobians.append([column_from_wire(column) for column in self._audited(scene, planned, results)])
        images = np.stack(frames) if frames else np.zeros((0, *self._size), dtype=np.float32)
        return images, jacobians

    def _products(
        self,
        scenes: Sequence[SceneGraph],
        seed: int,
        gradient: np.ndarray,
        probing: Probing,
        plan: Sequence[SceneColumns],
    ) -> list[list[float]]:
        products = [
            [0.0 if np.isfinite(part).all() else np.nan] * len(columns)
            for part, columns in zip(gradient, plan, strict=True)
        ]
        wanted = [
            index for index, part in enumerate(gradient) if len(plan[index]) and np.isfinite(part).all() and part.any()
        ]
        packed = {index: pack_gradient(gradient[index]) for index in wanted}
        answers = self._probed(
            [scenes[index] for index in wanted],
            seed,
            probing,
            [plan[index] for index in wanted],
            numbers=wanted,
            gradients=[packed[index][0] for index in wanted],
        )
        for index, results in zip(wanted, answers, strict=True):
            columns = self._audited(scenes[index], plan[index], results)
            products[index] = [column.product / packed[index][1] for column in columns]
        return products

    def _probed(
        self,
        scenes: Sequence[SceneGraph],
        seed: int,
        probing: Probing,
        plan: Sequence[SceneColumns],
        *,
        outputs: Sequence[int] = (),
        numbers: Sequence[int] | None = None,
        gradients: Sequence[tensor_pb2.Tensor] | None = None,
    ) -> list[list[pb.RenderResult]]:
        """Return the results of each scene's shards.

        Args:
            outputs: outputs of the first shard.
            numbers: index of each scene in the batch, from which its seed follows; default: as they come.
        """
        processes = self.pool.stats.processes_up
        tasks: list[pb.RenderTask] = []
        counts = []
        for index, (scene, columns) in enumerate(zip(scenes, plan, strict=True)):
            number = index if numbers is None else numbers[index]
            whole = self._task(scene, f"{seed}/{number}.0", seed + number, outputs)
            shards = probing.shards_of(len(columns), scenes=len(scenes), processes=processes)
            shards = shards if _has_depth(whole.scene) else 1
            counts.append(shards)
            for shard in range(shards):
                task = whole if shard == 0 else self._task(scene, f"{seed}/{number}.{shard}", seed + number, ())
                first, last = (len(columns) * end // shards for end in (shard, shard + 1))
                task.columns.extend(columns.wire[first:last])
                if len(columns):
                    task.probes.CopyFrom(probing.wire(last - first))
                if gradients is not None:
                    task.image_gradient.CopyFrom(gradients[index])
                tasks.append(task)
        results = iter(self.pool.render(tasks))
        return [[next(results) for _ in range(count)] for count in counts]

    def _audited(
        self, scene: SceneGraph, planned: SceneColumns, results: Sequence[pb.RenderResult]
    ) -> list[pb.ColumnResult]:
        """Return the columns of all shards and count their audits."""
        columns = [column for result in results for column in result.columns]
        for index, column in zip(planned.indices, columns, strict=True):
            if column.HasField("audit"):
                item = scene.mutable[index]
                self.audits.add(f"{scene.nodes[item.node].kind}.{item.name}", column.audit)
        return columns

    @property
    def _size(self) -> tuple[int, int, int]:
        return self.settings.height_px, self.settings.width_px, 3

    def _task(self, scene: SceneGraph, task_id: str, seed: int, outputs: Sequence[int]) -> pb.RenderTask:
        return pb.RenderTask(
            id=task_id,
            scene=scene.to_wire(self._asset_hash),
            settings=self.settings,
            seed=seed % 2**32,
            outputs=outputs,  # type: ignore[arg-type]
        )


class _Render(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        values: Tensor,
        renderer: Renderer,
        scenes: Sequence[SceneGraph],
        seed: int,
        probing: Probing,
        probed: Collection[tuple[str, str]] | None,
    ) -> Tensor:
        changed = with_values(scenes, values)
        plan = plan_columns(changed, probing, seed, probed)
        jacobians = None
        if probing.keeps_differences(renderer.settings, [len(columns) for columns in plan]):
            images, jacobians = renderer._probe(changed, seed, probing, plan)
        else:
            images = renderer.float_images(changed, seed)
        ctx.needed = renderer, changed, seed, probing, plan, jacobians  # type: ignore[attr-defined]
        return _to_torch(images, values.device)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> tuple[Tensor, None, None, None, None, None]:
        renderer, scenes, seed, probing, plan, jacobians = ctx.needed  # type: ignore[attr-defined]
        pixels = grad.permute(0, 2, 3, 1).contiguous().cpu().numpy()
        if jacobians is None:
            products = renderer._products(scenes, seed, pixels, probing, plan)
        else:
            products = [
                [column.dot(image) for column in columns] for image, columns in zip(pixels, jacobians, strict=True)
            ]
        gradient = torch.zeros(sum(len(scene.mutable) for scene in scenes), dtype=torch.float64)
        first = 0
        for scene, columns, numbers in zip(scenes, plan, products, strict=True):
            indices = torch.tensor(columns.indices, dtype=torch.int64) + first
            gradient[indices] = torch.tensor(numbers, dtype=torch.float64)
            first += len(scene.mutable)
        return gradient.to(grad), None, None, None, None, None


def _to_torch(images: np.ndarray, device: torch.device) -> Tensor:
    """Return images [N, H, W, 3] as [N, 3, H, W]."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).to(device)


def _frame(result: pb.RenderResult) -> Frame:
    layers: dict[int, np.ndarray] = {}
    files: dict[int, bytes] = {}
    for layer in result.layers:
        if layer.file:
            files[layer.output] = layer.file
        else:
            layers[layer.output] = tensor_from_proto(layer.tensor)
    return Frame(layers, tuple(result.boxes), files, tuple(result.poses))


def _has_depth(scene: scene_pb2.Scene) -> bool:
    """Return whether the scene is more than sprites in front of an orthographic camera.

    Blender renders all columns of a flat scene in one image, and their rounding depends on their position in it: only
    the same set of columns gives the same bits. So the columns of flat scenes are not split; they are cheap anyway.
    """
    return any(
        node.HasField("mesh") or node.HasField("light") or node.camera.HasField("perspective") for node in scene.nodes
    )
