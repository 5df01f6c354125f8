"""Sets of materials: files that belong together by the usual names."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainer.assets.material_set import MaterialFolder
from trainer.errors import InputError


def picture(path: Path, colour: tuple[int, int, int] = (1, 2, 3)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 4), colour).save(path)


@pytest.mark.parametrize(
    ("color", "normal", "name"),
    [
        ("wood_albedo.png", "wood_normal.png", "wood"),
        ("old wood-diffuse.jpg", "old wood-normal.png", "old wood"),
        ("brick_wall_diff_2k.jpg", "brick_wall_nor_gl_2k.png", "brick_wall"),
        ("Bricks001_2K_Color.png", "Bricks001_2K_NormalGL.png", "Bricks001_2K"),
        ("Bricks001_2K-JPG_Color.jpg", "Bricks001_2K-JPG_NormalGL.jpg", "Bricks001_2K-JPG"),
        ("metalplateBaseColor.png", "metalplateNormal.png", "metalplate"),
    ],
)
def test_names(tmp_path: Path, color: str, normal: str, name: str) -> None:
    picture(tmp_path / color)
    picture(tmp_path / normal)
    materials = MaterialFolder("m", tmp_path)
    assert len(materials) == 1
    assert set(materials.maps(0)) == {"normal"}
    assert materials.item_name(0) == name


def test_folders_are_labels_and_other_files_are_reported(tmp_path: Path) -> None:
    picture(tmp_path / "wood" / "oak_color.png")
    picture(tmp_path / "stone" / "color.png")
    picture(tmp_path / "stone" / "roughness.png")
    picture(tmp_path / "stone" / "height.png")
    materials = MaterialFolder("m", tmp_path)
    assert materials.labels == ("stone", "wood")
    assert [materials.item_name(index) for index in range(2)] == ["stone", "oak"]
    assert [sorted(materials.maps(index)) for index in range(2)] == [["roughness"], []]
    assert materials.remarks() == (
        f"{tmp_path / 'stone' / 'height.png'} is not read: it is no map of a material with a colour",
    )
    materials.check_files()


def test_maps_are_pngs_and_directx_normals_are_turned(tmp_path: Path) -> None:
    picture(tmp_path / "a_color.jpg")
    picture(tmp_path / "a_normaldx.png", (128, 100, 255))
    materials = MaterialFolder("m", tmp_path, max_size=4)
    reference = materials.maps(0)["normal"]
    normal = Image.open(io.BytesIO(materials.map_sets[reference.set].data(reference.index)))
    assert np.asarray(normal)[0, 0].tolist() == [128, 155, 255]
    assert Image.open(io.BytesIO(materials.data(0))).size == (4, 2)


def test_a_folder_without_colours_is_named(tmp_path: Path) -> None:
    picture(tmp_path / "a_normal.png")
    with pytest.raises(InputError, match="holds no material"):
        MaterialFolder("m", tmp_path)
    with pytest.raises(InputError, match="is no folder"):
        MaterialFolder("m", tmp_path / "nowhere")
