"""The documentation of the language, its JSON Schema and the grammars that ship, held against the schema."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from pydantic import ValidationError
from support.data import shared_data
from support.grammars import write_sprites

from trainer.environment import shipped_files
from trainer.experiments import load_experiment
from trainer.experiments.describe import check_text, show_text
from trainer.grammar import load_grammar, node_schema, schema, schema_sections
from trainer.grammar.attribute_table import ATTRIBUTES
from trainer.grammar.distributions import Normal, Wrapped
from trainer.grammar.document import parse_document
from trainer.grammar.json_schema import json_schema_text

GRAMMARS = Path(__file__).resolve().parents[3] / "grammars"
README = (GRAMMARS / "README.md").read_text(encoding="utf-8")
ATTRIBUTE_NAMES = {name for table in ATTRIBUTES.values() for name in table}

#: Headings of the README (and the number of the table below them) with the section of the schema.
TABLES = [
    ("## The file", 0, schema.WorldFile),
    ("### `render`", 0, schema.RenderSection),
    ("### `assets`", 0, schema.AssetSetSection),
    ("### `scene` and `children`", 0, node_schema.ChildSection),
    ("### `apart`", 0, node_schema.ApartSection),
    ("### `along`", 0, node_schema.AlongSection),
    ("### `nodes`", 0, node_schema.NodeSection),
    ("### `nodes`", 1, node_schema.NodeSection),
    ("### `nodes`", 2, schema_sections.AttributeSection),
    ("### Distributions", 0, schema_sections.DistributionSection),
    ("### `sprite`, `mesh`, `front`, `back` and `texture`", 0, node_schema.AssetSection),
    ("### `color`", 0, node_schema.ColorSection),
    ("### `material`", 0, node_schema.MaterialSection),
    ("### `camera`", 0, node_schema.CameraSection),
    ("### `calibration`", 0, node_schema.CalibrationSection),
    ("### `light`", 0, node_schema.LightSection),
    ("### `target`", 0, schema.TargetSection),
]


def table(heading: str, number: int) -> list[dict[str, str]]:
    """The rows of a table of the README, by the names of its columns; the first is called `key`."""
    below = README.split(f"\n{heading}\n")[1].split("\n## ")[0].split("\n### ")[0]
    blocks = re.findall(r"(?:^\|.*\n)+", below + "\n", re.MULTILINE)
    lines = [line.strip("|").split("|") for line in blocks[number].splitlines()]
    head, _, *rows = [[cell.strip() for cell in line] for line in lines]
    return [dict(zip(["key", *head[1:]], row, strict=True)) for row in rows]


def documented(section: type[schema_sections.Section]) -> list[str]:
    return [row["key"].strip("`") for heading, number, of in TABLES if of is section for row in table(heading, number)]


@pytest.mark.parametrize("section", dict.fromkeys(section for _, _, section in TABLES))
def test_the_readme_documents_every_key_and_no_other(section):
    known = set(section.known_keys())
    if section is schema_sections.AttributeSection:
        known -= set(schema_sections.DISTRIBUTIONS)
    assert sorted(documented(section)) == sorted(known)


@pytest.mark.parametrize(("heading", "number", "section"), TABLES)
def test_every_example_and_default_of_the_readme_is_right(heading, number, section):
    for row in table(heading, number):
        # The language's own reading: `on` is a name.
        example = parse_document(row["example"].strip("`"), Path("README.md")).data
        assert list(example) == [row["key"].strip("`")]
        try:
            section.model_validate(example)
        except ValidationError as error:
            faults = [fault for fault in error.errors() if fault["type"] not in ("missing", "distribution", "source")]
            assert faults == [], row
        field = next(
            field for name, field in section.model_fields.items() if (field.alias or name) == row["key"].strip("`")
        )
        if row.get("default", "").startswith("`") and ";" not in row["default"] and field.default is not None:
            shown = yaml.safe_load(row["default"].strip("`"))
            default = field.default
            if row["key"] == "`count`" and section is node_schema.ChildSection:
                default = default.constant
            assert list(default) == shown if isinstance(default, tuple) else default == shown, row


def test_the_readme_gives_each_attributes_unit_default_and_range():
    rows = {row["key"].strip("`"): row for row in table("### `nodes`", 1)}
    assert set(rows) == ATTRIBUTE_NAMES
    for kinds in ATTRIBUTES.values():
        for name, row in kinds.items():
            text = rows[name]
            assert {"length": "`unit`", "W/m2": "W/m²"}.get(row.unit, row.unit) in text["unit"]
            if row.is_angle:
                assert (text["range"], row.low, row.high) == ("-180 to 180, wraps", -180, 180)
            if row.default is None:
                assert "must be given" in text["default"]


def test_the_committed_json_schema_is_current():
    """`python -m trainer.grammar.json_schema > grammars/schema.json` updates it."""
    assert (GRAMMARS / "schema.json").read_text(encoding="utf-8") == json_schema_text()
    assert json.loads(json_schema_text())["$defs"]["AttributeSection"]["anyOf"][0] == {"type": "number"}


def test_the_readmes_first_grammar_runs():
    blocks = re.findall(r"```yaml grammar\n(.*?)```", README, re.DOTALL)
    assert len(blocks) == 2
    schema.WorldFile.model_validate(yaml.safe_load(blocks[0]))


def test_a_world_of_three_glb_models_fits_into_sixty_lines(tmp_path):
    block = re.findall(r"```yaml grammar\n(.*?)```", README, re.DOTALL)[1]
    assert block.count("\n") < 30
    kit = shared_data("assets3d") / "kenney_car_kit"
    (tmp_path / "models").mkdir()
    for name in ("sedan", "van", "truck"):
        shutil.copy(kit / f"{name}.glb", tmp_path / "models")
    shutil.copytree(kit / "Textures", tmp_path / "models" / "Textures")
    shutil.copytree(kit / "Textures", tmp_path / "textures")
    grammar = load_grammar(write_sprites(tmp_path, block))
    scene = grammar.sample(np.random.default_rng(0))
    cars = [node for node in scene.nodes if node.kind == "car"]
    assert {(item.spec.name, scene.nodes[item.node].kind) for item in scene.mutable} == {
        ("roll", "camera"),
        ("intensity", "sun"),
        ("x", "car"),
        ("y", "car"),
        ("yaw", "car"),
    }
    wire = scene.to_wire(grammar.assets.hash_of)
    assert 2 <= len(cars) <= 5
    assert all(node.mesh.asset.format == 3 for node in wire.nodes if node.class_name == "car")


def test_what_ships_loads():
    assert {"mnist-rot", "mnist-rot-trans"} <= set(shipped_files())
    for name in shipped_files():
        assert load_experiment(name).name == name


def test_the_mnist_experiments_are_the_papers():
    shared_data("mnist")
    turned, moved = load_experiment("mnist-rot"), load_experiment("mnist-rot-trans")
    for experiment, size in ((turned, 32), (moved, 64)):
        assert (experiment.grammar.render.width_px, experiment.grammar.render.height_px) == (size, size)
        assert experiment.target is not None
        prior, target, test = experiment.grammar, experiment.target.grammar, experiment.target.evaluation
        assert [len(grammar.asset_sets["digits"]) for grammar in (prior, target, test)] == [60_000, 5_000, 5_000]
        assert prior.classes == tuple("0123456789")
        yaws = [
            spec.distribution for grammar in (prior, target, test) for _, spec in grammar.specs if spec.name == "yaw"
        ]
        assert yaws == [Wrapped(Normal(0, 10)), Wrapped(Normal(90, 10)), Wrapped(Normal(90, 10))]
    rng = np.random.default_rng(0)
    values = np.array([moved.target.grammar.sample(rng).values() for _ in range(2000)])  # type: ignore[union-attr]
    np.testing.assert_allclose(values.mean(axis=0), [-16, -16, 90], atol=0.7)
    np.testing.assert_allclose(values.std(axis=0), [2, 2, 10], rtol=0.06)
    scene = turned.grammar.sample(rng)
    asset = scene.nodes[1].asset
    assert scene.nodes[1].class_name == str(turned.grammar.asset_sets["digits"].label(asset.index))


def test_show_tells_everything_that_is_drawn(tmp_path):
    path = write_sprites(
        tmp_path,
        """\
render: {width: 32, height: 16}
assets: {shapes: {images: shapes}, things: {procedural: household, licence: ours}}
nodes:
  eye: {camera: orthographic, fov: 32, z: 10}
  road: {mesh: plane, curvature: 0.01, children: [{kind: car, along: {start: {uniform: [0, 9]}, end: 90, spacing: 8,
    keep: {uniform: [0, 1]}, y: -3, yaw: 180}}]}
  car:
    mesh: {set: things, weights: {box: 0.7, mug: 0.3}, mutable: true}
    color: {choices: {white: [1, 1, 1], red: [1, 0, 0]}, weights: {white: 0.8, red: 0.2}}
    yaw: {categorical: {0: 0.9, 90: 0.1}, mutable: true}
    material: {texture: {set: shapes, weights: {disc: 1}}}
scene: [eye, road]
target: {overrides: {car.color.weights: {white: 0.2, red: 0.8}}}
""",
    )
    shown = [" ".join(line.split()) for line in show_text(load_experiment(path)).splitlines()]
    assert "└─ road x 1: mesh plane, its line bends by 0.01 per m" in shown
    assert (
        "└─ car x up to 12 in a row (from uniform 0 to 9 to 90, each 8 on, taken with uniform 0 to 1, y -3, yaw 180): "
        "mesh of things by weight textured of shapes by weight"
    ) in shown
    assert "things 5 meshes labels bottle, box, mug, tool, toy ours" in shown
    first = next(index for index, line in enumerate(shown) if line.startswith("car."))
    assert shown[first : first + 4] == [
        "car.color white (0.8) or red (0.2) white (0.2) or red (0.8)",
        "car.mesh box (0.7) or mug (0.3) yes",
        "car.texture disc (1)",
        "car.yaw 0 (0.9) or 90 (0.1) 9 27 -180 to 180, wraps deg yes",
    ]


def test_what_occurs_again_is_described_once(tmp_path):
    path = write_sprites(
        tmp_path,
        """\
unit: px
render: {width: 32, height: 16}
assets: {shapes: {images: shapes}}
nodes:
  eye: {camera: orthographic, fov: 32, z: 10}
  left: {x: -5, children: &row [thing, {kind: {thing: 0.75, other: 0.25}, count: 2}]}
  right: {x: 5, children: *row}
  thing: {class: shape, sprite: shapes, width: 8, height: 8, yaw: {normal: [0, 10], mutable: true}}
  other: {sprite: shapes, width: 8, height: 8, children: [dot]}
  dot: {sprite: shapes, width: 2, height: 2}
scene: [eye, left, right, {kind: {thing: 0.75, other: 0.25}}]
""",
    )
    tree = show_text(load_experiment(path)).partition("\nscene\n")[2].partition("\n\n")[0]
    assert tree == (
        """\
├─ eye x 1: orthographic camera
├─ left x 1: frame
│  ├─ thing x 1: sprite of shapes, class shape
│  ├─ other x 2 with probability 0.25: sprite of shapes
│  │  └─ dot x 1: sprite of shapes
│  └─ thing x 2 with probability 0.75
├─ right x 1: frame
│  └─ the same as in left
└─ other (0.25) or thing (0.75) x 1"""
    )


def test_check_and_show(tmp_path):
    path = write_sprites(
        tmp_path,
        """\
unit: px
render: {width: 32, height: 16}
assets: {shapes: {images: shapes}}
nodes:
  eye: {camera: orthographic, fov: 32, z: 10}
  row: {children: [{kind: {thing: 0.75, lamp: 0.25}, count: {integers: [1, 2]}}]}
  thing: {class: shape, sprite: shapes, width: 8, height: 8, yaw: {normal: [0, 10], mutable: true}}
  lamp: {light: point, intensity: {uniform: [1, 2]}}
scene: [eye, row]
target: {overrides: {thing.yaw: {normal: [90, 10]}}}
""",
    )
    experiment = load_experiment(path)
    assert check_text(experiment) == (
        f"{path} is right: 4 kinds of nodes; 1 mutable attribute; 1 class; assets: 3 shapes; with a target"
    )
    assert show_text(experiment) == (
        """\
world (32 x 16 pixels)

scene
├─ eye x 1: orthographic camera
└─ row x 1: frame
   ├─ lamp x 1 (0.5) or 2 (0.5) with probability 0.25: point light
   └─ thing x 1 (0.5) or 2 (0.5) with probability 0.75: sprite of shapes, class shape

assets
  shapes  3 images  no labels

attribute       distribution            mean  std     range               unit  mutable  target
eye.z           10                      10    0       any                 px
eye.fov         32                      32    0       above 0             px
lamp.intensity  uniform 1 to 2          1.5   0.2887  from 0              W
thing.yaw       normal 0 ± 10, wrapped  0     10      -180 to 180, wraps  deg   yes      normal 90 ± 10, wrapped
thing.width     8                       8     0       above 0             px
thing.height    8                       8     0       above 0             px"""
    )
