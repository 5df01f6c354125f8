"""Tasks that were given up, as files from which they can be rendered again.

A file holds length-prefixed RenderRequests: the available assets of the scene, then the task.
"""

import hashlib
import io
import re
from pathlib import Path

from google.protobuf import proto
from google.protobuf.message import DecodeError
from metasim.v1 import render_pb2 as pb
from metasim.v1 import scene_pb2

from trainer.errors import InputError
from trainer.pool.assets import AssetSource, AssetStore


def keep_task(folder: Path, request: bytes, assets: AssetSource) -> Path:
    """Write a task with its assets and return the path.

    Args:
        folder: created if it does not exist.
        request: the serialized RenderRequest of the task.
        assets: returns the bytes of an asset.

    Raises:
        OSError: the file cannot be written.
    """
    task = pb.RenderRequest.FromString(request).task
    folder.mkdir(parents=True, exist_ok=True)
    readable = re.sub(r"[^A-Za-z0-9.-]+", "-", task.id)[:40].strip("-.")
    path = folder / f"{readable}-{hashlib.sha256(request).hexdigest()[:8]}.task"
    content = io.BytesIO()
    for name in sorted(_asset_names(task.scene)):
        try:
            asset = pb.Asset(hash=name, data=assets(name))
        except Exception:  # Whatever the caller's source raises, the task is still worth keeping.
            continue
        proto.serialize_length_prefixed(pb.RenderRequest(asset=asset), content)
    proto.serialize_length_prefixed(pb.RenderRequest(task=task), content)
    path.write_bytes(content.getvalue())
    return path


def read_task(path: Path) -> tuple[pb.RenderTask, AssetStore]:
    """Return the task and the assets that `keep_task` has written.

    Raises:
        InputError: the file cannot be read, or holds no task.
    """
    store, task = AssetStore(), None
    try:
        content = io.BytesIO(path.read_bytes())
        while (request := proto.parse_length_prefixed(pb.RenderRequest, content)) is not None:
            if request.HasField("asset"):
                store.add(request.asset.data)
            elif request.HasField("task"):
                task = request.task
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except (DecodeError, ValueError) as error:
        raise InputError(f"{path} is not a task kept by a pool: {error}") from None
    if task is None:
        raise InputError(f"{path} is not a task kept by a pool: it holds no task")
    return task, store


def _asset_names(scene: scene_pb2.Scene) -> set[str]:
    """Return the content hashes of the scene's assets: sprites, mesh files and textures."""
    names = set()
    for node in scene.nodes:
        names |= {node.sprite.asset, node.mesh.asset.hash, node.mesh.material.texture}
    return names - {""}
