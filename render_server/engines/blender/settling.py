# mypy: disable-error-code="arg-type, attr-defined, union-attr"
"""Rigid bodies: settled poses of meshes from Blender's physics engine (Bullet)."""

import hashlib
import math
from collections import OrderedDict

import bpy
import numpy as np
from metasim.v1 import render_pb2 as pb
from metasim.v1 import scene_pb2

from render_server.engines.blender.content import MeshBuilder, Sources, matrix
from render_server.engines.blender.session import silent_stdout
from render_server.errors import RenderFailed
from render_server.scene.extent import mesh_size
from render_server.scene.scene_graph import SceneGraph

#: Maximum number of frames at 60 per second, steps per frame, and solver iterations.
_FRAMES, _STEPS, _ITERATIONS = 360, 10, 30
#: Bodies are at rest if during this many frames none moves by more than this fraction of its size.
_STILL_FRAMES, _STILL = 12, 2e-4
#: Size to which bodies are scaled, since Bullet works best with bodies of about 1 m.
_SIZE = 1.0
_FRICTION, _RESTITUTION = 0.6, 0.05
#: Number of settled scenes in the cache.
_KEPT = 256
_TRANSFORMS = frozenset(
    {
        scene_pb2.ATTRIBUTE_X,
        scene_pb2.ATTRIBUTE_Y,
        scene_pb2.ATTRIBUTE_Z,
        scene_pb2.ATTRIBUTE_YAW,
        scene_pb2.ATTRIBUTE_PITCH,
        scene_pb2.ATTRIBUTE_ROLL,
    }
)


class SettledScenes:
    """Poses of settled nodes, cached by their inputs: the scene's meshes and their poses."""

    def __init__(self) -> None:
        self._poses: OrderedDict[bytes, list[pb.Pose]] = OrderedDict()

    def settle(self, task: pb.RenderTask, sources: Sources) -> tuple[pb.RenderTask, list[pb.Pose]]:
        """Return the task with its nodes in their settled poses, and these poses; unchanged if no node settles.

        Raises:
            RenderFailed: Blender's physics fails.
        """
        if not any(node.settles for node in task.scene.nodes):
            return task, []
        graph = SceneGraph(task.scene)
        key = _key(graph)
        if key not in self._poses:
            self._poses[key] = _settled(graph, sources)
            while len(self._poses) > _KEPT:
                self._poses.popitem(last=False)
        self._poses.move_to_end(key)
        poses = self._poses[key]
        settled = pb.RenderTask()
        settled.CopyFrom(task)
        by_id = {pose.node: pose.transform for pose in poses}
        for node in settled.scene.nodes:
            if node.id in by_id:
                node.transform.CopyFrom(by_id[node.id])
                node.settles = False
        for column in settled.columns:
            if column.node in by_id and column.attribute in _TRANSFORMS:
                # The range refers to the pose before the fall.
                column.ClearField("minimum")
                column.ClearField("maximum")
        return settled, poses


def _key(graph: SceneGraph) -> bytes:
    digest = hashlib.sha256()
    for index, node in enumerate(graph.nodes):
        if node.HasField("mesh"):
            shape = scene_pb2.Mesh()
            shape.CopyFrom(node.mesh)
            shape.ClearField("material")
            digest.update(shape.SerializeToString(deterministic=True) + bytes((node.settles,)))
            digest.update(np.ascontiguousarray(graph.world[index]).tobytes())
    return digest.digest()


def _settled(graph: SceneGraph, sources: Sources) -> list[pb.Pose]:
    scene = bpy.data.scenes.new("settling")
    builder = MeshBuilder(sources, graph)
    objects: dict[int, bpy.types.Object] = {}
    blocks: list[bpy.types.ID] = []
    try:
        falling = [index for index, node in enumerate(graph.nodes) if node.settles]
        largest = max(float(np.ptp(_corners(builder, graph, index), axis=0).max()) for index in falling)
        factor = _SIZE / max(largest, 1e-9)
        for index, node in enumerate(graph.nodes):
            if node.HasField("mesh"):
                item = objects[index] = builder.create(graph, index)
                blocks.append(item)
                item.rotation_mode = "QUATERNION"
                scene.collection.objects.link(item)
                scaled = graph.world[index] @ np.diag((*mesh_size(node.mesh), 1.0))
                scaled[:3] *= factor
                item.matrix_world = matrix(scaled)
        with silent_stdout():
            _simulate(scene, objects, falling)
        return [_pose(graph, index, np.array(objects[index].matrix_world), factor) for index in falling]
    except RuntimeError as error:
        raise RenderFailed(f"Blender's rigid bodies failed: {error}") from error
    finally:
        bodies = scene.rigidbody_world.collection if scene.rigidbody_world else None
        bpy.data.batch_remove([*blocks, *([bodies] if bodies is not None else []), scene])


def _simulate(scene: bpy.types.Scene, objects: dict[int, bpy.types.Object], falling: list[int]) -> None:
    """Simulate the bodies' fall until they are at rest."""
    layer = scene.view_layers[0]
    with bpy.context.temp_override(scene=scene, view_layer=layer):
        bpy.ops.rigidbody.world_add()
        bodies = bpy.data.collections.new("bodies")
        world = scene.rigidbody_world
        world.collection = bodies
        for item in objects.values():
            bodies.objects.link(item)
        for index, item in objects.items():
            body = item.rigid_body
            body.type = "ACTIVE" if index in falling else "PASSIVE"
            body.collision_shape = "CONVEX_HULL" if index in falling else "MESH"
            body.mesh_source = "BASE"
            body.use_margin = True
            body.collision_margin = 0.0 if index not in falling else 0.001
            body.friction, body.restitution = _FRICTION, _RESTITUTION
            body.linear_damping, body.angular_damping = 0.1, 0.3
            body.mass = 1.0
        world.substeps_per_frame, world.solver_iterations = _STEPS, _ITERATIONS
        world.point_cache.frame_start, world.point_cache.frame_end = 1, _FRAMES
        scene.render.fps = 60
        scene.frame_set(1)
        before, still = None, 0
        for frame in range(2, _FRAMES + 1):
            scene.frame_set(frame)
            now = np.array([np.array(objects[index].matrix_world) for index in falling])
            moved = np.inf if before is None else np.abs(now - before).max()
            before, still = now, still + 1 if moved < _STILL * _SIZE else 0
            if still >= _STILL_FRAMES:
                break


def _corners(builder: MeshBuilder, graph: SceneGraph, index: int) -> np.ndarray:
    return builder.extent(graph, index).corners


def _pose(graph: SceneGraph, index: int, world: np.ndarray, factor: float) -> pb.Pose:
    """Return a settled node's transform in its parent's frame: new rotation and translation, same scale."""
    position, rotation = world[:3, 3] / factor, _rotation(world[:3, :3])
    parent = graph.parents[index]
    above = np.eye(4) if parent < 0 else graph.world[parent]
    scale = np.linalg.norm(above[:3, 0])
    turn = above[:3, :3] / scale
    x, y, z = (turn.T @ (position - above[:3, 3]) / scale).tolist()
    local = turn.T @ rotation
    transform = scene_pb2.Transform()
    transform.CopyFrom(graph.nodes[index].transform)
    transform.x_m, transform.y_m, transform.z_m = x, y, z
    transform.pitch_deg = math.degrees(math.asin(max(-1.0, min(1.0, -local[2, 0]))))
    transform.yaw_deg = math.degrees(math.atan2(local[1, 0], local[0, 0]))
    transform.roll_deg = math.degrees(math.atan2(local[2, 1], local[2, 2]))
    return pb.Pose(node=graph.nodes[index].id, transform=transform)


def _rotation(axes: np.ndarray) -> np.ndarray:
    """Return the rotation of a matrix with scaled axes."""
    result: np.ndarray = axes / np.linalg.norm(axes, axis=0)
    return result
