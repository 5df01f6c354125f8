"""Finished runs whose transformer does something known, made without training."""

from pathlib import Path

import torch

from trainer.grammar import load_grammar
from trainer.model.encoding import Encoding
from trainer.model.transformer import DistributionTransformer
from trainer.randomness import Purpose, torch_generator
from trainer.runs.folder import Run, RunConfig


def shifting_run(folder: Path, experiment: str, shift: dict[str, float], *, engine: str = "raster") -> Run:
    """A run whose transformer adds `shift` ("kind.name": amount) to the attributes, and changes nothing else."""
    encoding = Encoding(load_grammar(experiment))
    transformer = DistributionTransformer(encoding, torch_generator(0, Purpose.WEIGHTS))
    torch.nn.init.zeros_(transformer.output.weight)
    torch.nn.init.zeros_(transformer.output.bias)
    names = [f"{kind}.{spec.name}" for kind, spec in encoding.mutable]
    transformer.shift.copy_(torch.tensor([shift.get(name, 0.0) for name in names]).expand_as(transformer.shift))
    run = Run.create(folder, RunConfig(experiment=experiment, overrides={}, seed=0, engine=engine))
    run.save_checkpoint({"epoch": 1}, {"average": transformer.state_dict()})
    return run
