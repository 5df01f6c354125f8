"""OBJ files with materials and coloured vertices; trimesh reads what comes out, as an independent reader."""

import io
from pathlib import Path

import numpy as np
import pytest
import trimesh
from metasim.v1 import scene_pb2 as pb
from PIL import Image

from trainer.assets.folder_set import MeshFolder
from trainer.errors import InputError

#: A square in two halves with a material each, and a triangle with none.
SQUARE = """\
mtllib {library}
v 0 0 0
v 1 0 0
v 1 1 0
v 0 1 0
vt 0 0
vt 1 0
vt 1 1
vt 0 1
usemtl red
f 1/1 2/2 3/3
usemtl picture
f 1/1 3/3 -1/-1
"""
LIBRARY = "newmtl red\nKd 1 0.25 0\nNs 250\n\nnewmtl picture\nKd 0.1 0.1 0.1\n{texture}\n"


def write(folder: Path, *, library: str = "square.mtl", texture: str = "map_Kd wood.png") -> MeshFolder:
    folder.mkdir(exist_ok=True)
    (folder / "square.obj").write_text(SQUARE.format(library=library))
    (folder / "square.mtl").write_text(LIBRARY.format(texture=texture))
    return MeshFolder("things", folder)


def wood(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    Image.new("RGB", (4, 4), (10, 200, 30)).save(path)


def parts(data: bytes) -> dict[str, trimesh.Trimesh]:
    """Parts of a GLB file by the number of their faces' first vertex colour or texture."""
    scene = trimesh.load(io.BytesIO(data), file_type="glb", process=False)
    return dict(scene.geometry)


def test_materials_and_textures_travel_inside(tmp_path: Path) -> None:
    wood(tmp_path / "m" / "wood.png")
    things = write(tmp_path / "m")
    assert things.mesh_format(0) == pb.MESH_FORMAT_GLB
    assert things.remarks() == ()
    red, picture = parts(things.data(0)).values()
    # trimesh rounds factors to 8 bits.
    assert red.visual.material.baseColorFactor[:3].tolist() == [255, 64, 0]
    assert red.visual.material.roughnessFactor == pytest.approx(0.5)  # 1 - sqrt(250 / 1000)
    texture = picture.visual.material.baseColorTexture
    assert (texture.size, texture.getpixel((0, 0))) == ((4, 4), (10, 200, 30))
    assert picture.visual.material.baseColorFactor is None or picture.visual.material.baseColorFactor[0] == 255
    # z up in ours, y up in glTF: (x, y, z) is written (x, z, -y).
    assert red.bounds.tolist() == [[0, 0, -1], [1, 0, 0]]
    np.testing.assert_allclose(red.vertex_normals, [[0, 1, 0]] * 3, atol=1e-6)
    # The corners of the texture stand where the file says.
    places = {
        tuple(np.round(point, 6)): tuple(uv) for point, uv in zip(picture.vertices, picture.visual.uv, strict=True)
    }
    assert places == {(0.0, 0.0, 0.0): (0, 0), (1.0, 0.0, -1.0): (1, 1), (0.0, 0.0, -1.0): (0, 1)}


@pytest.mark.parametrize(
    ("library", "texture", "place"),
    [
        ("./square.mtl", "map_Kd  fine wood.png", "fine wood.png"),
        ("square.mtl", "map_Kd -s 1 1 1 -bm 0.5 wood.png", "wood.png"),
        ("square.mtl", "map_Kd C:\\Users\\ann\\Textures\\wood.png", "wood.png"),
        ("C:/models/square.mtl", "map_Kd maps\\wood.png", "maps/wood.png"),
        ("square.mtl other.mtl", "map_Kd WOOD.PNG", "wood.png"),
    ],
)
def test_files_are_found_as_other_programs_write_them(tmp_path: Path, library: str, texture: str, place: str) -> None:
    (tmp_path / "m").mkdir()
    wood(tmp_path / "m" / place)
    things = write(tmp_path / "m", library=library, texture=texture)
    picture = list(parts(things.data(0)).values())[1]
    assert picture.visual.material.baseColorTexture.size == (4, 4)


def test_a_missing_library_or_texture_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    things = write(folder)
    assert things.remarks() == (f"{folder}/square.obj refers to wood.png, which is not there: it is shown without it",)
    assert len(parts(things.data(0))) == 2
    (folder / "square.mtl").unlink()
    (folder / "again.obj").write_text(SQUARE.format(library="other.mtl"))
    things = MeshFolder("things", folder)
    assert things.mesh_format(0) == pb.MESH_FORMAT_OBJ
    assert things.remarks() == (
        f"{folder}/again.obj (and 1 other) refers to other.mtl, which is not there: it is shown without it",
    )


@pytest.mark.parametrize(
    ("statements", "opacity"),
    [("d 0.25", 0.25), ("d -halo 0.25", 0.25), ("Tr 0.75", 0.25), ("d 0.5\nTr 0.9", 0.5), ("Tr 1\nd 1", 1), ("", 1)],
)
def test_opacity_follows_d_else_tr(tmp_path: Path, statements: str, opacity: float) -> None:
    wood(tmp_path / "m" / "wood.png")
    things = write(tmp_path / "m", texture=f"map_Kd wood.png\n{statements}")
    red, picture = parts(things.data(0)).values()
    material = picture.visual.material
    assert material.alphaMode == ("BLEND" if opacity < 1 else None)
    assert (material.baseColorFactor[3] if opacity < 1 else 255) == pytest.approx(255 * opacity, abs=1)
    assert red.visual.material.alphaMode is None, "opacity belongs to one material"


@pytest.mark.parametrize("kind", ["grey", "alpha"])
@pytest.mark.parametrize("coloured", [True, False])
def test_a_texture_of_opacity_travels_with_the_colours(tmp_path: Path, kind: str, coloured: bool) -> None:
    wood(tmp_path / "m" / "wood.png")
    levels = np.array([[0, 85], [170, 255]], np.uint8)
    image = Image.fromarray(levels)
    if kind == "alpha":
        image = Image.merge("RGBA", [Image.new("L", (2, 2), 7)] * 3 + [image])
    image.save(tmp_path / "m" / "leaf.png")
    texture = "map_d leaf.png" + ("\nmap_Kd wood.png" if coloured else "")
    material = list(parts(write(tmp_path / "m", texture=texture).data(0)).values())[1].visual.material
    found = np.asarray(material.baseColorTexture)
    assert material.alphaMode == "BLEND"
    if coloured:
        assert found.shape == (4, 4, 4), "the larger of both sizes"
        assert (found[..., :3] == (10, 200, 30)).all()
        assert found[::3, ::3, 3] == pytest.approx(levels)
    else:
        assert (found[..., :3] == 255).all()
        assert (found[..., 3] == levels).all()
        assert material.baseColorFactor[0] == pytest.approx(0.1 * 255, abs=1)


def test_a_missing_texture_of_opacity_is_told(tmp_path: Path) -> None:
    things = write(tmp_path / "m", texture="map_d leaf.png")
    assert "refers to leaf.png, which is not there: it is shown without it" in things.remarks()[0]


def test_nothing_outside_of_the_folder_is_read(tmp_path: Path) -> None:
    wood(tmp_path / "secret.png")
    things = write(tmp_path / "m", texture="map_Kd ../secret.png")
    assert "refers to ../secret.png, which is not there" in things.remarks()[0]


def test_coloured_vertices_travel_as_linear_light(tmp_path: Path) -> None:
    text = "v 0 0 0 1 0 0\nv 1 0 0 1 0 0\nv 1 1 0 0.5 0.5 0.5\nf 1 2 3\n"
    (tmp_path / "tri.obj").write_text(text)
    [mesh] = parts(MeshFolder("things", tmp_path).data(0)).values()
    colors = mesh.visual.vertex_colors
    # 0.5 in sRGB is 0.2140 in linear light (IEC 61966-2-1).
    assert colors[:, :3].tolist() == [[255, 0, 0], [255, 0, 0], [55, 55, 55]]


def test_normals_follow_smoothing_groups(tmp_path: Path) -> None:
    roof = "v 0 -1 0\nv 1 -1 0\nv 1 0 1\nv 0 0 1\nv 1 1 0\nv 0 1 0\nusemtl a\nmtllib m.mtl\n{s}f 1 2 3 4\nf 4 3 5 6\n"
    (tmp_path / "m.mtl").write_text("newmtl a\nKd 1 1 1\n")
    found = {}
    for name, line in (("flat", ""), ("off", "s off\n"), ("smooth", "s 1\n")):
        (tmp_path / "roof.obj").write_text(roof.format(s=line))
        [mesh] = parts(MeshFolder("things", tmp_path).data(0)).values()
        ridge = mesh.vertex_normals[np.isclose(mesh.vertices[:, 1], 1)]  # y up in the file
        found[name] = {tuple(np.round(normal, 3)) for normal in ridge}
    assert found["flat"] == found["off"] == {(0, 0.707, 0.707), (0, 0.707, -0.707)}
    assert found["smooth"] == {(0, 1, 0)}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (SQUARE.encode("utf-16"), "is UTF-16 or binary; an OBJ file is UTF-8 text: save it as UTF-8"),
        (SQUARE.encode("utf-16-be"), "is UTF-16 or binary"),
        (SQUARE.replace("v 1 1 0", "v 1 x 0").encode(), r"square.obj:4: 'v 1 x 0' is not right in an OBJ file"),
        (SQUARE.replace("f 1/1 2/2", "f 9/1 2/2").encode(), r"'f 9/1 2/2 3/3' is not right in an OBJ file"),
        (SQUARE.replace("f ", "# ").encode(), "holds no faces"),
    ],
)
def test_unreadable_files_are_refused_by_name(tmp_path: Path, data: bytes, message: str) -> None:
    write(tmp_path)
    (tmp_path / "square.obj").write_bytes(data.replace(b"{library}", b"square.mtl"))
    with pytest.raises(InputError, match=message) as caught:
        MeshFolder("things", tmp_path).data(0)
    assert str(tmp_path / "square.obj") in str(caught.value)


def test_a_damaged_texture_is_refused_by_name(tmp_path: Path) -> None:
    things = write(tmp_path)
    (tmp_path / "wood.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    with pytest.raises(InputError, match=r"wood.png, which .*square.obj refers to, is damaged"):
        MeshFolder("things", tmp_path).data(0)
    assert len(things) == 1


def test_models_are_turned_and_scaled_with_their_materials(tmp_path: Path) -> None:
    wood(tmp_path / "wood.png")
    write(tmp_path)
    things = MeshFolder("things", tmp_path, np.diag([2.0, 2, 2, 1]))
    scene = trimesh.load(io.BytesIO(things.data(0)), file_type="glb", process=False)
    assert scene.bounds.tolist() == [[0, 0, -2], [2, 0, 0]]
