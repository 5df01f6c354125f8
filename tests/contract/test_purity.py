"""A result is a pure function of the task: the same bytes after other tasks, in another order, in another process."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from metasim.v1 import render_pb2 as pb
from metasim.v1 import scene_pb2
from support.pure_tasks import assets_in, tasks
from support.scenes import without_timing

from render_server.engines import Engine, create_engine

_ELSEWHERE = """
import hashlib, sys
from pathlib import Path
from render_server.engines import create_engine
from support.pure_tasks import assets_in, tasks
from support.scenes import without_timing
engine = create_engine(sys.argv[1], device=sys.argv[3])
assets = assets_in(Path(sys.argv[2]))
for task in reversed(tasks(sys.argv[1])):
    print(task.id, hashlib.sha256(without_timing(engine.render(task, assets))).hexdigest())
"""


def digests(engine: Engine, messages: list[pb.RenderTask], folder: Path) -> dict[str, str]:
    assets = assets_in(folder)
    return {
        message.id: hashlib.sha256(without_timing(engine.render(message, assets))).hexdigest() for message in messages
    }


def test_bytes_do_not_depend_on_what_was_rendered_before(any_engine: Engine, tmp_path: Path) -> None:
    messages = tasks(any_engine.name)
    first = digests(any_engine, messages, tmp_path)
    assert len(set(first.values())) == len(messages)
    assert digests(any_engine, messages[::-1], tmp_path) == first
    assert digests(any_engine, messages[1::2] + messages[::2], tmp_path) == first


def test_bytes_do_not_depend_on_the_process(any_engine: Engine, tmp_path: Path) -> None:
    messages = tasks(any_engine.name)
    root = Path(__file__).parents[2]  # The code under test, wherever another checkout is installed.
    path = os.pathsep.join(str(root / part) for part in ("tests", "proto", ""))
    run = subprocess.run(
        [sys.executable, "-c", _ELSEWHERE, any_engine.name, str(tmp_path), any_engine.device],
        env={"PYTHONPATH": path, "PATH": ""},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    elsewhere = dict(line.split() for line in run.stdout.splitlines())
    assert elsewhere == digests(any_engine, messages, tmp_path)


@pytest.mark.blender
def test_a_failed_task_leaves_nothing_behind(blender: Engine, tmp_path: Path) -> None:
    import bpy

    from render_server.errors import InvalidTask

    messages = tasks("blender")
    before = digests(blender, messages[-1:], tmp_path)
    blocks = {name: len(getattr(bpy.data, name)) for name in ("objects", "meshes", "materials", "images", "scenes")}
    broken = pb.RenderTask()
    broken.CopyFrom(messages[-1])
    node = broken.scene.nodes.add(id="broken")
    assets = assets_in(tmp_path)
    node.mesh.asset.hash, node.mesh.asset.format = assets.add(b"junk"), scene_pb2.MESH_FORMAT_GLB
    with pytest.raises(InvalidTask, match=r"it is not a whole glTF 2.0 binary file"):
        blender.render(broken, assets)
    assert {name: len(getattr(bpy.data, name)) for name in blocks} == blocks
    assert digests(blender, messages[-1:], tmp_path) == before


def test_a_second_raster_engine_gives_the_same_bytes(raster: Engine, tmp_path: Path) -> None:
    messages = tasks("raster")
    assert digests(create_engine("raster"), messages, tmp_path) == digests(raster, messages, tmp_path)
