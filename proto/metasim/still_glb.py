"""GLB files at rest: what a file shows without playing it.

Readers disagree about the parts of a glTF file that move. Blender shows an animation's first frame, other readers show
none; many ignore skins, morph targets, instances or the choice of a scene. Both halves therefore reduce a file to one
that every reader understands: the nodes of the default scene in the pose that their own transforms state, with the
default weights of morph targets.

https://registry.khronos.org/glTF/specs/2.0/glTF-2.0.html, sections 3.5 "Scenes", 3.7.2.2 "Morph Targets" and 3.7.3
"Skins".
"""

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np

from metasim.glb import Buffers, split_glb

_INSTANCING, _VISIBILITY, _DRACO = "EXT_mesh_gpu_instancing", "KHR_node_visibility", "KHR_draco_mesh_compression"
_FLOAT = 5126
#: Extensions that a file at rest has no use for.
_DROPPED = (_INSTANCING, _VISIBILITY, "KHR_animation_pointer")


def still_glb(data: bytes) -> bytes:
    """Return the GLB file with its default scene alone, at rest; unchanged where it is so already.

    Skinned meshes are posed by their joints' transforms, morph targets are applied with their default weights,
    instances become nodes, and invisible nodes lose their meshes. Sparse and quantised attributes become plain floats.

    Raises:
        ValueError: the file is damaged, refers to other files, or has compressed meshes that move.
    """
    document, binary = split_glb(data)
    try:
        reached = _reached(document)
        if _is_still(document, reached):
            return data
        return _Still(document, binary, reached).pack()
    except (KeyError, IndexError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"it is damaged ({type(error).__name__}: {error})") from error


def _default_roots(document: dict[str, Any]) -> list[int]:
    """Return the root nodes of the default scene; without scenes, all nodes that are no children."""
    scenes = document.get("scenes", [])
    if scenes:
        number = document.get("scene", 0)
        if not 0 <= number < len(scenes):
            raise ValueError(f"its default scene {number} does not exist")
        return list(scenes[number].get("nodes", []))
    nodes = document.get("nodes", [])
    children = {child for node in nodes for child in node.get("children", [])}
    return [index for index in range(len(nodes)) if index not in children]


def _reached(document: dict[str, Any]) -> dict[int, tuple[np.ndarray, bool]]:
    """Return the world matrix and the visibility of each node of the default scene."""
    nodes = document.get("nodes", [])
    found: dict[int, tuple[np.ndarray, bool]] = {}
    waiting = [(index, np.eye(4), True) for index in _default_roots(document)]
    while waiting:
        index, parent, visible = waiting.pop()
        if index in found or index < 0:
            raise ValueError(f"its node {index} has two parents, or is its own ancestor")
        node = nodes[index]
        visible = visible and node.get("extensions", {}).get(_VISIBILITY, {}).get("visible", True)
        found[index] = (parent @ _local(node), visible)
        waiting += [(child, found[index][0], visible) for child in node.get("children", [])]
    return found


def _local(node: dict[str, Any]) -> np.ndarray:
    """Return a node's transform, [4, 4] float64 for column vectors."""
    if "matrix" in node:
        return np.array(node["matrix"], float).reshape(4, 4).T
    matrix = np.eye(4)
    matrix[:3, :3] = _rotation(np.array(node.get("rotation", (0, 0, 0, 1)), float)) * node.get("scale", (1, 1, 1))
    matrix[:3, 3] = node.get("translation", (0, 0, 0))
    return matrix


def _rotation(quaternion: np.ndarray) -> np.ndarray:
    x, y, z, w = quaternion / (np.linalg.norm(quaternion) or 1.0)
    return np.array(
        (
            (1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
            (2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
            (2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
        )
    )


def _is_still(document: dict[str, Any], reached: dict[int, tuple[np.ndarray, bool]]) -> bool:
    nodes = document.get("nodes", [])
    if document.get("animations") or document.get("skins") or len(document.get("scenes", [])) != 1:
        return False
    if len(reached) < len(nodes) or not all(visible for _, visible in reached.values()):
        return False
    if any(_INSTANCING in node.get("extensions", {}) for node in nodes):
        return False
    primitives = [primitive for mesh in document.get("meshes", []) for primitive in mesh["primitives"]]
    return not any(primitive.get("targets") or _is_odd(document, primitive) for primitive in primitives)


def _is_odd(document: dict[str, Any], primitive: dict[str, Any]) -> bool:
    """Return whether readers are known to differ about a primitive's numbers."""
    if _is_compressed(primitive):
        return False
    attributes = primitive["attributes"]
    used = [*attributes.values(), *([primitive["indices"]] if "indices" in primitive else [])]
    accessors = [document["accessors"][index] for index in used]
    shape = [document["accessors"][attributes[name]] for name in ("POSITION", "NORMAL") if name in attributes]
    return any("sparse" in each or "bufferView" not in each for each in accessors) or any(
        each["componentType"] != _FLOAT for each in shape
    )


def _is_compressed(primitive: dict[str, Any]) -> bool:
    return _DRACO in primitive.get("extensions", {})


class _Still:
    """A document on its way to rest. Joints' matrices are those of the file, whatever else changes."""

    def __init__(self, document: dict[str, Any], binary: bytes, reached: dict[int, tuple[np.ndarray, bool]]) -> None:
        self._document, self._reached = document, reached
        self._buffers = Buffers(document, binary)
        self._nodes: list[dict[str, Any]] = []
        self._meshes: list[dict[str, Any]] = []
        self._plain: dict[int, int] = {}  # New index of a mesh that several nodes may share
        self._roots: list[int] = []

    def pack(self) -> bytes:
        document = self._document
        kept = sorted(self._reached)
        renamed = {old: new for new, old in enumerate(kept)}
        roots = [renamed[index] for index in _default_roots(document)]
        self._nodes = [copy.deepcopy(document["nodes"][index]) for index in kept]
        self._roots = roots
        for old, node in zip(kept, list(self._nodes), strict=True):
            if "children" in node:
                node["children"] = [renamed[child] for child in node["children"]]
            self._settle(old, node)
        scene = dict(document["scenes"][document.get("scene", 0)]) if document.get("scenes") else {}
        scene["nodes"] = self._roots
        document |= {"nodes": self._nodes, "meshes": self._meshes, "scenes": [scene], "scene": 0}
        for section in ("animations", "skins"):
            document.pop(section, None)
        for section in ("nodes", "meshes", "accessors", "bufferViews"):
            if not document[section]:
                del document[section]
        for section in ("extensionsUsed", "extensionsRequired"):
            names = [name for name in document.pop(section, []) if name not in _DROPPED]
            document |= {section: names} if names else {}
        return self._buffers.pack()

    def _settle(self, old: int, node: dict[str, Any]) -> None:
        """Give a node the mesh that it shows at rest."""
        mesh, skin = node.pop("mesh", None), node.pop("skin", None)
        weights = node.pop("weights", None)
        extensions = node.get("extensions", {})
        instances = extensions.pop(_INSTANCING, None)
        extensions.pop(_VISIBILITY, None)
        if not extensions:
            node.pop("extensions", None)
        world, visible = self._reached[old]
        if mesh is None or not visible:
            return
        if weights is None:
            weights = self._document["meshes"][mesh].get("weights", ())
        if skin is not None:
            # Section 3.7.3.3: a skinned mesh stands where its joints are; its node's own transform is ignored.
            self._roots.append(len(self._nodes))
            self._nodes.append({"mesh": self._moved(mesh, weights, skin, world), "name": node.get("name", "skinned")})
            return
        moved = self._moved(mesh, weights, None, world) if any(weights) else self._shared(mesh)
        if instances is None:
            node["mesh"] = moved
            return
        for place in self._places(instances["attributes"]):
            node.setdefault("children", []).append(len(self._nodes))
            self._nodes.append(place | {"mesh": moved})

    def _places(self, attributes: dict[str, int]) -> Iterator[dict[str, Any]]:
        names = {"TRANSLATION": "translation", "ROTATION": "rotation", "SCALE": "scale"}
        columns = {names[key]: self._buffers.read(index) for key, index in attributes.items() if key in names}
        for row in range(min((len(values) for values in columns.values()), default=0)):
            yield {name: [float(value) for value in values[row]] for name, values in columns.items()}

    def _shared(self, mesh: int) -> int:
        """Return the new index of a mesh without morph targets."""
        if mesh not in self._plain:
            self._plain[mesh] = self._moved(mesh, (), None, np.eye(4))
        return self._plain[mesh]

    def _moved(self, mesh: int, weights: Any, skin: int | None, world: np.ndarray) -> int:
        """Add a mesh with morph targets and skin applied and return its index."""
        made = copy.deepcopy(self._document["meshes"][mesh])
        made.pop("weights", None)
        joints = None if skin is None else self._joints(skin)
        for primitive in made["primitives"]:
            moves = joints is not None or any(weights)
            if _is_compressed(primitive):
                if moves:
                    raise ValueError(f"its moving mesh is compressed with {_DRACO}; save it without compression")
            elif moves or _is_odd(self._document, primitive):
                self._rest(primitive, weights, joints, world)
            primitive.pop("targets", None)
            for name in [name for name in primitive["attributes"] if name.startswith(("JOINTS_", "WEIGHTS_"))]:
                del primitive["attributes"][name]
        self._meshes.append(made)
        return len(self._meshes) - 1

    def _rest(self, primitive: dict[str, Any], weights: Any, joints: np.ndarray | None, world: np.ndarray) -> None:
        attributes, targets = primitive["attributes"], primitive.get("targets", [])
        read = {name: self._buffers.read(index) for name, index in attributes.items()}
        attributes.pop("TANGENT", None)
        shape = {name: read[name].astype(float) for name in ("POSITION", "NORMAL") if name in read}
        for weight, target in zip(weights, targets, strict=False):
            for name in shape:
                if weight and name in target:
                    shape[name] += weight * self._buffers.read(target[name])
        if joints is not None:
            matrices = _blended(read, joints, world)
            shape["POSITION"] = np.einsum("nij,nj->ni", matrices[:, :3, :3], shape["POSITION"]) + matrices[:, :3, 3]
            if "NORMAL" in shape:
                shape["NORMAL"] = _turned(matrices[:, :3, :3], shape["NORMAL"])
        if "NORMAL" in shape:
            lengths = np.linalg.norm(shape["NORMAL"], axis=1, keepdims=True)
            shape["NORMAL"] = shape["NORMAL"] / np.where(lengths > 0, lengths, 1.0)
        for name in attributes:
            if not name.startswith(("JOINTS_", "WEIGHTS_")):
                attributes[name] = self._buffers.add(shape.get(name, read[name]).astype(float))
        if "indices" in primitive:
            primitive["indices"] = self._buffers.add(self._buffers.read(primitive["indices"]).astype(np.uint32))

    def _joints(self, number: int) -> np.ndarray:
        """Return [joints, 4, 4]: each joint's world matrix times its inverse bind matrix."""
        skin = self._document["skins"][number]
        absent = [joint for joint in skin["joints"] if joint not in self._reached]
        if absent:
            raise ValueError(f"its skin {number} has joints outside of the default scene: nodes {absent[:5]}")
        worlds = np.array([self._reached[joint][0] for joint in skin["joints"]])
        if "inverseBindMatrices" not in skin:
            return worlds
        binds = self._buffers.read(skin["inverseBindMatrices"])[: len(worlds)].astype(float)
        return worlds @ binds.reshape(-1, 4, 4).transpose(0, 2, 1)


def _blended(read: dict[str, np.ndarray], joints: np.ndarray, world: np.ndarray) -> np.ndarray:
    """Return the matrix of each vertex, [n, 4, 4]: linear blend skinning. Vertices without weights follow `world`."""
    total = np.zeros((len(read["POSITION"]), 1, 1))
    matrices = np.zeros((len(total), 4, 4))
    for number in range(sum(name.startswith("JOINTS_") for name in read)):
        for joint, weight in zip(read[f"JOINTS_{number}"].T, read[f"WEIGHTS_{number}"].T.astype(float), strict=True):
            joint = np.where(weight > 0, joint, 0).astype(int)
            if len(joint) and int(joint.max()) >= len(joints):
                raise ValueError(f"its vertices refer to joint {int(joint.max())} of {len(joints)}")
            matrices += weight[:, None, None] * joints[joint]
            total += weight[:, None, None]
    return np.where(total > 0, matrices / np.where(total > 0, total, 1.0), world)


def _turned(matrices: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """Return normals [n, 3] under linear maps [n, 3, 3]: the inverse transpose up to a positive factor."""
    a, b, c = matrices[:, 0], matrices[:, 1], matrices[:, 2]
    cofactors = np.stack((np.cross(b, c), np.cross(c, a), np.cross(a, b)), axis=1)
    signs = np.where(np.einsum("ni,ni->n", a, cofactors[:, 0]) < 0, -1.0, 1.0)
    return signs[:, None] * np.einsum("nij,nj->ni", cofactors, normals)
