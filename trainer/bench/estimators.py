"""Which estimator of the gradient is worth its time: quality against cost on a street.

The gradient is that of Σ g · image for a smooth g: the difference between this street and another one, blurred, as a
loss on features of low resolution sends it back. An estimate is one number for each column, per half pixel of motion.
Its error is the distance to a reference (central differences at many samples per pixel) relative to the norm of the
reference; the root of the mean square over independent seeds. As errors fall with the square root of the time that is
spent on averaging, estimators compare by error² x seconds.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from metasim.tensors import tensor_from_proto, tensor_to_proto
from metasim.v1 import render_pb2 as pb

from trainer.pool.client import RenderPool

REFERENCE_SAMPLES = 128
_BLUR_PX = 9


@dataclasses.dataclass(frozen=True)
class Quality:
    """Of one estimator, over all seeds."""

    #: Mean over seeds of the cosine to the reference.
    cosine: float
    relative_error: float
    #: Workers' time for the image and one estimate.
    seconds: float
    #: error² x seconds, divided by that of central differences: the smaller, the better.
    cost_to_equal_error: float


@dataclasses.dataclass(frozen=True)
class _Estimator:
    probes: pb.ProbeSettings
    share: float = 1.0  # Of the columns, by chance


_ESTIMATORS = {
    "central": _Estimator(pb.ProbeSettings()),
    "forward": _Estimator(pb.ProbeSettings(difference=pb.DIFFERENCE_FORWARD)),
    "central, half of the columns": _Estimator(pb.ProbeSettings(), share=0.5),
    "forward, half of the columns": _Estimator(pb.ProbeSettings(difference=pb.DIFFERENCE_FORWARD), share=0.5),
    "central, 4 samples": _Estimator(pb.ProbeSettings(samples=4)),
    "central, 2 samples": _Estimator(pb.ProbeSettings(samples=2)),
    "forward, 4 samples": _Estimator(pb.ProbeSettings(difference=pb.DIFFERENCE_FORWARD, samples=4)),
    "SPSA": _Estimator(pb.ProbeSettings(difference=pb.DIFFERENCE_SIMULTANEOUS)),
}


def bench_estimators(
    pool: RenderPool, street: pb.RenderTask, other: pb.RenderTask, *, columns: int = 90, seeds: int = 3
) -> dict[str, Quality]:
    """Compares the estimators on `columns` columns of a street, drawn by chance.

    Args:
        other: the street whose image is the target.
    """
    rng = np.random.default_rng(0)
    gradient = _blurred(_image(pool, street) - _image(pool, other))
    places = np.sort(rng.choice(len(street.columns), columns, replace=False))
    chosen = [street.columns[place] for place in places]
    everything = np.arange(columns)
    estimates = {
        (name, seed): np.flatnonzero(rng.random(columns) < estimator.share)
        for name, estimator in _ESTIMATORS.items()
        for seed in range(seeds)
    }
    tasks = [_task(street, "reference", chosen, pb.ProbeSettings(samples=REFERENCE_SAMPLES), gradient, seeds)]
    for (name, seed), kept in estimates.items():
        probes = _ESTIMATORS[name].probes
        picked = [_signed(chosen[place], probes, rng) for place in kept]
        tasks.append(_task(street, f"{name}/{seed}", picked, probes, gradient, seed))
    reference, *results = pool.render(tasks)
    spans = np.array([column.span for column in reference.columns])
    wanted = _products(reference, everything, spans)

    found = {}
    for name, estimator in _ESTIMATORS.items():
        cosines, errors, times = [], [], []
        for (of, _), kept, result in zip(estimates, estimates.values(), results, strict=True):
            if of == name:
                estimate = _products(result, kept, spans) / estimator.share
                cosines.append(estimate @ wanted / (np.linalg.norm(estimate) * np.linalg.norm(wanted)))
                errors.append(np.linalg.norm(estimate - wanted) / np.linalg.norm(wanted))
                times.append(result.timing.build_s + result.timing.render_s + result.timing.encode_s)
        error, seconds = float(np.sqrt(np.mean(np.square(errors)))), float(np.mean(times))
        found[name] = Quality(float(np.mean(cosines)), error, seconds, error**2 * seconds)
    unit = found["central"].cost_to_equal_error
    return {
        name: dataclasses.replace(quality, cost_to_equal_error=quality.cost_to_equal_error / unit)
        for name, quality in found.items()
    }


def _task(
    street: pb.RenderTask,
    name: str,
    columns: Sequence[pb.Column],
    probes: pb.ProbeSettings,
    gradient: np.ndarray,
    seed: int,
) -> pb.RenderTask:
    return pb.RenderTask(
        id=name,
        scene=street.scene,
        settings=street.settings,
        seed=seed,
        outputs=[pb.OUTPUT_IMAGE_F32],
        columns=columns,
        probes=probes,
        image_gradient=tensor_to_proto(gradient, compress=True),
    )


def _signed(column: pb.Column, probes: pb.ProbeSettings, rng: np.random.Generator) -> pb.Column:
    signed = pb.Column()
    signed.CopyFrom(column)
    signed.backward = probes.difference == pb.DIFFERENCE_SIMULTANEOUS and bool(rng.integers(2))
    return signed


def _products(result: pb.RenderResult, kept: np.ndarray, spans: np.ndarray) -> np.ndarray:
    """One number per column, 0 for those that were not probed."""
    products = np.zeros(len(spans))
    products[kept] = [column.product for column in result.columns]
    return products * spans


def _image(pool: RenderPool, street: pb.RenderTask) -> np.ndarray:
    task = pb.RenderTask(id="image", scene=street.scene, settings=street.settings, seed=street.seed)
    task.outputs.append(pb.OUTPUT_IMAGE_F32)
    (result,) = pool.render([task])
    return tensor_from_proto(result.layers[0].tensor)


def _blurred(image: np.ndarray) -> np.ndarray:
    """A box of `_BLUR_PX` in both directions; zero beyond the edges."""
    kernel = np.ones(_BLUR_PX) / _BLUR_PX
    for axis in (0, 1):
        image = np.apply_along_axis(np.convolve, axis, image, kernel, mode="same")
    return image.astype(np.float32)
