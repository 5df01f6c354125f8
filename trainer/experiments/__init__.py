"""Experiments: a grammar, a target, a task, and the settings to learn with."""

from trainer.experiments.experiment import Experiment, load_experiment
from trainer.experiments.target import Labelling, PhotographTarget, SyntheticTarget, Target

__all__ = ["Experiment", "Labelling", "PhotographTarget", "SyntheticTarget", "Target", "load_experiment"]
