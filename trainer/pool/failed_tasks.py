"""Tasks that were given up, as files that render them again.

A file holds serialized RenderRequests, each after its length: the assets of the scene that could be had, then the task.
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
    """Writes a task with its assets.

    Args:
        folder: where; made if need be.
        request: the serialized RenderRequest of the task.
        assets: where the bytes of its assets come from.

    Raises:
        OSError: it cannot be written.
    """
    task = pb.RenderRequest.FromString(request).task
    folder.mkdir(parents=True, exist_ok=True)
    readable = re.sub(r"[^A-Za-z0-9.-]+", "-", task.id)[:40].strip("-.")
    path = folder / f"{readable}-{hashlib.sha256(request).hexdigest()[:8]}.task"
    content = io.BytesIO()
    for name in sorted(_asset_names(task.scene)):
        try:
            asset = pb.Asset(hash=name, data=assets(name))
        except Exception:  # Whatever the caller's source raises: then it is the task alone.
            continue
        proto.serialize_length_prefixed(pb.RenderRequest(asset=asset), content)
    proto.serialize_length_prefixed(pb.RenderRequest(task=task), content)
    path.write_bytes(content.getvalue())
    return path


def read_task(path: Path) -> tuple[pb.RenderTask, AssetStore]:
    """What `keep_task` has written.

    Raises:
        InputError: there is no such file, or it is no such task.
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
        raise InputError(f"{path} is no task that a pool has kept: {error}") from None
    if task is None:
        raise InputError(f"{path} is no task that a pool has kept: it holds none")
    return task, store


def _asset_names(scene: scene_pb2.Scene) -> set[str]:
    """Return the content hashes of the scene's assets: sprites, mesh files and textures."""
    names = set()
    for node in scene.nodes:
        names |= {node.sprite.asset, node.mesh.asset.hash, node.mesh.material.texture}
    return names - {""}
