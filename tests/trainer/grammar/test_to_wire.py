"""Scenes on the wire: each number in the field that its attribute is named after."""

import time

import numpy as np
import pytest
from metasim.hashing import content_hash
from metasim.v1 import render_pb2, scene_pb2
from support.grammars import SPRITES, write_sprites

from trainer.errors import InputError
from trainer.grammar import load_grammar

PATHS = {
    scene_pb2.ATTRIBUTE_X: ("transform.x_m",),
    scene_pb2.ATTRIBUTE_Y: ("transform.y_m",),
    scene_pb2.ATTRIBUTE_Z: ("transform.z_m",),
    scene_pb2.ATTRIBUTE_YAW: ("transform.yaw_deg",),
    scene_pb2.ATTRIBUTE_PITCH: ("transform.pitch_deg",),
    scene_pb2.ATTRIBUTE_ROLL: ("transform.roll_deg",),
    scene_pb2.ATTRIBUTE_SCALE: ("transform.scale",),
    scene_pb2.ATTRIBUTE_WIDTH: ("sprite.width_m", "mesh.size_x"),
    scene_pb2.ATTRIBUTE_HEIGHT: ("sprite.height_m", "mesh.size_z"),
    scene_pb2.ATTRIBUTE_DEPTH: ("mesh.size_y",),
    scene_pb2.ATTRIBUTE_RED: ("sprite.tint.red", "mesh.material.base_color.red", "light.color.red"),
    scene_pb2.ATTRIBUTE_GREEN: ("sprite.tint.green", "mesh.material.base_color.green", "light.color.green"),
    scene_pb2.ATTRIBUTE_BLUE: ("sprite.tint.blue", "mesh.material.base_color.blue", "light.color.blue"),
    scene_pb2.ATTRIBUTE_INTENSITY: (
        "light.sun.irradiance_w_m2",
        "light.point.power_w",
        "light.area.power_w",
        "light.sky.irradiance_w_m2",
        "mesh.material.emission",
    ),
    scene_pb2.ATTRIBUTE_FOV: ("camera.perspective.vertical_fov_deg", "camera.orthographic.height_m"),
    scene_pb2.ATTRIBUTE_EXPOSURE: ("camera.response.exposure_ev",),
    scene_pb2.ATTRIBUTE_TEMPERATURE: ("camera.response.temperature_k",),
    scene_pb2.ATTRIBUTE_TINT: ("camera.response.tint",),
    scene_pb2.ATTRIBUTE_CONTRAST: ("camera.response.contrast",),
    scene_pb2.ATTRIBUTE_SATURATION: ("camera.response.saturation",),
    scene_pb2.ATTRIBUTE_VIGNETTING: ("camera.response.vignetting",),
    scene_pb2.ATTRIBUTE_BLUR: ("camera.response.blur_px",),
    scene_pb2.ATTRIBUTE_SHOT_NOISE: ("camera.response.shot_noise",),
    scene_pb2.ATTRIBUTE_READ_NOISE: ("camera.response.read_noise",),
    scene_pb2.ATTRIBUTE_JPEG_QUALITY: ("camera.response.jpeg_quality",),
    scene_pb2.ATTRIBUTE_ELEVATION: ("light.sky.sun_elevation_deg",),
    scene_pb2.ATTRIBUTE_TURBIDITY: ("light.sky.turbidity",),
    scene_pb2.ATTRIBUTE_CENTER_X: ("camera.perspective.lens.center_x",),
    scene_pb2.ATTRIBUTE_CENTER_Y: ("camera.perspective.lens.center_y",),
    scene_pb2.ATTRIBUTE_ASPECT: ("camera.perspective.lens.aspect",),
    scene_pb2.ATTRIBUTE_K1: ("camera.perspective.lens.k1",),
    scene_pb2.ATTRIBUTE_K2: ("camera.perspective.lens.k2",),
    scene_pb2.ATTRIBUTE_P1: ("camera.perspective.lens.p1",),
    scene_pb2.ATTRIBUTE_P2: ("camera.perspective.lens.p2",),
    scene_pb2.ATTRIBUTE_K3: ("camera.perspective.lens.k3",),
}
#: The smallest binary glTF file.
GLB = b"glTF" + bytes([2, 0, 0, 0, 24, 0, 0, 0, 4, 0, 0, 0]) + b"JSON{}  "
TRANSFORM = "x: 1, y: 2, z: 3, yaw: 4, pitch: 5, roll: 6"
RESPONSE = (
    "exposure: 0.5, temperature: 5000, tint: 0.1, contrast: 1.5, saturation: 0.5, vignetting: 0.2, blur: 1.5, "
    "shot_noise: 0.02, read_noise: 0.03, jpeg_quality: 80"
)
LENS = "center_x: 0.4, center_y: 0.6, aspect: 1.1, k1: -0.1, k2: 0.02, p1: 0.003, p2: -0.004, k3: 0.005"
COLOR = "red: 0.1, green: 0.2, blue: 0.3"
EVERYTHING = f"""\
render: {{width: 64, height: 32, samples: 7, filter_width: 1.5, max_bounces: 2}}
background: [0.25, 0.5, 0.75]
assets:
  shapes: {{images: shapes}}
  cars: {{meshes: cars}}
nodes:
  eye: {{camera: {{projection: perspective, near: 0.5, far: 50}}, {TRANSFORM}, fov: 60, {RESPONSE}, {LENS}}}
  frame: {{{TRANSFORM}, scale: 2, children: [sprite_thing, block, car, bare]}}
  sprite_thing: {{class: flat, sprite: shapes, {TRANSFORM}, scale: 0.5, width: 3, height: 4, {COLOR}}}
  block:
    {{class: solid, mesh: cube, width: 3, height: 4, depth: 5, {COLOR}, intensity: 0.5, material: {{roughness: 0.9}}}}
  car: {{class: solid, mesh: cars, yaw: 30}}
  bare: {{mesh: plane, material: {{texture: shapes}}}}
  sun: {{light: sun, intensity: 2, {COLOR}}}
  bulb: {{light: {{kind: point, size: 0.3}}, intensity: 20}}
  panel: {{light: area, intensity: 30}}
  heaven: {{light: sky, intensity: 4, elevation: 35, turbidity: 5}}
scene: [eye, frame, sun, bulb, panel, heaven]
"""


@pytest.fixture
def grammar(tmp_path):
    (tmp_path / "cars").mkdir()
    (tmp_path / "cars" / "van.glb").write_bytes(GLB)
    return load_grammar(write_sprites(tmp_path, EVERYTHING))


def read(node: scene_pb2.Node, attribute: int) -> float:
    for path in PATHS[attribute]:
        *parents, last = path.split(".")
        message = node
        for field in parents:
            if not message.HasField(field):
                break
            message = getattr(message, field)
        else:
            return getattr(message, last)
    raise AssertionError(f"{node.id} has no attribute {attribute}")


def test_every_attribute_arrives_in_its_field(grammar):
    scene = grammar.sample(np.random.default_rng(0))
    wire = scene_pb2.Scene.FromString(scene.to_wire(grammar.assets.hash_of).SerializeToString())
    seen = set()
    for node, message in zip(scene.nodes, wire.nodes, strict=True):
        assert message.id == node.id
        assert message.class_name == node.class_name
        assert message.parent == ("" if node.parent is None else scene.nodes[node.parent].id)
        for spec in grammar.kinds[node.kind].specs:
            assert read(message, spec.attribute) == node.values[spec.name], (node.id, spec.name)
            seen.add(spec.attribute)
    assert seen == set(PATHS)
    assert list(wire.classes) == ["solid", "flat"]
    assert (wire.background.red, wire.background.green, wire.background.blue) == (0.25, 0.5, 0.75)


def test_contents_and_defaults(grammar):
    wire = grammar.sample(np.random.default_rng(0)).to_wire(grammar.assets.hash_of)
    nodes = {node.id.rsplit("-", 1)[0]: node for node in wire.nodes}
    assert nodes["frame"].WhichOneof("content") is None
    assert (nodes["eye"].camera.near_m, nodes["eye"].camera.far_m) == (0.5, 50)
    assert nodes["block"].mesh.primitive == scene_pb2.PRIMITIVE_CUBE
    assert nodes["block"].mesh.material.roughness == 0.9
    assert not nodes["block"].transform.HasField("scale")
    assert nodes["car"].mesh.asset.hash == content_hash(GLB)
    assert nodes["car"].mesh.asset.format == scene_pb2.MESH_FORMAT_GLB
    assert not nodes["car"].mesh.HasField("material")
    bare = nodes["bare"].mesh.material
    assert (bare.base_color.red, bare.HasField("roughness")) == (1.0, False)  # a texture is shown as it is
    assert grammar.assets(bare.texture).startswith(b"\x89PNG")
    assert nodes["sun"].light.sun.angle_deg == 0.5
    assert nodes["bulb"].light.point.radius_m == 0.3
    assert nodes["panel"].light.area.edge_m == 1.0
    assert not nodes["panel"].light.HasField("color")


def test_render_settings(grammar, tmp_path):
    assert grammar.render_settings() == render_pb2.RenderSettings(
        width_px=64,
        height_px=32,
        samples=7,
        filter_width_px=1.5,
        view_transform=render_pb2.VIEW_TRANSFORM_STANDARD,
        max_bounces=2,
    )
    flat = load_grammar(write_sprites(tmp_path, SPRITES, "flat.yaml")).render_settings()
    assert flat.view_transform == render_pb2.VIEW_TRANSFORM_RAW
    assert flat.filter_width_px == 0


def test_assets_are_found_by_the_hashes_that_were_given_out(grammar):
    scene = grammar.sample(np.random.default_rng(0))
    unused = "0" * 64
    with pytest.raises(InputError) as caught:
        grammar.assets(unused)
    assert str(caught.value) == f"no scene of this grammar uses an asset with the hash {unused}"
    for node in scene.to_wire(grammar.assets.hash_of).nodes:
        if node.HasField("sprite"):
            assert content_hash(grammar.assets(node.sprite.asset)) == node.sprite.asset


def test_a_thousand_digit_scenes_a_second(tmp_path):
    grammar = load_grammar(write_sprites(tmp_path))
    rng = np.random.default_rng(0)
    grammar.sample(rng).to_wire(grammar.assets.hash_of)
    start = time.process_time()
    for _ in range(500):
        grammar.sample(rng).to_wire(grammar.assets.hash_of).SerializeToString()
    assert time.process_time() - start < 0.5  # 0.03 s are usual
