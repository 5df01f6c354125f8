"""Finished runs whose transformer does something known, made without training."""

from pathlib import Path

from support.crafted import moving

from trainer.grammar import load_grammar
from trainer.model.encoding import Encoding
from trainer.runs.folder import Run, RunConfig


def moving_run(folder: Path, experiment: str, amounts: dict[str, float], *, engine: str = "raster") -> Run:
    """Return a run whose transformer adds `amounts` ("kind.name": amount) to attributes, and changes nothing else."""
    transformer = moving(Encoding(load_grammar(experiment)), amounts)
    run = Run.create(folder, RunConfig(experiment=experiment, overrides={}, seed=0, engine=engine))
    run.save_checkpoint({"epoch": 1}, {"average": transformer.state_dict()})
    return run
