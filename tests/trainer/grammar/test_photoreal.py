"""Light that surrounds scenes, calibrated cameras and materials: from YAML to the wire, and what is refused."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from metasim.camera import camera_view
from metasim.hashing import content_hash
from PIL import Image
from support.data import shared_data

from trainer.errors import GrammarError
from trainer.grammar import load_grammar

#: The beginning of an OpenEXR file; what follows is read by workers alone.
EXR = b"\x76\x2f\x31\x01" + struct.pack("<I", 2)
WORLD = """\
render: {{width: 64, height: 32}}
assets: {{{assets}}}
nodes:
  eye: {{camera: {camera}}}
  {node}
scene: [eye, thing]
"""


def world(
    folder: Path, node: str = "thing: {mesh: cube}", assets: str = "", camera: str = "perspective, fov: 40"
) -> Path:
    path = folder / "world.yaml"
    path.write_text(WORLD.format(node=node, assets=assets, camera=camera), encoding="utf-8")
    return path


def thing(path: Path, seed: int = 0):
    grammar = load_grammar(path)
    scene = grammar.sample(np.random.default_rng(seed))
    wire = scene.to_wire(grammar.assets.hash_of)
    return grammar, next(node for node in wire.nodes if node.id == "thing-1")


def picture(folder: Path, name: str, colour: tuple[int, int, int] = (10, 20, 30)) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 2), colour).save(path)
    return path


@pytest.fixture
def skies(tmp_path: Path) -> str:
    for name in ("noon", "dusk"):
        (tmp_path / "skies" / name).mkdir(parents=True)
        (tmp_path / "skies" / name / "map.exr").write_bytes(EXR + name.encode())
    return "skies: {hdris: skies}"


def test_environments_are_drawn_and_turn(tmp_path: Path, skies: str) -> None:
    light = (
        "thing: {light: {kind: environment, map: skies}, intensity: 1.5, yaw: {uniform: [-180, 180], mutable: true}}"
    )
    path = world(tmp_path, light, skies)
    seen = set()
    for seed in range(8):
        grammar, node = thing(path, seed)
        assert node.light.environment.strength == 1.5
        assert -180 <= node.transform.yaw_deg <= 180
        seen.add(grammar.assets(node.light.environment.asset))
    assert seen == {EXR + b"noon", EXR + b"dusk"}
    assert [item.name for item in grammar.sample(np.random.default_rng(0)).mutable] == ["yaw"]


def test_weights_of_environments_are_a_choice(tmp_path: Path, skies: str) -> None:
    map_ = "{set: skies, weights: {noon: 1, dusk: 0}, mutable: true}"
    path = world(tmp_path, f"thing: {{light: {{kind: environment, map: {map_}}}, intensity: 1}}", skies)
    grammar = load_grammar(path)
    scene = grammar.sample(np.random.default_rng(0))
    assert [choice.spec.name for choice in scene.choices] == ["map"]
    other = grammar.with_choices(scene, [0]).to_wire(grammar.assets.hash_of).nodes[-1].light.environment.asset
    assert grammar.assets(other) == EXR + b"dusk"


def test_a_sky(tmp_path: Path) -> None:
    _, node = thing(world(tmp_path, "thing: {light: sky, intensity: 4, elevation: 30, yaw: 10}"))
    sky = node.light.sky
    assert (sky.irradiance_w_m2, sky.sun_elevation_deg, sky.HasField("turbidity")) == (4, 30, False)


def test_kittis_calibration_at_half_size(tmp_path: Path) -> None:
    calibration = "{width: 128, height: 64, fx: 72, fy: 70, cx: 60, cy: 33, distortion: [-0.2, 0.05, 0.001, -0.002]}"
    path = world(tmp_path, camera=f"{{projection: perspective, calibration: {calibration}}}")
    wire = load_grammar(path).sample(np.random.default_rng(0)).to_wire(lambda _: "")
    view = camera_view(wire.nodes[0].camera, np.eye(4), 64, 32)
    # Half as many pixels: half the focal length; OpenCV's centre of the first pixel is at half a pixel.
    np.testing.assert_allclose(view.intrinsics, [[36, 0, 30.25], [0, 35, 16.75], [0, 0, 1]])
    assert view.distortion.coefficients == (-0.2, 0.05, 0.001, -0.002, 0)


def test_a_calibration_of_a_focal_length_alone_is_a_field_of_view(tmp_path: Path) -> None:
    path = world(tmp_path, camera="{projection: perspective, calibration: {width: 64, height: 32, fx: 16}}")
    camera = load_grammar(path).sample(np.random.default_rng(0)).to_wire(lambda _: "").nodes[0].camera
    assert camera.perspective.vertical_fov_deg == pytest.approx(90)
    assert not camera.perspective.HasField("lens")


def test_a_material_of_a_set_covers_any_mesh(tmp_path: Path) -> None:
    picture(tmp_path, "stuff/bricks_diff_2k.jpg")
    picture(tmp_path, "stuff/bricks_nor_gl_2k.png", (128, 128, 255))
    picture(tmp_path, "stuff/bricks_rough_2k.png", (200, 200, 200))
    node = "thing: {mesh: sphere, material: {set: stuff, uv_scale: 3, roughness: {uniform: [0.2, 0.4]}, opacity: 0.5}}"
    grammar, wire = thing(world(tmp_path, node, "stuff: {materials: stuff}"))
    material = wire.mesh.material
    names = ("texture", "normal_texture", "roughness_texture")
    images = [Image.open(io.BytesIO(grammar.assets(getattr(material, name)))) for name in names]
    assert [image.getpixel((0, 0))[0] for image in images] == [pytest.approx(10, abs=3), 128, 200]
    assert material.metallic_texture == ""
    assert (material.uv_scale, material.opacity, material.base_color.red) == (3, 0.5, 1)
    assert 0.2 <= material.roughness <= 0.4


@pytest.mark.parametrize(
    ("node", "assets", "camera", "message"),
    [
        ("thing: {light: environment, intensity: 1}", "", None, "an environment needs a set of maps"),
        (
            "thing: {light: {kind: environment, map: faces}, intensity: 1}",
            "faces: {images: faces}",
            None,
            "a set of environment maps is needed; faces holds images",
        ),
        ("thing: {light: {kind: sun, map: faces}, intensity: 1}", "", None, "a map belongs to the light environment"),
        ("thing: {light: sky, intensity: 1}", "", None, "nodes.thing.elevation is missing"),
        ("thing: {light: {kind: sky, size: 1}, intensity: 1, elevation: 9}", "", None, "the light sky has no size"),
        ("thing: {light: sky, intensity: 1, elevation: 9, turbidity: 1}", "", None, "turbidity"),
        ("thing: {mesh: cube, material: {metallic: 2}}", "", None, "metallic.* 1"),
        ("thing: {mesh: cube}", "skies: {hdris: nowhere}", None, "assets.skies.hdris is 'nowhere'; .*is no folder"),
        ("thing: {mesh: cube}", "skies: {hdris: faces}", None, r"holds no file that ends in .exr or .hdr, but a.png"),
        ("thing: {mesh: cube}", "stuff: {materials: faces}", None, "holds no material: a colour is a PNG or JPEG"),
        (
            "thing: {mesh: cube}",
            "",
            "{projection: orthographic, calibration: {width: 64, height: 32, fx: 9}}",
            "a calibration belongs to a perspective camera",
        ),
        (
            "thing: {mesh: cube}",
            "",
            "{projection: perspective, calibration: {width: 64, height: 64, fx: 9}}",
            "64 x 32 px, which are rendered, have another shape",
        ),
        (
            "thing: {mesh: cube}",
            "",
            "{projection: perspective, calibration: {width: 64, height: 32, fx: 9}}, fov: 3",
            "nodes.eye.fov: the calibration states it already",
        ),
    ],
)
def test_faults_are_named_in_one_line(tmp_path: Path, node: str, assets: str, camera: str | None, message: str) -> None:
    picture(tmp_path, "faces/a.png")
    with pytest.raises(GrammarError, match=message) as caught:
        load_grammar(world(tmp_path, node, assets, camera or "perspective, fov: 40"))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_environment_map_is_named(tmp_path: Path) -> None:
    picture(tmp_path, "skies/sky.png").rename(tmp_path / "skies" / "sky.exr")
    grammar = load_grammar(
        world(tmp_path, "thing: {light: {kind: environment, map: skies}, intensity: 1}", "skies: {hdris: skies}")
    )
    with pytest.raises(GrammarError.__base__, match=r"sky.exr is no image of high dynamic range"):
        grammar.sample(np.random.default_rng(0)).to_wire(grammar.assets.hash_of)


def test_real_environment_maps(tmp_path: Path) -> None:
    folder = shared_data("hdri")
    path = world(
        tmp_path, "thing: {light: {kind: environment, map: skies}, intensity: 1}", f"skies: {{hdris: {folder}}}"
    )
    drawn = [thing(path, seed)[1].light.environment.asset for seed in (0, 0, 1, 2)]
    assert drawn[0] == drawn[1]
    assert len(set(drawn)) > 1
    files = {content_hash(file.read_bytes()) for file in folder.glob("*.exr")}
    assert set(drawn) <= files
