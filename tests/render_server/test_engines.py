"""Making engines, and what they share."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from metasim.colour import linear_to_srgb, srgb_slope, srgb_to_linear
from support.scenes import Assets, png, sprite, sprite_scene, task

from render_server.engines import create_engine
from render_server.engines.flat import sample_offsets
from render_server.engines.textures import TextureCache
from render_server.errors import EngineUnavailable


def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(EngineUnavailable, match=r"^engine 'povray' is unknown; allowed: blender, raster, fake$"):
        create_engine("povray")


def test_without_bpy_the_blender_engine_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['bpy'] = None\n"
        "from render_server.engines import create_engine\n"
        "create_engine('raster')\n"
        "try: create_engine('blender')\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert run.stdout.startswith("EngineUnavailable engine 'blender' cannot be imported (")
    assert "install metasim[render]" in run.stdout


def test_the_blender_engine_is_silent_and_leaves_no_files(tmp_path: Path) -> None:
    pytest.importorskip("bpy", reason="bpy is not installed")
    assets = Assets(tmp_path)
    message = task(sprite_scene([sprite("s", assets.add(png(np.full((4, 4), 255, np.uint8))), 4, 4)], 8), 8, 8)
    (tmp_path / "task").write_bytes(message.SerializeToString())
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    code = (
        "import sys; from pathlib import Path\n"
        "from metasim.v1 import render_pb2\n"
        "from render_server.engines import create_engine\n"
        "from render_server.engines.blender import session\n"
        "folder = Path(sys.argv[1])\n"
        "session._SHARED_MEMORY = folder / 'scratch'\n"
        "task = render_pb2.RenderTask.FromString((folder / 'task').read_bytes())\n"
        "create_engine('blender').render(task, {f.name: f for f in folder.iterdir()})\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True, timeout=60
    )
    assert run.stdout == ""
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("value", [0.0, 0.002, 0.0031308, 0.04045, 0.2, 0.5, 1.0])
def test_the_display_curve_and_its_inverse(value: float) -> None:
    assert srgb_to_linear(linear_to_srgb(np.array(value))) == pytest.approx(value, abs=1e-7)


@pytest.mark.parametrize("light", [0.001, 0.01, 0.2, 0.9])
def test_the_slope_of_the_display_curve(light: float) -> None:
    near = linear_to_srgb(np.array([light - 1e-5, light + 1e-5]))
    assert srgb_slope(np.array(light)) == pytest.approx((near[1] - near[0]) / 2e-5, rel=1e-4)
    assert srgb_slope(np.array([-0.1, 1.1])).tolist() == [0, 0]


def test_the_display_curve_has_its_known_points() -> None:
    np.testing.assert_allclose(
        linear_to_srgb(np.array([0.0, 0.0031308, 0.2140411, 1.0])), [0, 0.04045, 0.5, 1], atol=2e-6
    )
    assert linear_to_srgb(np.float32([0.5])).dtype == np.float32


@pytest.mark.parametrize("samples", [1, 2, 3, 4, 7, 16, 50])
def test_samples_fill_the_filters_box_evenly(samples: int) -> None:
    offsets = np.array(sample_offsets(samples, 2.0))
    assert len(offsets) == samples
    assert np.abs(offsets).max() < 1
    np.testing.assert_allclose(offsets.mean(axis=0), 0, atol=1e-12)
    if samples >= 16:
        np.testing.assert_allclose(offsets.std(axis=0), 2 / np.sqrt(12), rtol=0.05)


def test_sixteen_samples_are_a_square_grid() -> None:
    offsets = sample_offsets(16, 1.0)
    assert sorted({x for x, _ in offsets}) == pytest.approx([-0.375, -0.125, 0.125, 0.375])
    assert sorted({y for _, y in offsets}) == pytest.approx([-0.375, -0.125, 0.125, 0.375])


def test_without_a_filter_every_sample_is_the_pixels_centre() -> None:
    assert sample_offsets(9, 0.0) == [(0.0, 0.0)]


def test_textures_are_kept_up_to_a_size(tmp_path: Path) -> None:
    assets = Assets(tmp_path)
    names = [assets.add(png(np.full((30, 30), value, np.uint8))) for value in range(4)]
    # Two textures of 32 x 32 texels with padding, each stored twice.
    cache = TextureCache(max_bytes=2 * 2 * 32 * 32 * 4 * 4)
    first = cache.get(names[0], assets, "f")
    assert cache.get(names[0], {}, "f") is first
    for name in names[1:]:
        cache.get(name, assets, "f")
    assert cache.get(names[0], assets, "f") is not first
    assert (first.width, first.height) == (30, 30)


def test_what_a_texture_knows_about_itself(tmp_path: Path) -> None:
    assets = Assets(tmp_path)
    texels = np.zeros((5, 6, 4), np.uint8)
    texels[1:4, 2:5] = (200, 100, 50, 255)
    texels[2, 5] = (200, 100, 50, 60)
    texture = TextureCache().get(assets.add(png(texels)), assets, "f")
    assert texture.single_colour == pytest.approx((200 / 255, 100 / 255, 50 / 255), abs=1e-6)
    # Columns 2 to 5 and rows 1 to 3, one further with the padding, half a texel more on each side.
    assert texture.support == (2.5, 1.5, 7.5, 5.5)
    assert sorted(map(tuple, texture.opaque_hull.tolist())) == [(2, 1), (2, 4), (5, 1), (5, 4)]
    texels[3, 3, 0] = 0
    assert TextureCache().get(assets.add(png(texels)), assets, "f").single_colour is None
    empty = TextureCache().get(assets.add(png(np.zeros((2, 2, 4), np.uint8))), assets, "f")
    assert empty.opaque_hull.shape == (0, 2)
    assert empty.single_colour == (0, 0, 0)
    assert empty.support == (0, 0, 0, 0)
