"""A finished run, opened to generate or evaluate data with it."""

from dataclasses import dataclass
from pathlib import Path

from trainer.errors import InputError
from trainer.features.simulator import SimulatorFeatures
from trainer.grammar import Experiment, load_experiment
from trainer.learning.settings import TrainingSettings
from trainer.model.encoding import Encoding
from trainer.model.transformer import DistributionTransformer
from trainer.randomness import Purpose, torch_generator
from trainer.run import Run, RunConfig


@dataclass(frozen=True)
class LoadedRun:
    """What a run has learned."""

    run: Run
    config: RunConfig
    experiment: Experiment
    settings: TrainingSettings
    #: With the averaged weights.
    transformer: DistributionTransformer
    #: The feature space that it has learned from the simulator last; None where it has learned none.
    features: SimulatorFeatures | None


def open_run(folder: Path, *, mnist: Path | None = None) -> LoadedRun:
    """Opens a run folder.

    Raises:
        InputError: it is none, has no checkpoint yet, or its experiment cannot be read any more.
    """
    run = Run.open(folder)
    config = run.config
    checkpoint = run.load_checkpoint()
    if checkpoint is None:
        raise InputError(f"{folder} has no checkpoint yet: go on with `metasim train --resume --out {folder}`")
    experiment = load_experiment(
        config.experiment, config.overrides, mnist=mnist or (Path(config.mnist) if config.mnist else None)
    )
    encoding = Encoding(experiment.grammar)
    transformer = DistributionTransformer(encoding, torch_generator(config.seed, Purpose.WEIGHTS))
    state, tensors = checkpoint
    try:
        transformer.load_state_dict(tensors["average"])
    except (RuntimeError, KeyError):  # Tensors of other sizes or names.
        raise InputError(
            f"{folder} does not fit {config.experiment} any more: its nodes or mutable attributes have changed since "
            "the training; undo that, or train anew"
        ) from None
    features = None
    if "features" in tensors:
        size = experiment.grammar.render.height_px, experiment.grammar.render.width_px
        features = SimulatorFeatures(state["layers"], size, torch_generator(config.seed, Purpose.FEATURES))
        features.load_state_dict(tensors["features"])
        features.freeze()
    settings = TrainingSettings.parse(experiment.training)
    return LoadedRun(run, config, experiment, settings, transformer.eval(), features)
