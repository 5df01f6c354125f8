"""Finished runs, opened to generate data or to evaluate it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from trainer.errors import InputError
from trainer.experiments import Experiment, load_experiment
from trainer.features import FeatureSpace, natural
from trainer.features.neutral import RandomFeatures, neutral_space
from trainer.grammar import Grammar
from trainer.grammar.productions import Structure
from trainer.inference.estimator import Estimator
from trainer.inference.training_settings import TrainingSettings
from trainer.model.encoding import Encoding
from trainer.model.transformer import DistributionTransformer
from trainer.randomness import Purpose, torch_generator
from trainer.runs.folder import Run, RunConfig
from trainer.runs.inputs import changed_inputs, kept_copies


@dataclass(frozen=True)
class LoadedRun:
    """A run with what it has learned."""

    run: Run
    config: RunConfig
    experiment: Experiment
    settings: TrainingSettings
    #: With the averaged weights.
    transformer: DistributionTransformer
    #: The last feature space that it learned; None if it learned none.
    features: Estimator | None
    #: Its grammar with the learned structure.
    grammar: Grammar
    #: Files that have changed since the run was made.
    changes: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for the user: of the experiment, and of files that have changed."""
        return (*self.experiment.notes, *self.changes)


def open_run(folder: Path, *, mnist: Path | None = None) -> LoadedRun:
    """Open a run folder.

    Raises:
        InputError: the folder is no run, has no checkpoint yet, or its experiment cannot be read.
    """
    run = Run.open(folder)
    config = run.config
    checkpoint = run.load_checkpoint()
    if checkpoint is None:
        raise InputError(f"{folder} has no checkpoint yet: resume it with `metasim train --resume --out {folder}`")
    experiment = load_experiment(
        config.experiment,
        config.overrides,
        mnist=mnist or (Path(config.mnist) if config.mnist else None),
        copies=kept_copies(run),
    )
    state, tensors = checkpoint
    transformer = _transformer(run, config, experiment, tensors.get("average", {}))
    features = None
    if "features" in tensors:
        features = Estimator.restored(state.get("features"), tensors["features"])
    settings = TrainingSettings.parse(experiment.training)
    return LoadedRun(
        run,
        config,
        experiment,
        settings,
        transformer,
        features,
        learned_grammar(experiment.grammar, state),
        tuple(changed_inputs(run)),
    )


def learned_grammar(prior: Grammar, state: Mapping[str, Any]) -> Grammar:
    """Return a grammar with the structure that a checkpoint holds.

    Raises:
        InputError: the structure does not fit the grammar.
    """
    learned = (state.get("structure") or {}).get("structure")
    return prior if learned is None else prior.with_structure(Structure.from_json(learned))


def open_stages(loaded: LoadedRun) -> list[DistributionTransformer]:
    """Return the models at the end of each finished stage of a run.

    Raises:
        InputError: no stage has ended, or a file is damaged.
    """
    kept = loaded.run.load_stages()
    if not kept:
        raise InputError(
            f"{loaded.run.folder} has no weights of its stages: no stage has ended yet, or an older version trained it"
        )
    return [_transformer(loaded.run, loaded.config, loaded.experiment, weights) for weights in kept]


def _transformer(
    run: Run, config: RunConfig, experiment: Experiment, weights: Mapping[str, Tensor]
) -> DistributionTransformer:
    transformer = DistributionTransformer(Encoding(experiment.grammar), torch_generator(config.seed, Purpose.WEIGHTS))
    try:
        transformer.load_state_dict(weights)
    except RuntimeError:  # The tensors have other sizes or names.
        raise InputError(
            f"{run.folder} does not fit {config.experiment}: its nodes or mutable attributes have changed since the "
            "training; restore them, or train again"
        ) from None
    return transformer.eval()


def feature_space(loaded: LoadedRun) -> FeatureSpace:
    """Return the last feature space in which the run compared images; a neutral one if it has none."""
    render = loaded.grammar.render_settings()
    size = render.height_px, render.width_px
    if loaded.features is not None:
        return loaded.features
    if loaded.run.summary.get("features") == "random":
        return RandomFeatures(size)
    if loaded.run.summary.get("features") == "inception":
        from trainer.features.inception import InceptionFeatures

        weights = loaded.config.inception_weights
        return InceptionFeatures(weights=Path(weights) if weights else None, layers=loaded.settings.layers)
    return neutral_space(size, natural.LOCAL_STRIDES, natural.PIXELS)
