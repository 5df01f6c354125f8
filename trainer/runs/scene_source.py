"""Sources of scenes: the learned model of a run, or a grammar's prior."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trainer.errors import InputError
from trainer.experiments import Experiment, load_experiment
from trainer.grammar import Grammar, SceneGraph
from trainer.grammar.files import looks_like_path
from trainer.model.sampling import transformed
from trainer.model.transformer import DistributionTransformer
from trainer.randomness import Purpose, generator, integer
from trainer.runs.loading import open_run


@dataclass(frozen=True)
class SceneSource:
    """A grammar and, for a run, the learned model that changes its scenes."""

    #: A description of the source, for cards.
    of: str
    name: str
    experiment: Experiment
    grammar: Grammar
    engine: str
    notes: tuple[str, ...]
    transformer: DistributionTransformer | None = None

    def scenes(self, seed: int, indices: Sequence[int], attempt: int = 0) -> list[SceneGraph]:
        """Return the scenes of those numbers; each depends only on the source, the seed and its number.

        Args:
            attempt: attempts above 0 give other scenes of the same numbers, after the earlier ones were rejected.
        """
        more = (attempt,) if attempt else ()
        scenes = [self.grammar.sample(generator(seed, Purpose.GENERATION, index, *more)) for index in indices]
        return scenes if self.transformer is None else transformed(self.transformer, scenes)

    def noise(self, seed: int, index: int) -> int:
        """Return the seed of the sampling noise of scene number `index`."""
        return integer(seed, Purpose.GENERATION) + index

    def fingerprint(self, seed: int) -> str:
        """Return a hash of the first scene and its render settings; it changes with the grammar, model and assets."""
        [scene] = self.scenes(seed, [0])
        wire = scene.to_wire(self.grammar.assets.hash_of)
        parts = (wire, self.grammar.render_settings())
        return hashlib.sha256(b"".join(part.SerializeToString(deterministic=True) for part in parts)).hexdigest()[:16]


def open_source(source: str, *, mnist: Path | None = None) -> SceneSource:
    """Open a run folder, or a grammar or experiment given by name or path.

    Raises:
        InputError: it does not exist, or it is invalid.
    """
    folder = Path(source)
    if folder.is_dir():
        loaded = open_run(folder, mnist=mnist)
        return SceneSource(
            of=f"the learned model of {folder}",
            name=folder.resolve().name,
            experiment=loaded.experiment,
            grammar=loaded.grammar,
            engine=loaded.config.engine,
            notes=loaded.notes,
            transformer=loaded.transformer,
        )
    if looks_like_path(source) and not folder.is_file():
        raise InputError(f"{folder}: no run folder or grammar file has this name")
    experiment = load_experiment(source, mnist=mnist)
    return SceneSource(
        of=f"the prior of {experiment.name}",
        name=experiment.name,
        experiment=experiment,
        grammar=experiment.grammar,
        engine=experiment.engine,
        notes=experiment.notes,
    )
