"""Models that translate the appearance of renders to that of photographs: fitted, checked, compared, and applied.

Appearance is orthogonal to content: the content of a run is learned first, and its renders are translated afterwards
(paper, table 4, which uses MUNIT).
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from metasim.v1 import render_pb2 as pb

from trainer.device import open_device
from trainer.errors import InputError, TranslationRefused
from trainer.experiments.target import PhotographTarget
from trainer.features import natural
from trainer.features.image_distances import image_distances
from trainer.features.neutral import neutral_space
from trainer.inference.training_settings import TrainingSettings
from trainer.pool import PoolOptions, open_pool
from trainer.progress import Progress, Silent, Step
from trainer.randomness import Purpose, integer
from trainer.rendering import Frame, Renderer
from trainer.runs.evaluation_data import photographs_of
from trainer.runs.report.contact_sheets import contact_sheet
from trainer.runs.scene_source import SceneSource, open_source
from trainer.tasks import TaskNetwork, open_task
from trainer.translation import Origin, Renders, Translator, method_of, open_translator
from trainer.translation.buffers import OUTPUTS, buffers_of_frame
from trainer.translation.copies import translate_dataset
from trainer.translation.label_check import LabelCheck, check_outlines, check_task, outlined

#: Renders beside those of the fit, on which a model is checked and compared.
CHECKED = 150
#: Images of each kind in a picture.
SHOWN = 6


@dataclass(frozen=True)
class FitOptions:
    """What `metasim translate fit` takes."""

    #: A run folder, or a grammar or experiment by name or path.
    source: str
    #: The file of the model. It must not exist.
    out: Path
    method: str = "color"
    #: A folder of photographs; None: those of the source's target.
    target: Path | None = None
    seed: int = 0
    #: Renders that the model is fitted to.
    renders: int = 300
    #: Settings of the method.
    settings: Mapping[str, object] = field(default_factory=dict)
    #: Of the networks: auto, cpu, cuda or mps.
    device: str = "auto"
    mnist: Path | None = None
    pool: PoolOptions = field(default_factory=PoolOptions)


@dataclass(frozen=True)
class _Rendered:
    """Renders with their buffers and the labels of a task."""

    images: np.ndarray
    frames: list[Frame]
    labels: list[Any]


def fit(options: FitOptions, progress: Progress | None = None) -> dict[str, Any]:
    """Fit a model to renders of a source and to photographs, check that labels survive it, and write it.

    Beside the model appear two pictures, `NAME.jpg` (photographs, renders, translated renders) and `NAME-labels.jpg`
    (the outlines that fare worst), and `NAME.json`, which holds what is returned.

    Returns:
        `model`, `method`, `renders`, `photographs`, `distances` (MMD² and KID to the photographs, of renders and of
        translated renders), `check`, `images_per_s` (of `apply`), `seconds`.

    Raises:
        InputError: the source, the photographs, the method, a setting or the file's name is wrong.
        TranslationRefused: labels do not survive. The model is written as `NAME.refused`.
    """
    progress = progress or Silent()
    began_s = time.monotonic()
    device, method = open_device(options.device), method_of(options.method)
    _check_free(options.out)
    source = open_source(options.source, mnist=options.mnist)
    for note in source.notes:
        progress.note(note)
    torch.set_num_threads(TrainingSettings.parse(source.experiment.training).threads)
    photographs = _photographs(source, options.target)
    progress.plan(
        [
            Step("render", (options.renders + CHECKED) * 0.01, "render"),
            Step(f"fit the model ({options.method})", 1200 if options.method == "cut" else 5, "fit"),
            Step("translate", 5, "translate"),
            Step("check the labels", 30, "check"),
        ]
    )
    images = photographs.images()[0]
    rendered, network = _rendered(source, options, device, progress)
    known = slice(0, options.renders)
    renders = Renders(
        rendered.images[known], [buffers_of_frame(frame) for frame in rendered.frames[known]], source.grammar.classes
    )
    advance = progress.step(f"fit the model ({options.method})")
    translator = method.fit(renders, images, options.seed, options.settings, device=device, advance=advance)
    translator.classes = source.grammar.classes
    translator.origin = Origin(source.of, str(photographs.folder), len(images), options.seed)
    found = _examined(translator, rendered, options, images, network, progress)
    found["seconds"] = time.monotonic() - began_s
    progress.stop()
    problem = found["check"]["problem"]
    out = options.out.with_name(f"{options.out.name}.refused") if problem else options.out
    translator.save(out)
    found = {"model": str(out), **found}
    _beside(options.out, ".json").write_text(json.dumps(found, indent=1) + "\n")
    if problem:
        raise TranslationRefused(
            f"labels do not survive this model: {problem}; see {_beside(options.out, '-labels.jpg')}, and change its "
            f"settings (it is kept as {out})"
        )
    return found


def apply(
    dataset: Path,
    model: Path,
    out: Path,
    *,
    resume: bool = False,
    device: str = "auto",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write a copy of a dataset with translated images; see `translate_dataset`.

    Returns:
        What `translate_dataset` returns, and `out`, `model`, `seconds`.

    Raises:
        InputError: see `open_translator` and `translate_dataset`.
    """
    progress = progress or Silent()
    began_s = time.monotonic()
    torch.set_num_threads(1)
    translator = open_translator(model, open_device(device))
    progress.plan([Step("translate")])
    command = f"metasim translate apply {dataset} --model {model} --out {out}"
    found = translate_dataset(dataset, out, translator, command, resume=resume, advance=progress.step("translate"))
    progress.stop()
    return {"out": str(out), "model": str(model), **found, "seconds": time.monotonic() - began_s}


def _check_free(out: Path) -> None:
    """
    Raises:
        InputError: a file of this name exists.
    """
    if out.exists():
        raise InputError(f"{out} exists, and models are never overwritten; choose another name")


def _photographs(source: SceneSource, folder: Path | None) -> PhotographTarget:
    """
    Raises:
        InputError: there are no photographs.
    """
    if folder is not None:
        return photographs_of(source.experiment, folder)
    target = source.experiment.target
    if not isinstance(target, PhotographTarget):
        raise InputError(f"{source.of} has no photographs as its target; name a folder of them by --target")
    return target


def _rendered(
    source: SceneSource, options: FitOptions, device: str, progress: Progress
) -> tuple[_Rendered, TaskNetwork[Any, Any] | None]:
    """Return renders, those of the fit first, and the network that checks their labels; None: there is no task."""
    grammar, count = source.grammar, options.renders + CHECKED
    network = open_task(source.experiment, "quick", device) if grammar.classes else None
    outputs = tuple(
        dict.fromkeys((pb.OUTPUT_IMAGE_U8, pb.OUTPUT_INSTANCE_MASK, *OUTPUTS, *(network.outputs if network else ())))
    )
    seed = integer(options.seed, Purpose.TRANSLATION, 1)
    advance = progress.step("render")
    frames: list[Frame] = []
    labels: list[Any] = []
    with open_pool(options.pool.with_default_engine(source.engine), assets=grammar.assets) as pool:
        progress.watch(pool)
        renderer = Renderer(pool, grammar)
        for first in range(0, count, 64):
            numbers = range(first, min(first + 64, count))
            scenes = source.scenes(seed, numbers)
            found = renderer.render(scenes, source.noise(seed, 0), outputs, numbers)
            frames += found
            if network is not None:
                labels += [network.label(scene, frame) for scene, frame in zip(scenes, found, strict=True)]
            advance(len(frames), count)
    return _Rendered(np.stack([frame.image for frame in frames]), frames, labels), network


def _examined(
    translator: Translator,
    rendered: _Rendered,
    options: FitOptions,
    photographs: np.ndarray,
    network: TaskNetwork[Any, Any] | None,
    progress: Progress,
) -> dict[str, Any]:
    """Translate renders that the model has not seen; return distances and checks, and draw the pictures."""
    advance, before = progress.step("translate"), rendered.images
    translated = []
    began_s = time.monotonic()
    for place, frame in enumerate(rendered.frames, 1):
        translated.append(translator.apply(frame.image, buffers_of_frame(frame)))
        advance(place, len(before))
    images_per_s = len(before) / (time.monotonic() - began_s)
    after = np.stack(translated)
    advance = progress.step("check the labels")
    asked = slice(options.renders, None)
    instances = [frame.layers[pb.OUTPUT_INSTANCE_MASK] for frame in rendered.frames]
    outlines = check_outlines(before[asked], after[asked], instances[asked])
    advance(1, 3)
    task = None if network is None else check_task(network, before, after, rendered.labels, options.seed)
    advance(2, 3)
    check = LabelCheck(outlines, task)
    sets = {"renders": before[asked], "translated": after[asked]}
    distances = image_distances(
        neutral_space((before.shape[1], before.shape[2]), (16, 32), natural.PIXELS), sets, photographs, options.seed
    )
    worst = np.array(outlines.worst[:SHOWN]) + options.renders
    _draw(options.out, photographs, before, after, instances, asked, worst)
    return {
        "method": translator.method,
        "renders": options.renders,
        "photographs": len(photographs),
        "distances": distances,
        "check": check.figures(),
        "images_per_s": images_per_s,
    }


def _draw(
    out: Path,
    photographs: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
    instances: list[np.ndarray],
    asked: slice,
    worst: np.ndarray,
) -> None:
    """Write the pictures beside the model."""
    out.parent.mkdir(parents=True, exist_ok=True)
    shown = photographs[np.linspace(0, len(photographs) - 1, SHOWN).astype(int)]
    rows = [("photographs", shown), ("renders", before[asked][:SHOWN]), ("translated", after[asked][:SHOWN])]
    contact_sheet(rows, SHOWN).save(_beside(out, ".jpg"), quality=90)
    rows = [
        (label, np.stack([outlined(images[index], instances[index]) for index in worst]))
        for label, images in (("renders", before), ("translated", after))
    ]
    contact_sheet(rows, SHOWN).save(_beside(out, "-labels.jpg"), quality=90)


def _beside(out: Path, ending: str) -> Path:
    """Return the path of a file beside a model."""
    return out.with_name(f"{out.stem}{ending}")
