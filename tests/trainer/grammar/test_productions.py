"""Counts, kinds and rows whose probabilities can be learned."""

import hashlib
import json

import numpy as np
import pytest
from support.grammars import FLAT, write_sprites

from trainer.errors import GrammarError, InputError
from trainer.experiments import load_experiment
from trainer.experiments.describe import check_text, show_text
from trainer.grammar import load_grammar
from trainer.grammar.productions import BINS, Structure, bins, matching

WORLD = (
    FLAT
    + """\
  disc: {class: disc, sprite: shapes, width: 8, height: 8, x: {uniform: [-9, 9]}}
  star: {class: star, sprite: shapes, width: 8, height: 8}
  town:
    children:
      - {kind: {disc: 0.6, star: 0.4}, mutable: true, count: {integers: [0, 2], mutable: true}}
      - kind: star
        along: {end: 9, spacing: {uniform: [2, 4], mutable: true}, keep: {uniform: [0.2, 1], mutable: true}}
  country: {}
scene:
  - camera
  - {kind: {town: 0.5, country: 0.5}, mutable: true}
  - {kind: disc, count: {poisson: [2, 5], mutable: true}}
"""
)
TARGET = """\
target:
  overrides:
    scene.2.count: {poisson: [3, 5]}
    town.children.0.kind: {star: 1}
    town.children.1.along.keep: {uniform: [0, 0.5]}
"""
NAMES = [
    "scene.1.kind",
    "scene.2.count",
    "town.children.0.count",
    "town.children.0.kind",
    "town.children.1.along.spacing",
    "town.children.1.along.keep",
]


@pytest.fixture
def grammar(tmp_path):
    return load_grammar(write_sprites(tmp_path, WORLD))


def scenes(grammar, count=2000, seed=0):
    rng = np.random.default_rng(seed)
    return [grammar.sample(rng) for _ in range(count)]


def frequencies(grammar, drawn):
    counts = {each.name: np.zeros(len(each.categories)) for each in grammar.productions}
    for scene in drawn:
        for name, category in scene.drawn:
            counts[name][category] += 1
    return {name: row / row.sum() for name, row in counts.items()}


def test_productions_are_named_by_their_path_in_the_file(grammar):
    assert [each.name for each in grammar.productions] == NAMES
    by_name = {each.name: each for each in grammar.productions}
    assert by_name["scene.2.count"].categories == ("0", "1", "2", "3", "4", "5")
    assert by_name["town.children.0.kind"].probabilities == (0.6, 0.4)
    keep = by_name["town.children.1.along.keep"]
    assert keep.probabilities == pytest.approx([0, 0, *[1 / 8] * 8])
    mean, _ = keep.moments(keep.probabilities)
    assert mean == pytest.approx(0.6)


def test_a_scene_records_every_draw_of_a_mutable_production(grammar):
    for scene in scenes(grammar, 50):
        drawn = dict(scene.drawn)
        kinds = [node.kind for node in scene.nodes]
        roots = [node for node in scene.nodes if node.parent is None and node.kind == "disc"]
        assert drawn["scene.2.count"] == len(roots)
        assert ("town.children.0.count" in drawn) == ("town" in kinds)
        assert drawn["scene.1.kind"] == (0 if "country" in kinds else 1)
        if "town" in kinds:
            below = [name for name, _ in scene.drawn].count("town.children.0.kind")
            assert below == drawn["town.children.0.count"]


def test_drawn_categories_are_distributed_as_the_probabilities_say(grammar):
    found = frequencies(grammar, scenes(grammar, 4000))
    for each in grammar.productions:
        # 4.5 standard errors of 1600 draws or more
        assert np.abs(found[each.name] - each.probabilities).max() < 4.5 * np.sqrt(0.25 / 1600), each.name


def test_a_structure_replaces_the_probabilities(grammar):
    learned = Structure(
        {
            "scene.1.kind": (0.1, 0.9),
            "scene.2.count": (0.0, 0.0, 0.0, 0.5, 0.5, 0.0),
            "town.children.0.count": (0.0, 0.25, 0.75),
            "town.children.0.kind": (0.2, 0.8),
            "town.children.1.along.spacing": (*(0.0,) * 9, 1.0),
            "town.children.1.along.keep": (0.5, 0.5, *(0.0,) * 8),
        }
    )
    changed = grammar.with_structure(learned)
    assert changed.structure.probabilities.keys() == learned.probabilities.keys()
    for name, row in changed.structure.probabilities.items():
        assert row == pytest.approx(learned.probabilities[name], abs=1e-9), name
    found = frequencies(changed, scenes(changed, 3000))
    for name, row in learned.probabilities.items():
        assert np.abs(found[name] - row).max() < 4.5 * np.sqrt(0.25 / 2500), name
    assert grammar.structure.probabilities != learned.probabilities


def test_the_priors_own_structure_gives_the_same_scenes_of_counts_and_kinds(tmp_path):
    text = WORLD.replace(", mutable: true}, keep: {uniform: [0.2, 1], mutable: true}", "}, keep: {uniform: [0.2, 1]}")
    grammar = load_grammar(write_sprites(tmp_path, text))
    again = grammar.with_structure(grammar.structure)
    assert [s.nodes for s in scenes(again, 50)] == [s.nodes for s in scenes(grammar, 50)]


def test_marking_productions_as_mutable_changes_no_scene(tmp_path, grammar):
    fixed = load_grammar(write_sprites(tmp_path, WORLD.replace(", mutable: true", ""), "fixed.yaml"))
    assert fixed.productions == ()
    for before, after in zip(scenes(fixed, 50), scenes(grammar, 50), strict=True):
        assert (before.nodes, before.noise, before.drawn) == (after.nodes, after.noise, ())


#: Of nine scenes each, recorded before productions could be mutable.
SHIPPED = {
    "aerial": "5c40d59f0134b168",
    "driving": "60d712e34668d017",
    "mnist-class": "a308710fc95f1736",
    "mnist-rot": "9c899214235a242e",
    "mnist-rot-trans": "c58edf8f619b221d",
    "tyol-1": "a7e22700ac1ee3fc",
    "tyol-8-multi": "05c75a9bc77c1ae6",
}


@pytest.mark.parametrize("name", SHIPPED)
def test_scenes_of_shipped_grammars_stay_as_they_are(name):
    grammar, digest = load_grammar(name), hashlib.sha256()
    for seed in range(3):
        for scene in scenes(grammar, 3, seed):
            rows = [
                (
                    node.id,
                    node.kind,
                    node.class_name,
                    node.parent,
                    sorted(node.values.items()),
                    node.asset and node.asset.index,
                    node.texture and node.texture.index,
                    sorted(node.choices.items()),
                )
                for node in scene.nodes
            ]
            digest.update(repr(rows).encode())
            digest.update(str(scene.noise).encode())
    assert digest.hexdigest()[:16] == SHIPPED[name]


def test_a_structure_survives_json(grammar):
    structure = Structure.uniform(grammar.productions)
    assert Structure.from_json(json.loads(json.dumps(structure.to_json()))) == structure
    mixed = structure.mixed(grammar.structure, 0.5).probabilities["town.children.0.kind"]
    assert mixed == pytest.approx([0.55, 0.45])


def test_a_structure_of_another_grammar_is_refused(grammar):
    rows = {**Structure.uniform(grammar.productions).probabilities, "scene.2.count": (0.5, 0.5)}
    with pytest.raises(InputError, match=r"does not fit the grammar: scene\.2\.count differ"):
        grammar.with_structure(Structure(rows))


def test_matching_reads_a_targets_probabilities(tmp_path):
    experiment = load_experiment(write_sprites(tmp_path, WORLD + TARGET))
    target = experiment.target.grammar
    rows = matching(experiment.grammar.productions, target.roots, target.kinds).probabilities
    assert rows["town.children.0.kind"] == (0.0, 1.0)
    assert rows["town.children.1.along.keep"] == pytest.approx([0.2] * 5 + [0] * 5)
    assert rows["scene.2.count"] == pytest.approx(target.roots[2].count.probabilities)
    assert rows["scene.1.kind"] == (0.5, 0.5)


def test_a_target_that_the_grammar_cannot_draw_is_refused(tmp_path):
    text = WORLD + "target: {overrides: {scene.2.count: {constant: 6}}}\n"
    with pytest.raises(GrammarError) as caught:
        load_experiment(write_sprites(tmp_path, text))
    line = text.splitlines().index("target: {overrides: {scene.2.count: {constant: 6}}}") + 1
    assert str(caught.value) == (
        f"{tmp_path}/world.yaml:{line}: target.overrides: 1 of the target's draws of scene.2.count are none of the "
        "grammar's options ('0, 1, 2, 3, 4, 5'), so they cannot be learned; add them to the grammar"
    )


def test_show_and_check_tell_what_is_mutable(tmp_path):
    experiment = load_experiment(write_sprites(tmp_path, WORLD + TARGET))
    assert "; 6 mutable productions; " in check_text(experiment)
    shown = [" ".join(line.split()) for line in show_text(experiment).splitlines()]
    assert "├─ country x 1 with probability 0.5, mutable: frame" in shown
    [counts] = [row for row in shown if row.startswith("scene.2.count")]
    assert counts.startswith("scene.2.count 0 (0.138) or 1 (0.275) or")
    assert " 1.927 1.304 yes 0 (0.0543) or" in counts
    assert "town.children.0.kind disc (0.6) or star (0.4) yes disc (0) or star (1)" in shown


def test_bins_cover_the_range():
    edges = bins(0.0, 1.0)
    assert len(edges) == BINS + 1
    assert (edges[0], edges[-1]) == (0.0, 1.0)
