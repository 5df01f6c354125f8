"""GLB files whose readers disagree: skins, morph targets, scenes, animations, instances, sparse or small numbers."""

from collections.abc import Callable
from typing import Any

import numpy as np
from support.glb import GlbMaker, cube

_TURN = [0.0, 0.0, 0.38268343, 0.92387953]  # 45 degrees about z


def skinned(weights: str = "f4", *, again: bool = False, spread: bool = False) -> bytes:
    """A bar along y on two joints, the upper one turned. It hangs under a scaled node, which skins ignore.

    Args:
        weights: type of the weights.
        again: a second skin poses the same mesh elsewhere.
        spread: weights lie in two sets of four.
    """
    maker = GlbMaker()
    points, normals, faces = cube()
    points = points * (0.4, 2, 0.4) + (0, 1, 0)
    upper = np.clip(points[:, 1] / 2, 0, 1)
    shares = np.zeros((24, 4))
    shares[:, 0], shares[:, 1] = 1 - upper, upper
    scale = {"f4": 1, "u1": 255, "u2": 65535}[weights]
    more: dict[str, Any] = {} if weights == "f4" else {"normalized": True}
    joints = np.tile([0, 1, 0, 0], (24, 1))
    attributes = {"POSITION": maker.array(points), "NORMAL": maker.array(normals)}
    sets = [shares * (1, 0, 0, 0), shares * (0, 1, 0, 0)] if spread else [shares]
    for number, part in enumerate(sets):
        attributes |= {
            f"JOINTS_{number}": maker.array(joints, "u1"),
            f"WEIGHTS_{number}": maker.array(np.rint(part * scale) if scale > 1 else part, weights, **more),
        }
    binds = np.stack((np.eye(4), np.eye(4)))
    binds[1, 1, 3] = -1.0  # The upper joint stands at y = 1.
    inverse = maker.array(binds.transpose(0, 2, 1).reshape(2, 16))
    nodes: list[dict[str, Any]] = [
        {"children": [1], "translation": [0.5, 0, 0]},
        {"translation": [0, 1, 0], "rotation": _TURN},
        {"mesh": 0, "skin": 0, "name": "bar"},
        {"children": [2], "scale": [7, 7, 7]},
    ]
    skins = [{"joints": [0, 1], "inverseBindMatrices": inverse}]
    roots = [0, 3]
    if again:
        nodes += [{"children": [5], "translation": [3, 0, 1]}, {"translation": [0, 1.2, 0]}, {"mesh": 0, "skin": 1}]
        skins.append({"joints": [4, 5], "inverseBindMatrices": inverse})
        roots += [4, 6]
    indices = maker.array(faces.reshape(-1, 1), "u2")
    maker.document |= {
        "meshes": [{"primitives": [{"attributes": attributes, "indices": indices}]}],
        "nodes": nodes,
        "skins": skins,
        "scenes": [{"nodes": roots}],
        "scene": 0,
    }
    return maker.data()


def morphing(where: str = "mesh", *, sparse: bool = False) -> bytes:
    """A scaled cube whose first target widens it and whose second lifts it.

    Args:
        where: where the weights stand: mesh, node (these count where both have some), or nowhere.
        sparse: targets are sparse.
    """
    maker = GlbMaker()
    points, _, _ = cube()
    wide, high = points * (1, 0, 0), np.tile([0, 0.5, 0], (24, 1))
    if sparse:
        places = np.arange(0, 24, 2)
        targets = []
        for moved in (wide, high):
            parts = {
                "indices": {"bufferView": maker.view(places.astype("<u2").tobytes()), "componentType": 5123},
                "values": {"bufferView": maker.view(moved[places].astype("<f4").tobytes())},
            }
            accessor = {"componentType": 5126, "count": 24, "type": "VEC3", "sparse": {"count": len(places), **parts}}
            maker.document["accessors"].append(accessor)
            targets.append({"POSITION": len(maker.document["accessors"]) - 1})
    else:
        targets = [{"POSITION": maker.array(wide)}, {"POSITION": maker.array(high)}]
    mesh: dict[str, Any] = {"primitives": [maker.cube(targets=targets)]}
    node: dict[str, Any] = {"mesh": 0, "scale": [3, 2, 1], "translation": [1, 0, 0]}
    if where != "nowhere":
        mesh["weights"] = [0.5, 1.0]
    if where == "node":
        node["weights"] = [1.0, 0.25]
    maker.document |= {"meshes": [mesh], "nodes": [node], "scenes": [{"nodes": [0]}], "scene": 0}
    return maker.data()


def two_scenes() -> bytes:
    """The second of two scenes is the default; both share a mesh. One node belongs to neither."""
    maker = GlbMaker()
    maker.document |= {
        "meshes": [{"primitives": [maker.cube()]}],
        "nodes": [
            {"mesh": 0},
            {"translation": [2, 0, 0], "children": [3]},
            {"mesh": 0, "scale": [9, 9, 9]},
            {"mesh": 0},
        ],
        "scenes": [{"nodes": [0]}, {"nodes": [1]}],
        "scene": 1,
    }
    return maker.data()


def animated() -> bytes:
    """A cube that an animation moves and turns from its first frame on; its own transform says otherwise."""
    maker = GlbMaker()
    times = maker.array([[0.0], [1.0]])
    where = maker.array([[0, 5, 0], [0, 6, 0]])
    turned = maker.array([_TURN, _TURN])
    maker.document |= {
        "meshes": [{"primitives": [maker.cube()]}],
        "nodes": [{"mesh": 0, "translation": [1, 0, 0]}, {"children": [0], "scale": [1, 2, 1]}],
        "scenes": [{"nodes": [1]}],
        "scene": 0,
        "animations": [
            {
                "samplers": [{"input": times, "output": where}, {"input": times, "output": turned}],
                "channels": [
                    {"sampler": 0, "target": {"node": 0, "path": "translation"}},
                    {"sampler": 1, "target": {"node": 0, "path": "rotation"}},
                ],
            }
        ],
    }
    return maker.data()


def instanced() -> bytes:
    """A cube at three places, by EXT_mesh_gpu_instancing, under a node that turns and stretches them."""
    maker = GlbMaker(extensionsUsed=["EXT_mesh_gpu_instancing"], extensionsRequired=["EXT_mesh_gpu_instancing"])
    attributes = {
        "TRANSLATION": maker.array([[0, 0, 0], [2, 0, 0], [0, 3, 0]]),
        "ROTATION": maker.array([[0, 0, 0, 1], _TURN, [0, 0, 0, 1]]),
        "SCALE": maker.array([[1, 1, 1], [1, 1, 1], [0.5, 2, 1]]),
    }
    maker.document |= {
        "meshes": [{"primitives": [maker.cube()]}],
        "nodes": [
            {"mesh": 0, "scale": [1, 1, 2], "extensions": {"EXT_mesh_gpu_instancing": {"attributes": attributes}}}
        ],
        "scenes": [{"nodes": [0]}],
        "scene": 0,
    }
    return maker.data()


def quantised() -> bytes:
    """A cube whose positions are normalised bytes with a stride, under KHR_mesh_quantization."""
    maker = GlbMaker(extensionsUsed=["KHR_mesh_quantization"], extensionsRequired=["KHR_mesh_quantization"])
    points, _, faces = cube()
    padded = np.zeros((24, 4), np.int8)
    padded[:, :3] = np.rint(points * 2 * 127)
    view = maker.view(padded.tobytes())
    maker.document["bufferViews"][view]["byteStride"] = 4
    maker.document["accessors"].append(
        {"bufferView": view, "componentType": 5120, "normalized": True, "count": 24, "type": "VEC3"}
    )
    position = len(maker.document["accessors"]) - 1
    indices = maker.array(faces.reshape(-1, 1), "u2")
    maker.document |= {
        "meshes": [{"primitives": [{"attributes": {"POSITION": position}, "indices": indices}]}],
        "nodes": [{"mesh": 0, "scale": [0.5, 0.5, 1.5]}],
        "scenes": [{"nodes": [0]}],
        "scene": 0,
    }
    return maker.data()


def mirrored() -> bytes:
    """A cube beside its mirror image, whose node has a negative scale and a turn; a camera and a lamp between them."""
    maker = GlbMaker(extensionsUsed=["KHR_lights_punctual"])
    lamp = {"lights": [{"type": "point", "intensity": 5000.0}]}
    maker.document |= {
        "meshes": [{"primitives": [maker.cube()]}],
        "nodes": [
            {"mesh": 0},
            {"children": [2], "rotation": _TURN},
            {"mesh": 0, "scale": [-1, 2, 1], "translation": [3, 0, 0]},
            {"camera": 0, "translation": [0, 40, 0]},
            {"extensions": {"KHR_lights_punctual": {"light": 0}}, "translation": [0, 2, 0]},
        ],
        "cameras": [{"type": "perspective", "perspective": {"yfov": 1.0, "znear": 0.1}}],
        "extensions": {"KHR_lights_punctual": lamp},
        "scenes": [{"nodes": [0, 1, 3, 4]}],
        "scene": 0,
    }
    return maker.data()


def loose() -> bytes:
    """A cube, and far from it points and lines of the same mesh, which no render shows."""
    maker = GlbMaker()
    far = maker.array([[50.0, 0, 0], [51, 0, 0]])
    primitives = [
        maker.cube(),
        {"attributes": {"POSITION": far}, "mode": 0},
        {"attributes": {"POSITION": far}, "mode": 1},
    ]
    maker.document |= {"meshes": [{"primitives": primitives}], "nodes": [{"mesh": 0}], "scenes": [{"nodes": [0]}]}
    return maker.data()


#: Files of every kind that Blender's importer shows as the glTF specification has it.
BY_BLENDER: dict[str, Callable[[], bytes]] = {
    "skinned": skinned,
    "skinned, bytes": lambda: skinned("u1"),
    "skinned, two bytes": lambda: skinned("u2"),
    "two skins": lambda: skinned(again=True),
    "eight weights": lambda: skinned(spread=True),
    "morphing": morphing,
    "morphing, sparse": lambda: morphing(sparse=True),
    "morphing, no weights": lambda: morphing("nowhere"),
    "instanced": instanced,
    "quantised": quantised,
    "mirrored": mirrored,
}
#: These and those of which it shows something else.
ALL: dict[str, Callable[[], bytes]] = BY_BLENDER | {
    "morphing by node": lambda: morphing("node"),
    "two scenes": two_scenes,
    "animated": animated,
    "loose": loose,
}
