"""Checks of the rules of assets, limits and features."""

import math

import grpc
import numpy as np
from metasim.hashing import content_hash
from metasim.v1 import render_pb2 as pb
from metasim.v1 import scene_pb2

from trainer.checks.conformance import Rule, Worker
from trainer.checks.endpoint_tasks import (
    absent,
    demand,
    flat_scene,
    goes_on,
    good,
    held,
    make_task,
    ready,
    sprite,
)


def assets_wanted(worker: Worker) -> None:
    rng = np.random.default_rng()
    name = worker.texture(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
    data = worker.assets.pop(name)
    with worker.talk() as talk:
        talk.slots()
        talk.task(*(make_task(task_id, flat_scene(sprite(name))) for task_id in "ab"))
        wanted = list(talk.until("assets_wanted").hashes)
        demand(wanted == [name], f"the worker wants {wanted}; the tasks need {name}")
        talk.asset(name, data)
        for _ in range(2):  # The next reply of a kind must be a result, not the same hash again.
            demand(talk.until("result").id in ("a", "b"), "a result has another id")


def wrong_hash_with_tasks(worker: Worker) -> None:
    with worker.talk() as talk:
        talk.slots()
        talk.task(held("held"))
        talk.until("assets_wanted")
        talk.asset(absent(), b"something else")
        talk.error(pb.CODE_INVALID_ARGUMENT)
        goes_on(worker, talk)


def wrong_hash_alone(worker: Worker) -> None:
    with worker.talk() as talk:
        talk.slots()
        talk.asset(content_hash(b"one thing"), b"another thing")
        status = talk.status()
        demand(status == grpc.StatusCode.INVALID_ARGUMENT, f"the stream ends with {status.name}")


def no_paths(worker: Worker) -> None:
    with worker.talk() as talk:
        talk.slots()
        talk.task(make_task("path", flat_scene(sprite("../../etc/passwd"))))
        talk.error(pb.CODE_INVALID_ARGUMENT)


def limits_hold(worker: Worker) -> None:
    stated = worker.description.limits
    tasks = []
    for field, name in (("samples", "samples"), ("max_bounces", "bounces")):
        limit = getattr(stated, name)
        if limit < 2**32 - 1:
            task = good(worker, name)
            setattr(task.settings, field, limit + 1)
            tasks.append(task)
    if stated.pixels < 2**40:
        task = good(worker, "pixels")
        task.settings.width_px = task.settings.height_px = math.isqrt(stated.pixels) + 1
        tasks.append(task)
    with worker.talk() as talk:
        ready(worker, talk)
        for task in tasks:
            talk.task(task)
            error = talk.error(pb.CODE_RESOURCE_EXHAUSTED)
            demand(error.retry_after_s == 0, f"retry_after_s is {error.retry_after_s} beyond the limit of {error.id}")


def _with_feature(worker: Worker, feature: "pb.Feature.ValueType") -> pb.RenderTask:
    """Return a task that needs one feature."""
    task = good(worker, pb.Feature.Name(feature))
    task.settings.view_transform = pb.VIEW_TRANSFORM_STANDARD
    if feature == pb.FEATURE_MESHES:
        cube = scene_pb2.Mesh(primitive=scene_pb2.PRIMITIVE_CUBE)
        task.scene.nodes.add(id="mesh", class_name="thing").mesh.CopyFrom(cube)
    elif feature == pb.FEATURE_LIGHTS:
        task.scene.nodes.add(id="light").light.sun.irradiance_w_m2 = 1
    elif feature == pb.FEATURE_PERSPECTIVE:
        task.scene.nodes[0].camera.perspective.vertical_fov_deg = 60
    elif feature == pb.FEATURE_TILTED_SPRITES:
        task.scene.nodes[1].transform.roll_deg = 30
    elif feature == pb.FEATURE_ENVIRONMENT:
        task.scene.nodes.add(id="sky").light.sky.irradiance_w_m2 = 1
    elif feature == pb.FEATURE_LENS:
        task.scene.nodes[0].camera.perspective.vertical_fov_deg = 60
        task.scene.nodes[0].camera.perspective.lens.k1 = -0.1
    elif feature == pb.FEATURE_SETTLING:
        cube = scene_pb2.Mesh(primitive=scene_pb2.PRIMITIVE_CUBE)
        node = task.scene.nodes.add(id="mesh", class_name="thing", settles=True)
        node.mesh.CopyFrom(cube)
        node.transform.z_m = -1
    elif feature == pb.FEATURE_SURFACES:
        metal = scene_pb2.Mesh(primitive=scene_pb2.PRIMITIVE_CUBE, material=scene_pb2.Material(metallic=1))
        task.scene.nodes.add(id="mesh", class_name="thing").mesh.CopyFrom(metal)
    elif feature == pb.FEATURE_DENOISING:
        task.settings.denoise = True
    return task


def features_hold(worker: Worker) -> None:
    for feature in pb.Feature.values():
        if feature in (pb.FEATURE_UNSPECIFIED, pb.FEATURE_APPEARANCE):
            continue
        task = _with_feature(worker, feature)
        with worker.talk() as talk:
            ready(worker, talk)
            talk.task(task)
            if worker.has(feature):
                talk.result()
            else:
                error = talk.error(pb.CODE_UNIMPLEMENTED)
                found = [pb.Feature.Name(each) for each in error.missing_features]
                demand(feature in error.missing_features, f"missing_features is {found} for {task.id}")


#: The checks, in the order in which they run.
RULES: tuple[Rule, ...] = (
    Rule("assets-wanted", "a missing asset is asked for once, and its tasks wait for it", assets_wanted),
    Rule("asset-wrong-hash", "a wrong hash fails the tasks that wait for the asset", wrong_hash_with_tasks),
    Rule("asset-unasked-wrong-hash", "a wrong hash that no task waits for ends the stream", wrong_hash_alone),
    Rule("asset-no-path", "an asset that is no content hash is refused", no_paths),
    Rule("limits", "a task beyond a stated limit is answered with CODE_RESOURCE_EXHAUSTED, without retry", limits_hold),
    Rule("features", "stated features are drawn, others are answered with CODE_UNIMPLEMENTED", features_hold),
)
