"""The transforms of `metasim/v1/scene.proto` as matrices."""

import math

import numpy as np

from metasim.v1 import scene_pb2 as pb


def local_matrix(transform: pb.Transform) -> np.ndarray:
    """Return the [4, 4] float64 matrix from the node's frame to its parent's: T Rz(yaw) Ry(pitch) Rx(roll) scale."""
    yaw, pitch, roll = (
        math.radians(transform.yaw_deg),
        math.radians(transform.pitch_deg),
        math.radians(transform.roll_deg),
    )
    cy, sy, cp, sp, cr, sr = (
        math.cos(yaw),
        math.sin(yaw),
        math.cos(pitch),
        math.sin(pitch),
        math.cos(roll),
        math.sin(roll),
    )
    s = transform.scale if transform.HasField("scale") else 1.0
    return np.array(
        (
            (s * cy * cp, s * (cy * sp * sr - sy * cr), s * (cy * sp * cr + sy * sr), transform.x_m),
            (s * sy * cp, s * (sy * sp * sr + cy * cr), s * (sy * sp * cr - cy * sr), transform.y_m),
            (-s * sp, s * cp * sr, s * cp * cr, transform.z_m),
            (0.0, 0.0, 0.0, 1.0),
        )
    )


def world_matrices(scene: pb.Scene) -> dict[str, np.ndarray]:
    """Return each node's [4, 4] float64 matrix to the world frame, by its id; parents must lead to a root."""
    nodes = {node.id: node for node in scene.nodes}
    found: dict[str, np.ndarray] = {}
    for node in scene.nodes:
        above = [node]
        while above[-1].id not in found and above[-1].parent:
            above.append(nodes[above[-1].parent])
        for each in reversed(above):
            if each.id not in found:
                local = local_matrix(each.transform)
                found[each.id] = found[each.parent] @ local if each.parent else local
    return found
