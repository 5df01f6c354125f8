"""Targets of digits that another camera has taken: real MNIST, another library's rotation, and a camera's response.

Nothing of them comes from the renderers or from the appearances that estimators are trained with
(`trainer.features.appearance`), so they measure how much learning depends on either.
"""

import io
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from trainer.assets.mnist import mnist_set
from trainer.bench.several_seeds import Figure
from trainer.pool import PoolOptions
from trainer.progress import Progress, Silent
from trainer.randomness import Purpose, generator
from trainer.runs.folder import Run
from trainer.train import TrainOptions, train

#: Images of a target, and their side in pixels.
COUNT, SIDE_PX = 1500, 32
#: Mean and standard deviation of the yaw, in degrees, and the tolerances of both.
MEAN_DEG, SPREAD_DEG, MEAN_WITHIN_DEG, SPREAD_WITHIN = 90.0, 10.0, 3.0, 0.3


@dataclass(frozen=True)
class TargetCamera:
    """The response x -> haze + gain · blur(x)^gamma, by channel, then noise and JPEG; display values from 0 to 1."""

    blur_px: float
    haze: float
    gain: tuple[float, float, float]
    gamma: float
    noise: float
    #: 0: none.
    jpeg_quality: int = 0

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> "TargetCamera":
        """Return a random camera."""
        gain = rng.uniform(0.55, 0.95) * rng.uniform(0.9, 1.1, 3)
        return cls(
            blur_px=rng.uniform(0, 0.9),
            haze=rng.uniform(0, 0.25),
            gain=(float(gain[0]), float(gain[1]), float(gain[2])),
            gamma=float(np.exp(rng.uniform(np.log(0.65), np.log(1.5)))),
            noise=rng.uniform(0, 0.08),
            jpeg_quality=int(rng.integers(50, 96)) if rng.random() < 0.5 else 0,
        )

    def takes(self, picture: Image.Image, rng: np.random.Generator) -> Image.Image:
        """Return what the camera makes of a grey picture: an RGB one."""
        blurred = np.asarray(picture.filter(ImageFilter.GaussianBlur(self.blur_px)), dtype=np.float64) / 255
        values = self.haze + np.array(self.gain) * blurred[..., None] ** self.gamma
        values = np.clip(values + self.noise * rng.standard_normal(values.shape), 0, 1)
        taken = Image.fromarray(np.rint(255 * values).astype(np.uint8))
        if not self.jpeg_quality:
            return taken
        buffer = io.BytesIO()
        taken.save(buffer, "JPEG", quality=self.jpeg_quality)
        return Image.open(buffer).convert("RGB")


#: A mild one.
MILD = TargetCamera(blur_px=0.6, haze=0.12, gain=(0.75, 0.75, 0.75), gamma=0.8, noise=0.05)


def write_target(folder: Path, seed: int, *, drawn: bool) -> np.ndarray:
    """Write turned digits that a camera has taken; return their yaws [COUNT], in degrees.

    Args:
        drawn: the camera is a random one of the seed; False: it is `MILD`.
    """
    rng = generator(seed, Purpose.TARGET, 1)
    camera = TargetCamera.drawn(rng) if drawn else MILD
    digits = mnist_set("mnist", "test").digits.images
    yaws = rng.normal(MEAN_DEG, SPREAD_DEG, COUNT)
    folder.mkdir(parents=True)
    for number, (yaw, digit) in enumerate(zip(yaws, digits[rng.integers(len(digits), size=COUNT)], strict=True)):
        frame = Image.new("L", (SIDE_PX, SIDE_PX))
        frame.paste(Image.fromarray(digit), ((SIDE_PX - digit.shape[1]) // 2, (SIDE_PX - digit.shape[0]) // 2))
        camera.takes(frame.rotate(float(yaw), Image.Resampling.BICUBIC), rng).save(folder / f"{number:05}.png")
    return yaws


def bench_cameras(
    seeds: Sequence[int],
    *,
    drawn: bool,
    pool: PoolOptions | None = None,
    overrides: Mapping[str, object],
    keep: Path | None = None,
    progress: Progress | None = None,
    train_run: Callable[[TrainOptions, Progress], Run] = train,
) -> dict[str, Any]:
    """Train `mnist-rot` on the photographs of a camera, once per seed; the result is as `bench_training` returns it.

    Args:
        drawn: each seed has its own random camera; False: all have `MILD`.
        keep: folder that keeps targets and run folders; default: they are deleted.
    """
    progress = progress or Silent()
    runs = []
    with tempfile.TemporaryDirectory() as temporary:
        for seed in seeds:
            progress.note(f"camera, seed {seed}")
            folder = (keep or Path(temporary)) / f"camera-{seed}"
            yaws = write_target(folder / "target", seed, drawn=drawn)
            changed = {**overrides, "target": {"images": str((folder / "target").resolve())}}
            options = TrainOptions("mnist-rot", folder / "run", seed, overrides=changed, pool=pool or PoolOptions())
            run = train_run(options, progress)
            [learned] = run.summary["attributes"]["learned"]
            found = [
                Figure("digit.yaw mean", float(yaws.mean()), learned["mean"], MEAN_WITHIN_DEG),
                Figure("digit.yaw spread", float(yaws.std()), learned["std"], SPREAD_WITHIN * float(yaws.std())),
            ]
            runs.append(
                {
                    "seed": seed,
                    "reached": all(figure.reached for figure in found),
                    "figures": [{**asdict(figure), "reached": figure.reached} for figure in found],
                    "mmd": [*run.summary["mmd_prior"], *run.summary["mmd"][-1:]],
                    "seconds": run.summary["seconds"]["total"],
                    "renders": run.summary["renders"],
                }
            )
    return {"experiment": "mnist-rot", "runs": runs, "reached": sum(run["reached"] for run in runs)}
