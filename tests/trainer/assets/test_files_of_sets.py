"""What folders of assets hold beside items, and items that engines cannot take."""

import io
from pathlib import Path

import pytest
from metasim.v1 import scene_pb2 as pb
from PIL import Image
from support.bop import plate, two_colours
from support.grammars import SPRITES, write_sprites

from render_server.limits import Limits
from trainer.assets import limits
from trainer.assets.folder_set import ImageFolder, MeshFolder
from trainer.assets.glb import pack_glb
from trainer.errors import InputError
from trainer.grammar import load_grammar

TEXTURED = """\
render: {width: 32, height: 32}
assets: {things: {meshes: m}, pictures: {images: shapes}}
nodes:
  camera: {camera: perspective, fov: 30, z: 4}
  thing: {mesh: things, material: {texture: pictures}}
scene: [camera, thing]
"""


def png(size: tuple[int, int] = (4, 4)) -> bytes:
    file = io.BytesIO()
    Image.new("L", size, 90).save(file, "PNG")
    return file.getvalue()


def model(attributes: dict[str, int]) -> bytes:
    return pack_glb({"meshes": [{"primitives": [{"attributes": attributes}]}]}, b"")


def test_the_limits_are_those_of_workers() -> None:
    assert (Limits().pixels, Limits().asset_bytes) == (limits.MAX_PIXELS, limits.MAX_ASSET_BYTES)


def test_images_that_workers_do_not_take_are_refused_by_name_or_scaled_down(tmp_path: Path) -> None:
    path = tmp_path / "wood.png"
    path.write_bytes(png((8192, 4096)))
    with pytest.raises(InputError) as caught:
        ImageFolder("wood", tmp_path).data(0)
    assert str(caught.value) == (
        f"{path} has 8192 x 4096 pixels; workers take 16777216, such as 4096 x 4096: scale it down, or add "
        "`max_size: 4096` to its set"
    )
    small = Image.open(io.BytesIO(ImageFolder("wood", tmp_path, max_size=1024).data(0)))
    assert (small.size, small.getpixel((5, 5))) == ((1024, 512), 90)


def test_an_image_that_is_small_enough_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "wood.png").write_bytes(png())
    assert ImageFolder("wood", tmp_path, max_size=4).data(0) == png()


def test_hidden_files_are_no_items(tmp_path: Path) -> None:
    for name in ("a.png", "._a.png", ".git/b.png", "__MACOSX/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(png())
    assert len(ImageFolder("wood", tmp_path)) == 1


def test_files_that_are_not_read_are_told(tmp_path: Path) -> None:
    for name in ("a.png", "b.jpg", "c/d.WEBP", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(png())
    assert ImageFolder("wood", tmp_path).remarks() == (
        f"{tmp_path}/b.jpg (and 1 other) is not read: only files that end in .png are items of the set",
    )
    (tmp_path / "a.png").unlink()
    with pytest.raises(InputError, match=r"holds no file that ends in .png, but b.jpg; convert it$"):
        ImageFolder("wood", tmp_path)


@pytest.mark.parametrize(
    ("image", "what"),
    [
        ({"bufferView": 0, "mimeType": "image/png", "name": "skin"}, r"model.glb: image 0 \(skin\) is damaged"),
        ({"uri": "data:image/png;base64,iVBORw0KGgo="}, "model.glb: image 0 is damaged"),
        ({"bufferView": 7}, "model.glb: image 0 has neither data nor a file"),
    ],
)
def test_a_damaged_image_inside_a_model_is_refused_by_name(tmp_path: Path, image: dict, what: str) -> None:
    document = {"images": [image], "bufferViews": [{"buffer": 0, "byteLength": 12}], "buffers": [{"byteLength": 12}]}
    (tmp_path / "model.glb").write_bytes(pack_glb(document, b"\x89PNG\r\n\x1a\nxxxx"))
    with pytest.raises(InputError, match=what):
        MeshFolder("things", tmp_path).data(0)


def test_a_model_with_its_buffer_elsewhere_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "model.glb").write_bytes(pack_glb({"buffers": [{"byteLength": 4, "uri": "model.bin"}]}, b""))
    with pytest.raises(InputError, match=r"model.glb refers to the buffer 'model.bin'; export it with all data"):
        MeshFolder("things", tmp_path).data(0)


def test_a_texture_that_a_ply_file_names_travels_inside(tmp_path: Path) -> None:
    two_colours(tmp_path / "skin.png")
    (tmp_path / "plate.ply").write_bytes(plate(texture="skin.png"))
    (tmp_path / "plain.ply").write_bytes(plate())
    things = MeshFolder("things", tmp_path)
    assert [things.mesh_format(index) for index in (0, 1)] == [pb.MESH_FORMAT_PLY, pb.MESH_FORMAT_GLB]
    assert things.data(0) == plate()
    assert b"image/png" in things.data(1)
    assert things.remarks() == ()


def test_a_texture_without_texture_coordinates_is_told(tmp_path: Path) -> None:
    head, _, rest = plate().partition(b"element vertex")
    (tmp_path / "plate.ply").write_bytes(head + b"comment TextureFile skin.png\nelement vertex" + rest)
    things = MeshFolder("things", tmp_path)
    assert things.mesh_format(0) == pb.MESH_FORMAT_PLY
    assert things.remarks() == (
        f"{tmp_path}/plate.ply names a texture, but has no texture coordinates: it is shown without it",
    )


@pytest.mark.parametrize(
    ("name", "data", "bare"),
    [
        ("a.ply", plate(), True),
        ("a.ply", plate(texture="skin.png"), False),
        ("a.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", True),
        ("a.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nf 1/1 2/1 3/1\n", False),
        ("a.glb", model({"POSITION": 0}), True),
        ("a.glb", model({"POSITION": 0, "TEXCOORD_0": 1}), False),
    ],
)
def test_a_texture_on_a_mesh_without_uvs_is_told(tmp_path: Path, name: str, data: bytes, bare: bool) -> None:
    world = write_sprites(tmp_path, TEXTURED)
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / name).write_bytes(data)
    told = (
        f"{world}:5: nodes.thing.material.texture: {tmp_path}/m/{name} without UV coordinates: the texture gives one "
        "flat colour there; unwrap them, or leave it out"
    )
    assert load_grammar(world).notes == ((told,) if bare else ())


def test_a_damaged_set_is_told_with_its_place_in_the_grammar(tmp_path: Path) -> None:
    world = write_sprites(tmp_path, TEXTURED)
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "a.obj").write_bytes("v 0 0 0".encode("utf-16"))
    with pytest.raises(InputError, match=r"assets.things.meshes is 'm'; .*a.obj is UTF-16 or binary"):
        load_grammar(world)


def test_max_size_belongs_to_images(tmp_path: Path) -> None:
    text = SPRITES.replace("{images: shapes}", "{mnist: train, max_size: 64}")
    with pytest.raises(InputError, match="max_size belongs to a folder of images"):
        load_grammar(write_sprites(tmp_path, text))
