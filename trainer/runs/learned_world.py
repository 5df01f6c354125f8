"""The grammar that a run has learned, as a file to read, edit and generate from.

Probabilities of productions and categories are written unchanged. For each mutable number, the Bayesian information
criterion selects the distribution that best fits the run's samples: the prior's own, a uniform, a normal, or a mixture
of normals. Only marginal distributions are written; the run alone holds dependences between attributes.
"""

import copy
from collections.abc import Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from trainer.grammar import AttributeSpec, SceneGraph
from trainer.grammar.distributions import Categorical, Mixture, Uniform
from trainer.grammar.files import EXPERIMENT_KEYS, open_file
from trainer.grammar.nodes import MODE
from trainer.grammar.overrides import apply_overrides
from trainer.grammar.productions import COUNT, KIND, SCENE, Production
from trainer.grammar.schema_sections import DISTRIBUTIONS
from trainer.grammar.write_distribution import shares, short, written
from trainer.metrics.distribution_fit import fitted
from trainer.model.sampling import transformed
from trainer.randomness import EvaluationStream, Purpose, generator
from trainer.runs.inputs import kept_copies
from trainer.runs.loading import LoadedRun

#: Scenes to which distributions are fitted, and the largest number of an attribute's values that are used.
SCENES, VALUES = 1500, 2000
#: Smallest probability of a category that can still be learned later.
LEAST_SHARE = 1e-4
#: Keys of the file that do not belong to the grammar.
_DROPPED = ("grammar", "overrides", "target", "training")
_PATHS = ("idx", "labels", "images", "meshes", "bop")
#: Width of the text; a value that fits on one line is written on one.
WIDTH = 110


class _Dumper(yaml.SafeDumper):
    """Writes short values on one line."""

    def represent_mapping(self, tag: str, mapping: Any, flow_style: bool | None = None) -> yaml.MappingNode:
        node = super().represent_mapping(tag, mapping, flow_style)
        node.flow_style = len(str(mapping)) < WIDTH
        return node

    def represent_sequence(self, tag: str, sequence: Any, flow_style: bool | None = None) -> yaml.SequenceNode:
        node = super().represent_sequence(tag, sequence, flow_style)
        node.flow_style = len(str(sequence)) < WIDTH
        return node


def learned_world(loaded: LoadedRun) -> str:
    """Return the learned world of a run as the text of a grammar file."""
    opened = open_file(loaded.config.experiment, kept_copies(loaded.run))
    overrides = {k: v for k, v in loaded.config.overrides.items() if k.split(".")[0] not in EXPERIMENT_KEYS}
    world = apply_overrides(opened.world, overrides, Path.cwd())
    data: dict[str, Any] = copy.deepcopy({str(key): value for key, value in world.data.items() if key not in _DROPPED})
    for key in ("engine", "task", "task_settings"):
        if key in opened.file.data:
            data[key] = copy.deepcopy(opened.file.data[key])
    _anchor(data.get("assets"), world.path.resolve().parent)
    rng = generator(loaded.config.seed, Purpose.EVALUATION, EvaluationStream.WORLD)
    grammar = loaded.grammar
    before = [grammar.sample(rng) for _ in range(SCENES)]
    scenes = transformed(loaded.transformer, before)
    nodes = data["nodes"]
    for kind, spec in grammar.specs:
        if spec.mutable:
            _write_number(nodes[kind], spec, _values(scenes, kind, spec.name))
    _write_categories(nodes, scenes)
    for production in grammar.productions:
        _write_production(data, production)
    head = [
        f"# The world that {loaded.run.folder.resolve().name} has learned, from {Path(loaded.config.experiment).name}.",
        "# Each attribute is written by itself; how attributes depend on each other is only in the run.",
        *(f"# {line}" for line in loaded.run.summary.get("population") or ()),
    ]
    body = yaml.dump(data, Dumper=_Dumper, sort_keys=False, width=WIDTH, allow_unicode=True)
    return "\n".join(head) + "\n" + body


def _write_number(node: MutableMapping[str, Any], spec: AttributeSpec, values: np.ndarray) -> None:
    if not len(values):
        return
    found = fitted(values[:: max(1, len(values) // VALUES)], spec)
    if found is spec.distribution:
        return
    node[spec.name] = _with_distribution(node[spec.name], written(found))


def _write_categories(nodes: MutableMapping[str, Any], scenes: Sequence[SceneGraph]) -> None:
    kinds = scenes[0].kinds
    for kind in kinds.values():
        own = [node for scene in scenes for node in scene.nodes if node.kind == kind.name]
        for choice in kind.choices:
            if choice.name == MODE.name or not own:
                continue
            counts = np.bincount([node.choices[choice.name] for node in own], minlength=len(choice.categories))
            row = dict(zip(choice.categories, shares(counts), strict=True))
            section = nodes[kind.name]
            at = section["material"] if choice.name == "texture" else section
            if choice.name in ("sprite", "mesh", "texture", "front", "back"):
                before = at[choice.name]
                given = {str(key): key for key in (before.get("weights") or {})} if isinstance(before, dict) else {}
                at[choice.name] = {**before, "weights": {given.get(name, name): share for name, share in row.items()}}
            elif choice.name == "color":
                at["color"] = {**at["color"], "weights": row}
            else:
                spec = next(each for each in kind.specs if each.name == choice.name)
                values = spec.distribution.values if isinstance(spec.distribution, Categorical) else ()
                learned = {"categorical": dict(zip((short(v) for v in values), row.values(), strict=True))}
                at[choice.name] = _with_distribution(at[choice.name], learned)


def _write_production(data: MutableMapping[str, Any], production: Production) -> None:
    entries = data["scene"] if production.owner == SCENE else data["nodes"][production.owner]["children"]
    entry = entries[production.entry]
    row = shares(np.maximum(production.probabilities, LEAST_SHARE))
    if production.part == KIND:
        entry["kind"] = dict(zip(production.categories, row, strict=True))
    elif production.part == COUNT:
        table = {int(number): share for number, share in zip(production.numbers, row, strict=True)}
        entry["count"] = _with_distribution(entry["count"], {"categorical": table})
    else:
        half = (production.numbers[1] - production.numbers[0]) / 2
        parts = tuple(Uniform(centre - half, centre + half) for centre in production.numbers)
        name = production.part.removeprefix("along.")
        learned = written(Mixture(parts, production.probabilities))
        entry["along"][name] = _with_distribution(entry["along"][name], learned)


def _with_distribution(before: object, learned: Mapping[str, Any]) -> dict[str, Any]:
    rest = before if isinstance(before, dict) else {}
    return {**learned, **{key: value for key, value in rest.items() if key not in DISTRIBUTIONS}}


def _values(scenes: Sequence[SceneGraph], kind: str, name: str) -> np.ndarray:
    return np.array([node.values[name] for scene in scenes for node in scene.nodes if node.kind == kind])


def _anchor(assets: object, base: Path) -> None:
    """Make the paths of asset sets absolute, so that the file can be moved."""
    for section in assets.values() if isinstance(assets, dict) else ():
        for key in _PATHS:
            if isinstance(section, dict) and isinstance(section.get(key), str):
                section[key] = str(base / section[key])
