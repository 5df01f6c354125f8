"""The planned steps of training and evaluation, for the estimate of the remaining time.

Durations are rough. The estimate scales them by the measured durations of the same kind of step. Steps that turn out to
be unnecessary are skipped.
"""

from collections.abc import Iterable

from metasim.v1.render_pb2 import RenderSettings

from trainer.inference.rounds import CORRECTED_BY, passes_of
from trainer.inference.structure_rounds import LAST_PASSES, PASSES, ROUNDS
from trainer.inference.training_settings import Stage, TrainingSettings
from trainer.progress import Step
from trainer.refinement.stage_losses import DOING
from trainer.refinement.structure_descent import BATCH, STEPS

#: Seconds per image for the trainer, and per pixel sample for a worker.
_IMAGE_S, _SAMPLE_S = 1e-3, 1e-6
#: Seconds per optimiser step of a small network.
_UPDATE_S = 0.02
#: Approximate renders per scene in a step of descent: the scene and its probes.
_PROBES = 5


def pretraining_steps(settings: TrainingSettings, target: str) -> list[Step]:
    """Return the steps before the first stage; `target` names the step that provides the target's images."""
    return [Step(target, 5.0, "render"), Step("learn the identity", _UPDATE_S * settings.pretraining_steps, "learn")]


def stage_steps(
    settings: TrainingSettings, render: RenderSettings, *, infers: bool, structure: bool = False, first: int = 0
) -> list[Step]:
    """Return the steps of the stages of a training run.

    Args:
        settings: settings of the training.
        render: size and samples of the frames.
        infers: whether stages with the MMD infer the population.
        structure: whether the grammar has mutable productions; they are learned in the first stage.
        first: index of the first stage.
    """
    image_s = _IMAGE_S + _SAMPLE_S * render.width_px * render.height_px * render.samples
    steps: list[Step] = []
    for number, stage in enumerate(settings.stages[first:], first):
        learned = structure and number == 0
        if learned and settings.start != "prior":
            for index in range(ROUNDS):
                steps += _structure(settings, image_s, f"(round {index + 1} of {ROUNDS})", PASSES[index])
        if "mmd" in stage.losses and infers:
            steps += _inference(settings, image_s)
        if learned and settings.start != "prior":
            steps += _structure(settings, image_s, "(learned attributes)", LAST_PASSES)
        work = settings.epochs_of(number) * settings.steps * settings.batch
        steps.append(Step(title(stage), work * _PROBES * image_s, "descend"))
        if learned and "mmd" in stage.losses:
            scenes = STEPS * settings.steps * BATCH * settings.batch
            steps.append(Step("descend the structure", scenes * image_s, "descend"))
    return steps


def title(stage: Stage) -> str:
    """Return the name of a stage's descent."""
    return stage.name or DOING[tuple(sorted(stage.losses))]


def _inference(settings: TrainingSettings, image_s: float) -> Iterable[Step]:
    options = settings.inference
    for number in range(options.rounds):
        of = f"(round {number + 1} of {options.rounds})"
        passes = passes_of(options, number) * (number + 1)
        yield Step(f"simulate {of}", options.simulations * image_s, "render")
        yield Step(f"train the estimator {of}", passes * options.simulations * _IMAGE_S, "learn")
        yield Step(f"find the population {of}", 5.0, "infer")
    yield Step("check the population", min(CORRECTED_BY, options.simulations) * image_s, "render")
    yield Step("carry the prior to the population", 20.0, "carry")


def _structure(settings: TrainingSettings, image_s: float, of: str, passes: int) -> Iterable[Step]:
    count = settings.inference.simulations // 2
    yield Step(f"simulate structures {of}", count * image_s, "render")
    yield Step(f"train the counting network {of}", passes * count * _IMAGE_S, "learn")
    yield Step(f"find the structure {of}", 3.0, "infer")


def evaluation_steps(
    models: Iterable[str], network: str, networks: int, *, images: int, test_images: int, fine_tune: bool
) -> list[Step]:
    """Return the steps of an evaluation.

    Args:
        models: names of the models whose data is compared.
        network: name of the task network.
        networks: number of networks that are trained on the same images.
        images: number of images that each is trained on.
        test_images: number of test images.
        fine_tune: whether each network continues on labelled images of the target.
    """
    steps = [
        Step("read the test images", 1.0, "render"),
        Step("render the test images", test_images * _IMAGE_S, "render"),
    ]
    for model in models:
        steps.append(Step(f"render {model} data", images * _IMAGE_S, "render"))
        for index in range(networks):
            which = f", network {index + 1}" if index else ""
            steps.append(Step(f"train the {network} on {model} data{which}", images * 5 * _IMAGE_S, "learn"))
            if fine_tune:
                tuned = f"train the {network} on labelled images of the target, after {model} data{which}"
                steps.append(Step(tuned, 5.0, "tune"))
    return [*steps, Step("compare with the target", 10.0, "compare")]
