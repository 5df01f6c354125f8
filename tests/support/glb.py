"""GLB files for tests."""

import io
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

_JSON, _BIN = 0x4E4F534A, 0x004E4942
_COMPONENTS = {"i1": 5120, "u1": 5121, "i2": 5122, "u2": 5123, "u4": 5125, "f4": 5126}
_SHAPES = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4", 16: "MAT4"}


def embedded(path: Path) -> bytes:
    """A GLB file with the images that lie beside it put inside."""
    data = path.read_bytes()
    (length,) = struct.unpack_from("<I", data, 12)
    content = json.loads(data[20 : 20 + length])
    (binary_length,) = struct.unpack_from("<I", data, 20 + length)
    binary = data[28 + length : 28 + length + binary_length]
    for entry in content.get("images", []):
        if "uri" in entry:
            binary += b"\0" * (-len(binary) % 4)
            picture = (path.parent / entry.pop("uri")).read_bytes()
            content["bufferViews"].append({"buffer": 0, "byteOffset": len(binary), "byteLength": len(picture)})
            entry |= {"bufferView": len(content["bufferViews"]) - 1, "mimeType": "image/png"}
            binary += picture
    binary += b"\0" * (-len(binary) % 4)
    content["buffers"][0]["byteLength"] = len(binary)
    text = json.dumps(content).encode()
    text += b" " * (-len(text) % 4)
    body = struct.pack("<II", len(text), _JSON) + text + struct.pack("<II", len(binary), _BIN) + binary
    return struct.pack("<4sII", b"glTF", 2, 12 + len(body)) + body


class GlbMaker:
    """Builds GLB files: numbers go in as arrays, the rest as glTF's own objects.

    Attributes:
        document: the glTF document, to be changed at will.
    """

    def __init__(self, **document: Any) -> None:
        self.document: dict[str, Any] = {"asset": {"version": "2.0"}, "accessors": [], "bufferViews": [], **document}
        self._binary = b""

    def array(self, values: Any, kind: str = "f4", **more: Any) -> int:
        """Return the index of a new accessor of [count, width] numbers."""
        packed = np.ascontiguousarray(values, np.dtype(kind).newbyteorder("<"))
        packed = packed.reshape(len(packed), -1)
        self.document["accessors"].append(
            {
                "bufferView": self.view(packed.tobytes()),
                "componentType": _COMPONENTS[kind],
                "count": len(packed),
                "type": _SHAPES[packed.shape[1]],
                **more,
            }
        )
        return len(self.document["accessors"]) - 1

    def view(self, data: bytes) -> int:
        """Return the index of a new buffer view."""
        self._binary += b"\0" * (-len(self._binary) % 4)
        view = {"buffer": 0, "byteOffset": len(self._binary), "byteLength": len(data)}
        self.document["bufferViews"].append(view)
        self._binary += data
        return len(self.document["bufferViews"]) - 1

    def cube(self, **primitive: Any) -> dict[str, Any]:
        """Return a primitive: a cube of edge 1 around the origin, with a vertex for each corner of each face."""
        points, normals, faces = cube()
        attributes = {"POSITION": self.array(points), "NORMAL": self.array(normals)}
        return {"attributes": attributes, "indices": self.array(faces.reshape(-1, 1), "u2"), **primitive}

    def data(self) -> bytes:
        """Return the file."""
        self.document["buffers"] = [{"byteLength": len(self._binary)}]
        text = json.dumps(self.document).encode()
        text += b" " * (-len(text) % 4)
        binary = self._binary + b"\0" * (-len(self._binary) % 4)
        body = struct.pack("<II", len(text), _JSON) + text + struct.pack("<II", len(binary), _BIN) + binary
        return struct.pack("<4sII", b"glTF", 2, 12 + len(body)) + body


def cube() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return points [24, 3], normals [24, 3] and triangles [12, 3] of a cube of edge 1."""
    points, normals, faces = [], [], []
    for axis in range(3):
        for sign in (-1.0, 1.0):
            first = len(points)
            for u, v in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
                point = np.zeros(3)
                point[axis], point[(axis + 1) % 3], point[(axis + 2) % 3] = sign, u * sign, v
                points.append(point / 2)
                normals.append(np.eye(3)[axis] * sign)
            faces += [(first, first + 1, first + 2), (first, first + 2, first + 3)]
    return np.array(points), np.array(normals), np.array(faces)


def blender_points(data: bytes, path: Path) -> np.ndarray:
    """Return the points [n, 3], z up, that Blender's own importer shows of a GLB file, with skins and shape keys."""
    import bpy

    path.write_bytes(data)
    before = set(bpy.data.objects)
    bpy.ops.import_scene.gltf(filepath=str(path), disable_bone_shape=True)
    graph = bpy.context.evaluated_depsgraph_get()
    points = []
    for item in set(bpy.data.objects) - before:
        if item.type == "MESH":
            shown = item.evaluated_get(graph)
            matrix = np.array(shown.matrix_world)
            own = np.array([vertex.co for vertex in shown.data.vertices]).reshape(-1, 3)
            points.append(own @ matrix[:3, :3].T + matrix[:3, 3])
    for item in set(bpy.data.objects) - before:
        bpy.data.objects.remove(item)
    return np.concatenate(points)


def trimesh_points(data: bytes) -> np.ndarray:
    """Return the points [n, 3], z up, that trimesh finds in a GLB file."""
    import trimesh

    mesh = trimesh.load(io.BytesIO(data), file_type="glb", force="mesh", process=False)
    mesh.remove_unreferenced_vertices()
    return np.asarray(mesh.vertices)[:, [0, 2, 1]] * (1, -1, 1)


def same_points(first: np.ndarray, second: np.ndarray) -> bool:
    """Return whether two sets of points are the same, up to their order and a ten-thousandth."""
    from scipy.spatial import cKDTree

    there, back = cKDTree(first).query(second)[0], cKDTree(second).query(first)[0]
    return bool(max(there.max(), back.max()) < 1e-4)
