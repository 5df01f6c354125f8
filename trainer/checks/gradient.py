"""The shipped gradient against slow, trusted ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from metasim.v1 import render_pb2 as pb

from trainer.checks.blob_gradients import blob_jacobian
from trainer.errors import InputError
from trainer.experiments import load_experiment
from trainer.grammar import SceneGraph
from trainer.inference.training_settings import TrainingSettings
from trainer.pool import PoolOptions, open_pool
from trainer.progress import Advance, Progress, Silent
from trainer.randomness import Purpose, generator, integer, torch_generator
from trainer.rendering import Probing, Renderer
from trainer.rendering.agreement import Agreement
from trainer.rendering.audits import LARGEST_RATIO_ERROR, LEAST_COSINE
from trainer.rendering.columns import Column, SceneColumns, plan_columns

#: Samples of the reference, as a multiple of the shipped probes'.
FINER = 16
#: Bounds for a loss's gradient, which has the noise of the shipped samples in it.
LEAST_LOSS_COSINE = 0.95
LARGEST_LOSS_RATIO_ERROR = 0.1
#: Patches per side of the random image that is the loss's gradient.
_PATCHES = 5
#: Such images; the first is sent through the render operation, the others are multiplied with the same differences.
_LOSSES = 16


@dataclass(frozen=True)
class CheckOptions:
    """What `metasim check gradient` takes."""

    experiment: str
    scenes: int = 4
    #: Of the reference, per pixel; None: `FINER` times the shipped probes'.
    samples: int | None = None
    #: Fraction of the columns that are checked, drawn at random.
    columns: float = 1.0
    seed: int = 0
    mnist: Path | None = None
    overrides: Mapping[str, object] = field(default_factory=dict)
    pool: PoolOptions = field(default_factory=PoolOptions)


@dataclass
class AttributeCheck:
    """What was found about one mutable attribute of a kind of node.

    Attributes:
        region: shipped differences against those of the whole frame, at the same samples: what regions neglect.
        image: shipped differences against the reference's, pixel by pixel, noise included.
        loss: the shipped gradient of a smooth loss against the reference's.
        analytic: as `loss`, against the exact derivative, where the engine has one.
        spans: distances between both ends of the shipped differences, in the attribute's unit.
    """

    name: str
    unit: str
    region: Agreement | None = None
    image: Agreement = field(default_factory=Agreement)
    loss: Agreement = field(default_factory=Agreement)
    analytic: Agreement = field(default_factory=Agreement)
    spans: list[float] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether all is within bounds."""
        return (
            (self.region is None or self.region.within(LEAST_COSINE, LARGEST_RATIO_ERROR))
            and self.loss.within(LEAST_LOSS_COSINE, LARGEST_LOSS_RATIO_ERROR)
            and self.analytic.within(LEAST_LOSS_COSINE, LARGEST_LOSS_RATIO_ERROR)
        )

    def to_json(self) -> dict[str, Any]:
        """For the command line."""
        found: dict[str, Any] = {
            "attribute": self.name,
            "unit": self.unit,
            "columns": self.loss.count,
            "span": float(np.median(self.spans)),
        }
        for name in ("region", "image", "loss", "analytic"):
            agreement = getattr(self, name)
            if agreement is not None and agreement.count:
                found[name] = {"cosine": agreement.cosine, "norm_ratio": agreement.norm_ratio}
        return {**found, "good": self.good}


def check_gradient(options: CheckOptions, progress: Progress | None = None) -> dict[str, Any]:
    """Compares the gradient of the render operation, with the experiment's settings, with trusted ones.

    Returns:
        `experiment`, `engine`, `scenes`, `samples` (of the reference), `probing`, `bounds`, `attributes`, `good`.

    Raises:
        InputError: the experiment, a setting or the endpoint is wrong, or there is nothing to differentiate.
        RenderError: a scene could not be rendered.
    """
    progress = progress or Silent()
    experiment = load_experiment(options.experiment, options.overrides, mnist=options.mnist)
    for note in experiment.notes:
        progress.note(note)
    grammar = experiment.grammar
    shipped = replace(TrainingSettings.parse(experiment.training).probing, audit=0.0)
    scenes = [grammar.sample(generator(options.seed, Purpose.CHECK, i)) for i in range(options.scenes)]
    if not any(scene.mutable for scene in scenes):
        raise InputError(f"{experiment.path} has no mutable attribute in {len(scenes)} scenes: there is no gradient")
    pool_options = options.pool.with_default_engine(experiment.engine)
    samples = options.samples or FINER * (shipped.samples or grammar.render.samples)
    with open_pool(pool_options, assets=experiment.asset_source) as pool:
        progress.watch(pool)
        closed_form = pool_options.local and pool_options.engine == "fake"
        check = _Check(Renderer(pool, grammar), shipped, samples, options.columns, options.seed, closed_form)
        attributes = check.run(scenes, progress.step("check the gradient"))
    progress.stop()
    return {
        "experiment": experiment.name,
        "engine": pool_options.engine if pool_options.local else pool_options.renderer,
        "scenes": len(scenes),
        "samples": samples,
        "probing": {
            "difference": shipped.difference,
            "mode": shipped.mode,
            "method": shipped.method,
            "samples": shipped.samples,
        },
        "bounds": {
            "region": {"cosine": LEAST_COSINE, "norm_ratio": LARGEST_RATIO_ERROR},
            "loss": {"cosine": LEAST_LOSS_COSINE, "norm_ratio": LARGEST_LOSS_RATIO_ERROR},
        },
        "attributes": [attribute.to_json() for attribute in attributes],
        "good": all(attribute.good for attribute in attributes),
    }


@dataclass(frozen=True)
class _Check:
    renderer: Renderer
    shipped: Probing
    samples: int
    columns: float
    seed: int
    closed_form: bool
    found: dict[str, AttributeCheck] = field(default_factory=dict)

    def run(self, scenes: Sequence[SceneGraph], advance: Advance) -> list[AttributeCheck]:
        """Scene by scene, for the differences of whole frames are large."""
        for index, scene in enumerate(scenes):
            self._compare(scene, index)
            advance(index + 1, len(scenes))
        audits = self.renderer.audits.take()
        for name, region in audits.attributes.items() if audits else ():
            self.found[name].region = region
        return list(self.found.values())

    def _compare(self, scene: SceneGraph, index: int) -> None:
        seed = integer(self.seed, Purpose.CHECK, index, 0)
        (every,) = plan_columns([scene], self.shipped, seed)
        if not len(every):
            return
        chosen = every.subset(self._positions(len(every), index))
        weights = self._weights(index)
        values = torch.tensor(scene.values(), dtype=torch.float32, requires_grad=True)
        # One loss goes all the way that training's goes; with `exact` columns, the others follow from the same columns.
        ways = weights[:1] if self.shipped.method == "exact" else weights
        shipped = [self._gradient(scene, values, seed, weight) for weight in ways]
        audited = replace(self.shipped, mode="jacobian", method="exact", audit=1.0)
        trusted = Probing(mode="jacobian", full_frame=True, samples=self.samples)
        own, reference = (self._columns(scene, seed, probing, chosen) for probing in (audited, trusted))
        exact = self._exact(scene, chosen.wire)
        height, width = self.renderer.settings.height_px, self.renderer.settings.width_px
        for number, at in enumerate(chosen.indices):
            item = scene.mutable[at]
            name = f"{scene.nodes[item.node].kind}.{item.name}"
            attribute = self.found.setdefault(name, AttributeCheck(name, item.spec.unit))
            attribute.spans.append(abs(own[number].span))
            rest = weights[len(shipped) :]
            losses = np.array([*(gradient[at] for gradient in shipped), *(own[number].dot(weight) for weight in rest)])
            attribute.loss.add(losses, np.array([reference[number].dot(weight) for weight in weights]))
            attribute.image.add(own[number].in_frame(height, width), reference[number].in_frame(height, width))
            if exact is not None:
                attribute.analytic.add(losses, np.array([np.sum(exact[number] * part) for part in weights]))

    def _gradient(self, scene: SceneGraph, values: torch.Tensor, seed: int, weight: np.ndarray) -> list[float]:
        """Return the gradient that training would use, of a loss whose ∂loss/∂image is the weight."""
        images = self.renderer.differentiable(values, [scene], seed, self.shipped)
        (gradient,) = torch.autograd.grad((images * torch.from_numpy(weight).permute(2, 0, 1)).sum(), values)
        return [float(each) for each in gradient]

    def _positions(self, count: int, index: int) -> list[int]:
        """Return which of a scene's columns are checked."""
        kept = max(1, round(self.columns * count))
        order = generator(self.seed, Purpose.CHECK, index, 2).permutation(count)
        return sorted(order[:kept].tolist())

    def _columns(self, scene: SceneGraph, seed: int, probing: Probing, chosen: SceneColumns) -> list[Column]:
        (plan,) = plan_columns([scene], probing, seed)
        positions = [plan.indices.index(at) for at in chosen.indices]
        _, (columns,) = self.renderer.probe([scene], seed, probing, [plan.subset(positions)])
        return columns

    def _weights(self, index: int) -> np.ndarray:
        """∂loss/∂image of several losses, float32 [_LOSSES, H, W, 3].

        Random, and smooth, so that the noise of single pixels does not decide.
        """
        size = self.renderer.settings.height_px, self.renderer.settings.width_px
        random = torch_generator(self.seed, Purpose.CHECK, index, 1)
        patches = torch.randn((_LOSSES, 3, _PATCHES, _PATCHES), generator=random)
        return F.interpolate(patches, size, mode="bicubic").permute(0, 2, 3, 1).contiguous().numpy()

    def _exact(self, scene: SceneGraph, columns: Sequence[pb.Column]) -> np.ndarray | None:
        if not self.closed_form:
            return None
        return blob_jacobian(scene.to_wire(lambda asset: asset.set), self.renderer.settings, columns)
