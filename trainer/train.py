"""Training, from an experiment to a finished run folder, in the order of the paper's algorithm 1."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trainer.device import open_device
from trainer.errors import InputError
from trainer.experiments import Experiment, Labelling, Target, load_experiment
from trainer.features import FeatureSpace, natural
from trainer.features.neutral import RandomFeatures
from trainer.grammar import Grammar, SceneGraph
from trainer.grammar.files import Copies
from trainer.grammar.productions import Structure, matching
from trainer.grammar.symmetry import ambiguities
from trainer.inference.problem import Problem, Validation
from trainer.inference.training_settings import TrainingSettings
from trainer.pool import PoolOptions, RenderPool, open_pool
from trainer.progress import Progress, Silent
from trainer.randomness import Purpose, generator, integer
from trainer.refinement.learner import Learner
from trainer.rendering import Renderer
from trainer.runs.folder import Run, RunConfig
from trainer.runs.inputs import changed_inputs, keep_inputs, kept_copies
from trainer.runs.log import RunLog, Timer
from trainer.runs.planned_steps import pretraining_steps, stage_steps
from trainer.runs.requirements import check_run
from trainer.tasks import open_task
from trainer.tasks.labelling import labelled

#: One in `HELD_OUT` target images is held out, if there are at least `FEWEST_TO_HOLD_OUT`.
HELD_OUT, FEWEST_TO_HOLD_OUT = 5, 100


@dataclass(frozen=True)
class TrainOptions:
    """The options of `metasim train`."""

    experiment: str
    out: Path
    seed: int = 0
    resume: bool = False
    mnist: Path | None = None
    inception_weights: Path | None = None
    #: Device of the networks: auto, cpu, cuda or mps.
    device: str = "auto"
    overrides: Mapping[str, object] = field(default_factory=dict)
    pool: PoolOptions = field(default_factory=PoolOptions)


def train(options: TrainOptions, progress: Progress | None = None) -> Run:
    """Learn to generate scenes whose images have the target's distribution.

    Raises:
        InputError: the experiment, a setting, the run folder or the endpoint is wrong.
        RenderError: a scene could not be rendered, or every worker was lost.
    """
    progress = progress or Silent()
    device = open_device(options.device)
    run, options = _run_folder(options)
    experiment, settings = _experiment(options, kept_copies(run) if run else None)
    torch.set_num_threads(settings.threads)
    if experiment.target is None:
        raise InputError(f"{experiment.path} has no target, so there is nothing to learn from it")
    if not (experiment.grammar.productions or any(kind.choices for kind in experiment.grammar.kinds.values())):
        raise InputError(f"{experiment.path} has no mutable attribute: mark what may be learned with `mutable: true`")
    for note in (*experiment.notes, *(changed_inputs(run) if run else ())):
        progress.note(note)
    check_run(experiment, settings)
    target_notes = experiment.target.notes(experiment.grammar.classes)
    for note in target_notes:
        progress.note(note)
    space = _fixed_features(experiment.grammar, settings, options.inception_weights, device, progress)
    pool_options = options.pool.with_default_engine(experiment.engine)
    with (
        ExitStack() as claims,
        open_pool(pool_options, assets=experiment.asset_source) as pool,
    ):
        progress.watch(pool)
        if run is None:
            run = Run.create(options.out, _config(options, str(pool_options.engine), pool.kinds, device))
            keep_inputs(run, options.experiment, options.overrides)
        elif not options.pool.settings.mixed_devices:
            _refuse_other_renderer(run, pool.kinds)
        claims.enter_context(run.claimed())
        checkpoint = run.load_checkpoint()
        timer = Timer({} if checkpoint is None else checkpoint[0]["seconds"])
        # X_R, the target's images. No label of them is used.
        first = "render the target" if experiment.target.evaluation else "read the photographs"
        infers, frames = settings.start == "infer", experiment.grammar.render_settings()
        structure = bool(experiment.grammar.productions)
        of_stages = stage_steps(settings, frames, infers=infers, structure=structure)
        progress.plan([*pretraining_steps(settings, first), *of_stages])
        progress.step(first)
        target, target_scenes = _target(experiment.target, settings, options.seed, pool)
        if len(target) < 2 or (target == target[:1]).all():
            raise InputError(
                "target: its images are all alike, or there is only one; learning needs images that differ"
            )
        held_out = _held_out(len(target))
        problem = Problem(
            grammar=experiment.grammar,
            settings=settings,
            seed=options.seed,
            renderer=Renderer(pool, experiment.grammar),
            target=target if held_out is None else target[~held_out],
            held_out=None if held_out is None else target[held_out],
            validation=_validation(experiment, experiment.target, settings, options.seed, device, pool),
            space=space,
            progress=progress,
            photographs=experiment.target.evaluation is None,
            device=device,
        )
        timer.lap("target")
        learner = Learner(problem)
        target_structure = _target_structure(experiment)
        if checkpoint is None:
            facts = {"notes": [f"{note}." for note in target_notes]}
            log = RunLog(run, learner, target_scenes, timer, facts, target_structure=target_structure)
            # Pre-training: G_θ learns the identity (section 3.2.1).
            log.facts["ambiguities"] = [found.text for found in ambiguities(experiment.grammar) if found.mutable]
            for text in log.facts["ambiguities"]:
                progress.note(text)
            log.facts["reconstruction_error"] = learner.pretrain()
            timer.lap("pretraining")
            log.prior()
        else:
            learner.restore(*checkpoint)
            facts, renders = checkpoint[0]["facts"], checkpoint[0]["renders"]
            log = RunLog(run, learner, target_scenes, timer, facts, renders, target_structure)
            progress.note(f"{run.folder}: continuing after epoch {learner.epoch}")
        first_stage = learner.stage
        progress.plan(stage_steps(settings, frames, infers=infers, structure=structure, first=first_stage))
        while not learner.finished:
            while not learner.prepared:
                # Infer the population that explains the target, train G_θ to generate it, and set the features φ.
                learner.prepare()
                timer.lap("inference")
                log.checkpoint()
            # Distribution matching: θ descends MMD²(φ(R(G_θ(S))), φ(X_R)), section 3.2.2.
            # Task loss: θ ascends the score on V of a network trained on R(G_θ(S)), section 3.2.3.
            for metrics in learner.epochs():
                timer.lap("epochs")
                log.epoch(metrics)
                log.checkpoint()
        log.summary()
    progress.stop()
    return run


def _experiment(options: TrainOptions, copies: Copies | None) -> tuple[Experiment, TrainingSettings]:
    """Return the experiment with the frame settings of the training."""
    experiment = load_experiment(options.experiment, options.overrides, mnist=options.mnist, copies=copies)
    settings = TrainingSettings.parse(experiment.training)
    if settings.render.overrides:
        overrides = {**options.overrides, **settings.render.overrides}
        experiment = load_experiment(options.experiment, overrides, mnist=options.mnist, copies=copies)
    return experiment, settings


def _run_folder(options: TrainOptions) -> tuple[Run | None, TrainOptions]:
    """Return an existing run with its original options, or None if a run must be created."""
    if not options.resume:
        if options.out.exists():
            Run.refuse(options.out)
        return None, options
    run = Run.open(options.out)
    config = run.config
    return run, TrainOptions(
        experiment=config.experiment,
        out=options.out,
        seed=config.seed,
        resume=True,
        mnist=options.mnist or (Path(config.mnist) if config.mnist else None),
        inception_weights=options.inception_weights
        or (Path(config.inception_weights) if config.inception_weights else None),
        device=options.device,
        overrides=config.overrides,
        pool=replace(options.pool, engine=config.engine),
    )


def _config(options: TrainOptions, engine: str, kinds: str, device: str) -> RunConfig:
    path = Path(options.experiment)
    return RunConfig(
        experiment=str(path.resolve()) if path.is_file() else options.experiment,
        overrides=dict(options.overrides),
        seed=options.seed,
        engine=engine,
        mnist=str(options.mnist.resolve()) if options.mnist else None,
        inception_weights=str(options.inception_weights.resolve()) if options.inception_weights else None,
        versions={
            **{name: version(name) for name in ("metasim", "torch", "torch_geometric", "numpy")},
            "renderer": kinds,
            "device": device,
        },
    )


def _refuse_other_renderer(run: Run, kinds: str) -> None:
    """Check that a resumed run has workers of the same kind.

    Raises:
        InputError: the run was rendered with another engine, version or kind of device.
    """
    recorded = run.config.versions.get("renderer", kinds)
    if recorded != kinds:
        raise InputError(
            f"{run.folder} was rendered with {recorded}, and these workers render with {kinds}, whose images differ "
            "slightly; use workers of the same kind, or accept the differences with --mixed-devices"
        )


def _fixed_features(
    grammar: Grammar, settings: TrainingSettings, weights: Path | None, device: str, progress: Progress
) -> FeatureSpace | None:
    """Return the feature space that does not come from the run itself, on the device; None: the estimator is used.

    Raises:
        InputError: the space is not installed, its weights are missing or damaged, or it is the estimator although
            nothing is inferred.
    """
    wanted, infers = settings.features, settings.start == "infer"
    if wanted == "estimator" and not infers:
        raise InputError("training.features: estimator needs training.start=infer; use natural, inception or random")
    if wanted == "inception" or (wanted == "auto" and weights is not None):
        from trainer.features.inception import InceptionFeatures

        return InceptionFeatures(weights=weights, layers=settings.layers).to(device)
    if wanted == "natural":
        return natural.NaturalFeatures(natural.LOCAL_STRIDES).to(device)
    if wanted == "random" or (wanted == "auto" and not infers and not natural.available()):
        if wanted == "auto":
            progress.note("the extra `natural` is not installed: images are compared in a random network's features")
        render = grammar.render_settings()
        return RandomFeatures((render.height_px, render.width_px)).to(device)
    return None if infers else natural.NaturalFeatures(natural.LOCAL_STRIDES).to(device)


def _target(
    target: Target, settings: TrainingSettings, seed: int, pool: RenderPool
) -> tuple[np.ndarray, list[SceneGraph]]:
    """Return X_R, 8-bit images [M, H, W, 3], and the scenes behind them; photographs have none."""

    def render(grammar: Grammar, scenes: Sequence[SceneGraph]) -> np.ndarray:
        return Renderer(pool, grammar).images(scenes, integer(seed, Purpose.TARGET))

    return target.images(generator(seed, Purpose.TARGET), render, settings.target_images)


def _target_structure(experiment: Experiment) -> Structure | None:
    """Return a synthetic target's probabilities of the grammar's mutable productions."""
    if experiment.target is None or experiment.target.grammar is None:
        return None
    target = experiment.target.grammar
    return matching(experiment.grammar.productions, target.roots, target.kinds)


def _held_out(count: int) -> np.ndarray | None:
    """Return the mask of target images held out for the two-sample test, bool [count]; None if there are too few."""
    return np.arange(count) % HELD_OUT == 0 if count >= FEWEST_TO_HOLD_OUT else None


def _validation(
    experiment: Experiment, target: Target, settings: TrainingSettings, seed: int, device: str, pool: RenderPool
) -> Validation | None:
    """Return V, labelled images of the target, if a stage has the task loss."""
    if not any("task" in stage.losses for stage in settings.stages):
        return None
    network = open_task(experiment, "quick", device)

    def render(grammar: Grammar, scenes: Iterable[SceneGraph]) -> tuple[np.ndarray, list[Any]]:
        return labelled(Renderer(pool, grammar), network, scenes, integer(seed, Purpose.VALIDATION))

    labelling = Labelling(network.photo_labels, experiment.grammar.classes, render, network.label_photo)
    rng = generator(seed, Purpose.VALIDATION)
    return Validation(network, *target.labelled(rng, labelling, settings.validation_images))
