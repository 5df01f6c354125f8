"""What a wrong grammar is answered with: one line with the file, the line, the place, the value and what is allowed."""

import pytest
from support.grammars import SPRITES, write_sprites

from trainer.errors import InputError
from trainer.experiments import load_experiment
from trainer.grammar import GrammarError, load_grammar

YAW = "yaw: {normal: [0, 10], mutable: true}"
X = "x: {uniform: [-4, 4], mutable: true, range: [-10, 10]}"
NODE_KEYS = (
    "class, sprite, mesh, front, back, material, color, camera, light, x, y, z, yaw, pitch, roll, scale, width, "
    "height, depth, red, green, blue, intensity, fov, exposure, temperature, tint, contrast, saturation, vignetting, "
    "blur, shot_noise, read_noise, jpeg_quality, elevation, turbidity, "
    "center_x, center_y, aspect, k1, k2, p1, p2, k3, mutable, children, curvature"
)

FAULTS = [
    ("yaw: {", "yew: {", f"12: nodes.thing: unknown key 'yew'; did you mean 'yaw'? Known: {NODE_KEYS}"),
    (YAW, "yaw: {normal: [0, -10]}", "12: nodes.thing.yaw.normal[1] is -10; it must be above 0"),
    (YAW, "yaw: {normal: [0, ten]}", "12: nodes.thing.yaw.normal[1] is 'ten'; a number is needed, without a unit"),
    (YAW, "yaw: {normal: [0]}", "12: nodes.thing.yaw.normal is [0]; 2 values are needed"),
    (YAW, "yaw: {normal: [0, 1, 2]}", "12: nodes.thing.yaw.normal is [0, 1, 2]; at most 2 values are allowed"),
    (YAW, "yaw: {normal: 10}", "12: nodes.thing.yaw.normal is 10; a list is needed"),
    (YAW, "yaw: {normal: [0, .inf]}", "12: nodes.thing.yaw.normal[1] is inf; a finite number is needed"),
    (YAW, "yaw: fast", "12: nodes.thing.yaw is 'fast'; a number is needed, without a unit"),
    (YAW, "yaw: true", "12: nodes.thing.yaw is true; a number is needed, without a unit"),
    (YAW, "yaw:", "12: nodes.thing.yaw is empty; give a value or leave the key out"),
    (
        YAW,
        "yaw: {mutable: true}",
        "12: nodes.thing.yaw: no distribution is given; exactly one is needed of: constant, uniform, normal, "
        "truncated_normal, wrapped_normal, von_mises, categorical, integers, poisson, mixture",
    ),
    (
        YAW,
        "yaw: {normal: [0, 1], uniform: [0, 1]}",
        "12: nodes.thing.yaw: 2 distributions (uniform, normal) are given; exactly one is needed of: "
        "constant, uniform, normal, truncated_normal, wrapped_normal, von_mises, categorical, integers, "
        "poisson, mixture",
    ),
    (YAW, "yaw: {normal: [400, 1]}", "12: nodes.thing.yaw.normal[0] is 400; the mean must lie between -360 and 360"),
    (
        YAW,
        "yaw: {uniform: [0, 400]}",
        "12: nodes.thing.yaw.uniform is [0, 400]; a uniform distribution covers at most 360 degrees",
    ),
    (YAW, "yaw: {normal: [0, 1], mutable: 1}", "12: nodes.thing.yaw.mutable is 1; true or false is needed"),
    (
        YAW,
        "yaw: {von_mises: [0, 1], range: [-90, 90]}",
        "12: nodes.thing.yaw.von_mises is [0, 1]; only an angle whose range is the whole circle wraps; "
        "use normal or truncated_normal",
    ),
    (
        YAW,
        "yaw: {normal: [0, 1], range: [-200, 200]}",
        "12: nodes.thing.yaw.range is [-200, 200]; a range of angles is at most 360 degrees wide",
    ),
    (
        X,
        "x: {normal: [12, 2], range: [-10, 10]}",
        "13: nodes.thing.x.normal[0] is 12; the mean must lie between -10 and 10",
    ),
    (
        X,
        "x: {uniform: [-4, 40], range: [-10, 10]}",
        "13: nodes.thing.x.uniform[1] is 40; it must lie between -10 and 10",
    ),
    (X, "x: {uniform: [4, -4]}", "13: nodes.thing.x.uniform is [4, -4]; low must be below high"),
    (X, "x: {constant: 11, range: [-10, 10]}", "13: nodes.thing.x.constant is 11; it must lie between -10 and 10"),
    (X, "x: {normal: [0, 1], range: [10, -10]}", "13: nodes.thing.x.range is [10, -10]; low must be below high"),
    (
        X,
        "x: {normal: [0, 1], mutable: true}",
        "13: nodes.thing.x: mutable attributes need a finite range; add e.g. range: [-1, 1]",
    ),
    (
        X,
        "x: {normal: [0, 1], mutable: true, range: [-3, 3], step: 7}",
        "13: nodes.thing.x.step is 7; a step must fit into the range, 6 wide",
    ),
    (
        X,
        "x: {truncated_normal: [5, 1, 0, 4]}",
        "13: nodes.thing.x.truncated_normal[0] is 5; the mean must lie between 0 and 4, where it is cut off",
    ),
    (
        X,
        "x: {categorical: {1: 0.5, 2: 0.4}}",
        "13: nodes.thing.x.categorical is {1: 0.5, 2: 0.4}; the probabilities sum to 0.9; they must sum to 1",
    ),
    (X, "x: {categorical: {1: 1.5}}", "13: nodes.thing.x.categorical[1] is 1.5; it must be at most 1"),
    (X, "x: {categorical: {left: 1}}", "13: nodes.thing.x.categorical: the key 'left' must be a number"),
    (X, "x: {categorical: []}", "13: nodes.thing.x.categorical is []; at least one number is needed"),
    (
        X,
        "x: {mixture: [{weight: 0.5, normal: [0, 1]}, {weight: 0.2, normal: [3, 0]}]}",
        "13: nodes.thing.x.mixture[1].normal[1] is 0; it must be above 0",
    ),
    (X, "x: {mixture: [{normal: [0, 1]}]}", "13: nodes.thing.x.mixture[0].weight is missing; it must be given"),
    (
        "sprite: shapes",
        "sprite: shape",
        "9: nodes.thing.sprite: unknown set of assets 'shape'; did you mean 'shapes'? Known: shapes",
    ),
    (
        "sprite: shapes",
        "mesh: cubes",
        "9: nodes.thing.mesh: unknown mesh or set of assets 'cubes'; did you mean 'cube'? Known: cube, "
        "plane, sphere, card, shapes",
    ),
    (
        "sprite: shapes",
        "mesh: shapes",
        "9: nodes.thing.mesh is 'shapes'; a set of meshes is needed; shapes holds images",
    ),
    (
        "sprite: shapes",
        "sprite: {set: shapes, weights: {disk: 1}}",
        "9: nodes.thing.sprite.weights: unknown item 'disk'; did you mean 'disc'? Known: disc, square, star",
    ),
    (
        "sprite: shapes",
        "sprite: {set: shapes, weights: {disc: 0.3}}",
        "9: nodes.thing.sprite.weights is {'disc': 0.3}; the probabilities sum to 0.3; they must sum to 1",
    ),
    ("    height: 8\n", "", "7: nodes.thing.height is missing; it has no default; state it"),
    ("    width: 8\n", "    width: -8\n", "10: nodes.thing.width is -8; it must lie at or above 1e-06"),
    (
        "    width: 8\n",
        "    fov: 8\n",
        "10: nodes.thing.fov: a sprite has no fov; it has x, y, z, yaw, pitch, roll, scale, width, height, "
        "red, green, blue",
    ),
    (
        "sprite: shapes",
        "mesh: cube",
        "2: render.view_transform is 'raw'; it renders sprites only, and thing is a mesh",
    ),
    (
        "class: thing",
        'class: "{label}"',
        "8: nodes.thing.class is '{label}'; {label} needs a set of assets that has labels",
    ),
    (
        "scene: [camera, thing]",
        "scene: [camera, think]",
        "14: scene[1]: unknown kind of node 'think'; did you mean 'thing'? Known: camera, thing",
    ),
    ("scene: [camera, thing]", "scene: [thing]", "14: scene: scenes have 0 cameras; every scene needs exactly one"),
    (
        "scene: [camera, thing]",
        "scene: [{kind: camera, count: {integers: [1, 2]}}]",
        "14: scene: scenes have 1 to 2 cameras; every scene needs exactly one",
    ),
    (
        "scene: [camera, thing]",
        "scene: [{kind: {camera: 0.5, thing: 0.5}}]",
        "14: scene: scenes have 0 to 1 cameras; every scene needs exactly one",
    ),
    (
        "scene: [camera, thing]",
        "scene: [camera, {kind: {thing: 0.5}}]",
        "14: scene[1].kind is {'thing': 0.5}; the probabilities sum to 0.5; they must sum to 1",
    ),
    (
        "scene: [camera, thing]",
        "scene: [camera, {kind: thing, count: -1}]",
        "14: scene[1].count is -1; it must lie at or above 0",
    ),
    (
        "scene: [camera, thing]",
        "scene: [camera, {kind: thing, count: 1.5}]",
        "14: scene[1].count is 1.5; counts must be whole numbers",
    ),
    (
        "scene: [camera, thing]",
        "scene: [camera, {kind: thing, count: {normal: [2, 1]}}]",
        "14: scene[1].count.normal is [2, 1]; a count is a whole number, or one of integers, categorical, poisson",
    ),
    (
        "scene: [camera, thing]",
        "scene: [camera, {kind: thing, count: {poisson: [0, 4]}}]",
        "14: scene[1].count.poisson[0] is 0; it must be above 0",
    ),
    (
        "scene: [camera, thing]",
        "scene: [camera, {kind: thing, count: {constant: 3, mutable: true}}]",
        "14: scene[1].count: a mutable count needs two options or more; add others, or leave mutable out",
    ),
    (
        "scene: [camera, thing]",
        "scene: [camera, {kind: thing, count: {poisson: [3, 1000], mutable: true}}]",
        "14: scene[1].count: it can reach 1000 nodes, and max_nodes is 1000",
    ),
    (
        "scene: [camera, thing]",
        "scene: [camera, {kind: thing, count: {integers: [0, 300], mutable: true}}]",
        "14: scene[1].count: a mutable count has at most 200 options",
    ),
    (
        "scene: [camera, thing]",
        "scene: [camera, {kind: thing, count: {categorical: {0: 0.0, 1: 0.5, 2: 0.5}, mutable: true}}]",
        "14: scene[1].count: 0 has probability 0, so a mutable count never draws it; give it a small probability or "
        "leave it out",
    ),
    (
        "scene: [camera, thing]",
        "scene: [camera, {kind: thing, mutable: true}]",
        "14: scene[1].kind: a mutable kind needs two options or more; add others, or leave mutable out",
    ),
    (
        "scene: [camera, thing]",
        "scene: [camera, {kind: {thing: 1, other: 0}, mutable: true}]\nmax_nodes: 9",
        "14: scene[1].kind: unknown kind of node 'other'; Known: camera, thing",
    ),
    (
        "scene: [camera, thing]",
        "scene: [camera, {kind: thing, along: {end: 9, spacing: {constant: 3, mutable: true}}}]",
        "14: scene[1].along.spacing: a mutable spacing needs a finite range; add e.g. range: [5, 20]",
    ),
    (
        "scene: [camera, thing]",
        "scene: [camera, {kind: thing, along: {end: 9, spacing: {constant: 3, range: [1, 4]}}}]",
        "14: scene[1].along.spacing.range is [1, 4]; only a mutable number of a row has a range; add mutable: true",
    ),
    (
        "scene: [camera, thing]",
        "scene: [camera, {kind: thing, along: {end: 9, spacing: {constant: 3, mutable: true, range: [0, 4]}}}]",
        "14: scene[1].along.spacing is {'constant': 3, 'mutable': True, 'range': [0, 4]}; "
        "the smallest distance must be at least 0.001",
    ),
    (
        "scene: [camera, thing]",
        "scene: [camera, {kind: thing, along: {end: 9, spacing: 3, "
        "keep: {constant: 1, mutable: true, range: [0, 2]}}}]",
        "14: scene[1].along.keep.range is [0, 2]; it must lie between 0 and 1",
    ),
    ("scene: [camera, thing]", "scene: [camera, 7]", "14: scene[1] is 7; a text is needed or a mapping is needed"),
    ("scene: [camera, thing]\n", "", "1: scene is missing; add the root nodes, e.g. [camera, car]"),
    (
        "camera: orthographic, fov: 32",
        "camera: fisheye, fov: 32",
        "6: nodes.camera.camera is 'fisheye'; it must be 'orthographic' or 'perspective'",
    ),
    ("z: 10}", "z: 10, scale: 2}", "6: nodes.camera.scale is 2; cameras and the nodes above them cannot be scaled"),
    ("class: thing", "light: sun", "7: nodes.thing: sprite and light are given; a node has at most one of them"),
    ("images: shapes", "images: forms", "4: assets.shapes.images is 'forms'; {folder}/forms is no folder"),
    (
        "images: shapes",
        "meshes: shapes",
        "4: assets.shapes.meshes is 'shapes'; {folder}/shapes holds no file that ends in .ply or .obj or .glb or "
        ".blend",
    ),
    (
        "images: shapes",
        "images: shapes, idx: shapes",
        "4: assets.shapes: idx and images are given; exactly one is needed of: "
        "mnist, idx, images, meshes, bop, procedural, hdris, materials",
    ),
    (
        "images: shapes",
        "images: shapes, fold: [2, 2]",
        "4: assets.shapes.fold is [2, 2]; the folds of 2 are numbered from 0 to 1",
    ),
    ("samples: 1", "samples: 0", "2: render.samples is 0; it must be at least 1"),
    ("samples: 1", "samples: many", "2: render.samples is 'many'; a whole number is needed"),
    (
        "samples: 1",
        "samplse: 1",
        "2: render: unknown key 'samplse'; did you mean 'samples'? Known: width, height, samples, "
        "filter_width, view_transform, max_bounces",
    ),
    ("  camera: {", "  render: {", "6: nodes.render: render is a key of the file; a kind of node needs another name"),
    (
        "  thing:\n",
        "  my thing:\n",
        "7: nodes.my thing: a name has up to 100 letters, digits, - and _, and does not begin with a digit",
    ),
    ("    height: 8\n", "    width: 9\n", "11: nodes.thing.width is given twice; the first is on line 10"),
    ("unit: px", "unit: [px", "2: not YAML: expected ',' or ']', but got ':'"),
    (
        "unit: px",
        "unit: !!python/name:os.system px",
        "1: not YAML: could not determine a constructor for the tag 'tag:yaml.org,2002:python/name:os.system'",
    ),
    ("unit: px", "unit: *px", "1: not YAML: found undefined alias 'px'"),
    (
        "unit: px",
        "unit: px\noverrides: {thing.x: 1}",
        "2: overrides: they belong to a `grammar`, which the file does not name",
    ),
    (
        "unit: px",
        "unit: px\ngrammar: mnist-rot",
        "1: unit: the file takes its world from grammar 'mnist-rot'; override it instead",
    ),
]


@pytest.mark.parametrize(
    ("good", "bad", "message"), FAULTS, ids=[bad.strip() or good.strip() for good, bad, _ in FAULTS]
)
def test_a_fault_is_told_in_one_line(tmp_path, good, bad, message):
    assert good in SPRITES
    path = write_sprites(tmp_path, SPRITES.replace(good, bad, 1))
    with pytest.raises(GrammarError) as caught:
        load_grammar(path)
    assert str(caught.value) == f"{path}:{message.replace('{folder}', str(tmp_path))}"
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, InputError)


def test_a_cycle_of_kinds_is_named(tmp_path):
    text = SPRITES.replace("    height: 8\n", "    height: 8\n    children: [part]\n")
    text = text.replace("scene:", "  part: {children: [thing]}\nscene:")
    path = write_sprites(tmp_path, text)
    with pytest.raises(GrammarError) as caught:
        load_grammar(path)
    assert str(caught.value) == f"{path}:12: nodes.thing.children: the kinds part > thing > part form a cycle"


def test_a_missing_file_an_empty_one_and_a_list(tmp_path):
    missing = tmp_path / "none.yaml"
    with pytest.raises(GrammarError) as caught:
        load_grammar(missing)
    assert str(caught.value) == f"{missing}: there is no such file"
    empty = tmp_path / "empty.yaml"
    empty.write_text("")
    with pytest.raises(GrammarError) as caught:
        load_grammar(empty)
    assert str(caught.value) == f"{empty}: holds empty; a grammar is a mapping that begins with keys such as `nodes:`"
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"nodes: \xff\xfe")
    with pytest.raises(GrammarError) as caught:
        load_grammar(binary)
    assert str(caught.value) == f"{binary}: byte 7 is not UTF-8; grammars are UTF-8 text"


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(GrammarError) as caught:
        load_experiment("mnist-rto")
    assert str(caught.value).startswith(
        "there is no grammar or experiment 'mnist-rto'; did you mean 'mnist-rot'? Known: "
    )


def test_an_alias_that_contains_itself_is_an_error(tmp_path):
    path = write_sprites(tmp_path, "nodes: &a\n  thing: *a\n")
    with pytest.raises(GrammarError) as caught:
        load_grammar(path)
    assert str(caught.value) == f"{path}:1: nodes.thing contains itself through an alias"


def test_a_bomb_of_aliases_is_an_error(tmp_path):
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    path = write_sprites(tmp_path, "\n".join(lines))
    with pytest.raises(GrammarError, match="holds more than 100000 values, aliases expanded"):
        load_grammar(path)
