"""Experiments: a grammar, a target, a task, and the settings to learn with."""

from trainer.experiments.experiment import Experiment, ImageTarget, Target, load_experiment

__all__ = ["Experiment", "ImageTarget", "Target", "load_experiment"]
