"""Blender's own files as meshes, made and converted by Blender itself."""

import importlib.util
import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import trimesh
from metasim.v1 import scene_pb2

from trainer.assets.folder_set import MeshFolder
from trainer.assets.mesh_frame import placement
from trainer.errors import InputError

pytestmark = [
    pytest.mark.blender,
    pytest.mark.skipif(importlib.util.find_spec("bpy") is None, reason="Blender's package bpy is not installed"),
]

#: A red block of 4 x 2 x 1, of which a modifier makes two, beside what does not go along.
_MAKE = """
import sys
import bpy

folder = sys.argv[1]
bpy.ops.wm.read_factory_settings(use_empty=True)
bpy.ops.wm.save_as_mainfile(filepath=folder + "/none.blend")
bpy.ops.mesh.primitive_cube_add(size=1, location=(0, 0, 0.5), scale=(4, 2, 1))
block = bpy.context.object
modifier = block.modifiers.new("two", "ARRAY")
modifier.count, modifier.relative_offset_displace = 2, (0, 0, 1)
red = bpy.data.materials.new("red")
red.use_nodes = True
red.node_tree.nodes["Principled BSDF"].inputs["Base Color"].default_value = (0.8, 0.1, 0.1, 1)
block.data.materials.append(red)
bpy.ops.mesh.primitive_cube_add(size=90)
bpy.context.object.hide_render = True
bpy.ops.object.camera_add(location=(0, -50, 0))
bpy.ops.wm.save_as_mainfile(filepath=folder + "/block.blend")
"""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    subprocess.run([sys.executable, "-c", _MAKE, str(folder)], check=True, capture_output=True)
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "metasim" / "blend"


def test_what_a_file_shows_becomes_glb_once(models: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = MeshFolder("things", models)
    assert [files.item_name(index) for index in range(2)] == ["block", "none"]
    assert files.mesh_format(0) == scene_pb2.MESH_FORMAT_GLB
    glb = files.data(0)
    scene = trimesh.load(io.BytesIO(glb), file_type="glb")
    assert isinstance(scene, trimesh.Scene)
    np.testing.assert_allclose(scene.bounds, [[-2, 0, -1], [2, 2, 1]], atol=1e-5)  # glTF's y is up.
    [mesh] = scene.geometry.values()
    np.testing.assert_allclose(mesh.visual.material.baseColorFactor, np.array([0.8, 0.1, 0.1, 1]) * 255, atol=1)
    assert len(list(cache.iterdir())) == 1

    def no_more(*_: object, **__: object) -> None:
        raise AssertionError("it is converted already")

    monkeypatch.setattr(subprocess, "run", no_more)
    assert files.data(0) == glb
    turned = MeshFolder("things", models, placement(scale=0.5, forward="-y")).data(0)
    scene = trimesh.load(io.BytesIO(turned), file_type="glb")
    np.testing.assert_allclose(scene.bounds, [[-0.5, 0, -1], [0.5, 1, 1]], atol=1e-5)


def test_what_cannot_be_used_is_one_line(models: Path, tmp_path: Path, cache: Path) -> None:
    files = MeshFolder("things", models)
    with pytest.raises(InputError) as raised:
        files.data(1)
    assert str(raised.value) == f"{models}/none.blend cannot be used as a mesh: its scene has no mesh that is rendered"
    (tmp_path / "torn.blend").write_bytes(b"BLENDER-v405")
    with pytest.raises(InputError) as raised:
        MeshFolder("things", tmp_path).data(0)
    assert str(raised.value).startswith(
        f"{tmp_path}/torn.blend cannot be used as a mesh: it is no .blend file that Ble"
    )
    assert "\n" not in str(raised.value)
    assert list(cache.iterdir()) == []


def test_without_blender_it_says_so(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(InputError) as raised:
        MeshFolder("things", models).data(0)
    assert str(raised.value) == (
        f"{models}/block.blend needs Blender's package bpy, which is not installed here: `pip install '.[render]'`, or "
        "export the file as GLB"
    )


#: Instances of a cube on a grid's corners by geometry nodes, a collection's instance, a text, a mesh with a subdivision
#: that renders finer than it shows, and a red slot of an object in place of its mesh's blue one.
_MAKE_INSTANCES = """
import sys
import bpy

bpy.ops.wm.read_factory_settings(use_empty=True)
bpy.ops.mesh.primitive_cube_add(size=0.2, location=(0, 0, 5))
small = bpy.context.object
small.hide_render = True
bpy.ops.mesh.primitive_grid_add(x_subdivisions=1, y_subdivisions=1, size=2)
tree = bpy.data.node_groups.new("scatter", "GeometryNodeTree")
for way in ("INPUT", "OUTPUT"):
    tree.interface.new_socket("Geometry", in_out=way, socket_type="NodeSocketGeometry")
start, end = tree.nodes.new("NodeGroupInput"), tree.nodes.new("NodeGroupOutput")
points, source = tree.nodes.new("GeometryNodeInstanceOnPoints"), tree.nodes.new("GeometryNodeObjectInfo")
source.inputs["Object"].default_value = small
tree.links.new(start.outputs[0], points.inputs["Points"])
tree.links.new(source.outputs["Geometry"], points.inputs["Instance"])
tree.links.new(points.outputs[0], end.inputs[0])
bpy.context.object.modifiers.new("scatter", "NODES").node_group = tree
bpy.context.object.name = "scattered"

library = bpy.data.collections.new("library")
mesh = bpy.data.meshes.new("corner")
mesh.from_pydata([(0, 0, 0), (1, 0, 0), (0, 1, 0)], [], [(0, 1, 2)])
red, blue = bpy.data.materials.new("red"), bpy.data.materials.new("blue")
mesh.materials.append(blue)
corner = bpy.data.objects.new("corner", mesh)
corner.material_slots[0].link = "OBJECT"
corner.material_slots[0].material = red
library.objects.link(corner)
empty = bpy.data.objects.new("empty", None)
empty.instance_type, empty.instance_collection, empty.location = "COLLECTION", library, (10, 0, 0)
bpy.context.scene.collection.objects.link(empty)

bpy.ops.object.text_add(location=(0, 20, 0))
bpy.ops.mesh.primitive_cube_add(size=2, location=(20, 0, 0))
modifier = bpy.context.object.modifiers.new("finer", "SUBSURF")
modifier.levels, modifier.render_levels = 0, 2
bpy.context.object.name = "fine"
bpy.ops.wm.save_as_mainfile(filepath=sys.argv[1])
"""


def test_instances_and_what_renders_are_kept(tmp_path: Path, cache: Path) -> None:
    subprocess.run(
        [sys.executable, "-c", _MAKE_INSTANCES, str(tmp_path / "all.blend")], check=True, capture_output=True
    )
    scene = trimesh.load(io.BytesIO(MeshFolder("things", tmp_path).data(0)), file_type="glb")
    assert isinstance(scene, trimesh.Scene)
    assert list(cache.iterdir())
    placed = {name: scene.geometry[scene.graph[name][1]] for name in scene.graph.nodes_geometry}
    where = {name: scene.graph[name][0][:3, 3] for name in placed}
    scattered = sorted(tuple(where[name].round(3)) for name in placed if name.startswith("scattered"))
    assert scattered == [(-1, 0, -1), (-1, 0, 1), (1, 0, -1), (1, 0, 1)]  # glTF's y is up.
    (corner,) = [name for name in placed if name.startswith("corner")]
    np.testing.assert_allclose(where[corner], (10, 0, 0), atol=1e-6)
    assert placed[corner].visual.material.name == "red"
    assert len([name for name in placed if name.startswith("Text")]) == 1
    (fine,) = [name for name in placed if name.startswith("fine")]
    assert len(placed[fine].faces) == 6 * 4**2 * 2


def test_an_exporter_that_fails_is_one_line(models: Path, tmp_path: Path) -> None:
    program = f"""
import sys
from pathlib import Path
import bpy
from render_server.engines.blender import blend_to_glb
def fail(**_):
    raise RuntimeError("Error: Python: Traceback (most recent call last):\\n  File \\"a.py\\", line 3, in execute\\n"
                       "    x()\\nTypeError: no such thing\\nLocation: /b/__init__.py:109")
class Operators:
    wm = bpy.ops.wm
    class export_scene:
        gltf = staticmethod(fail)
class Module:
    ops, app, data, context, types = Operators, bpy.app, bpy.data, bpy.context, bpy.types
blend_to_glb.bpy = Module
print(blend_to_glb.main(Path({str(models / "block.blend")!r}), Path({str(tmp_path / "out.glb")!r})))
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    last = done.stdout.strip().splitlines()[-1]
    assert last.endswith("cannot write it as GLB (TypeError: no such thing); export it yourself")
