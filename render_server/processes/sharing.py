"""Measure how many engine processes share a GPU.

Small scenes leave it idle between launches; several processes fill these gaps.
"""

import asyncio
import functools
import logging
import time
from collections.abc import Awaitable, Callable, Sequence

from metasim.v1 import render_pb2 as pb
from metasim.v1 import scene_pb2

from render_server.errors import RenderServerError
from render_server.processes.engine_process import EngineSettings
from render_server.processes.job import Job
from render_server.processes.process_pool import ProcessPool

#: Most processes on one GPU.
MOST = 8
#: Twice as many processes are kept if they render this many times as fast.
GAIN = 1.15
#: How long each number of processes is measured.
SECONDS = 3.0

_log = logging.getLogger(__name__)


async def measured_processes(settings: EngineSettings, task: pb.RenderTask | None = None, most: int = MOST) -> int:
    """Return how many processes render small scenes fastest on one device.

    Args:
        task: what they render; default: `small_task()`.
        most: largest number that is tried.

    Raises:
        RenderServerError: one process cannot render the scene.
    """
    return await fastest(functools.partial(images_per_s, settings, task or small_task()), most)


async def fastest(rate_of: Callable[[int], Awaitable[float]], most: int = MOST) -> int:
    """Return the number of processes from which on a doubling gains too little, or fails.

    Args:
        rate_of: returns the images per second of a number of processes.
    """
    count, rate = 1, await rate_of(1)
    _log.info("1 process renders %.3g small images per second", rate)
    while 2 * count <= most:
        try:
            more = await rate_of(2 * count)
        except RenderServerError as error:  # For instance, the device has too little memory for this number.
            _log.info("%d processes cannot share the device: %s", 2 * count, error)
            break
        _log.info("%d processes render %.3g small images per second", 2 * count, more)
        if more < GAIN * rate:
            break
        count, rate = 2 * count, more
    return count


async def images_per_s(settings: EngineSettings, task: pb.RenderTask, count: int, seconds: float = SECONDS) -> float:
    """Return how many images of a task a number of processes renders per second.

    Raises:
        RenderServerError: the processes do not start, or one of them answers with an error.
    """
    pool = ProcessPool(settings, count)
    body, loop = task.SerializeToString(), asyncio.get_running_loop()
    answers: asyncio.Queue[tuple[bytes, bool]] = asyncio.Queue()

    def submit() -> None:
        now_s = loop.time()
        answer = functools.partial(_keep, answers)
        pool.submit(Job(task.id, body, (), now_s, now_s + settings.limits.task_timeout_s, answer))

    await pool.start()
    try:
        for _ in range(2 * count):
            submit()
        began_s, done = time.monotonic(), 0
        while not done or time.monotonic() - began_s < seconds:
            reply, failed = await answers.get()
            if failed:
                raise RenderServerError(pb.RenderReply.FromString(reply).error.message)
            done += 1
            submit()
        return done / (time.monotonic() - began_s)
    finally:
        await pool.close()


def _keep(answers: asyncio.Queue[tuple[bytes, bool]], job: Job, reply: bytes, code: pb.Code.ValueType | None) -> None:
    del job
    answers.put_nowait((reply, code is not None))


def small_task() -> pb.RenderTask:
    """Return a small scene: objects with shadows on 64 x 64 pixels."""
    camera = scene_pb2.Transform(y_m=-6, z_m=3, roll_deg=65)
    scene = objects_scene(camera, [(number - 1.5, 0.0) for number in range(4)])
    return objects_task("small", scene, width_px=64, height_px=64, samples=16)


def objects_scene(camera: scene_pb2.Transform, places: Sequence[tuple[float, float]]) -> scene_pb2.Scene:
    """Return cubes and spheres n0, n1 ... in turn at (x, y) m on the ground, in the light of a sun."""
    nodes = [
        scene_pb2.Node(
            id="camera",
            transform=camera,
            camera=scene_pb2.Camera(perspective=scene_pb2.Perspective(vertical_fov_deg=40)),
        ),
        scene_pb2.Node(
            id="sun",
            transform=scene_pb2.Transform(roll_deg=40, yaw_deg=20),
            light=scene_pb2.Light(sun=scene_pb2.SunLight(irradiance_w_m2=3, angle_deg=1)),
        ),
    ]
    for number, (x, y) in enumerate(places):
        node = scene_pb2.Node(id=f"n{number}", transform=scene_pb2.Transform(x_m=x, y_m=y, scale=0.7))
        node.mesh.primitive = scene_pb2.PRIMITIVE_SPHERE if number % 2 else scene_pb2.PRIMITIVE_CUBE
        nodes.append(node)
    return scene_pb2.Scene(nodes=nodes, background=scene_pb2.Color(red=0.3, green=0.4, blue=0.5))


def objects_task(
    name: str, scene: scene_pb2.Scene, *, width_px: int, height_px: int, samples: int, columns: Sequence[pb.Column] = ()
) -> pb.RenderTask:
    """Return the task that renders an image of a scene, and columns of its Jacobian."""
    return pb.RenderTask(
        id=name,
        scene=scene,
        settings=pb.RenderSettings(
            width_px=width_px,
            height_px=height_px,
            samples=samples,
            filter_width_px=1,
            view_transform=pb.VIEW_TRANSFORM_STANDARD,
            max_bounces=2,
        ),
        outputs=[pb.OUTPUT_IMAGE_U8],
        columns=columns,
    )
