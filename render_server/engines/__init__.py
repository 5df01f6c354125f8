"""Engines that render tasks. Each is a module, and all pass the same contract tests."""

import contextlib
import os
from collections.abc import Iterator

from render_server.engines.engine import Engine
from render_server.errors import EngineUnavailable

__all__ = ["ENGINES", "Engine", "create_engine"]

#: Names that `create_engine` knows.
ENGINES = ("blender", "raster", "fake")


def create_engine(name: str, *, device: str = "cpu", service_time_s: float = 0.0) -> Engine:
    """Return the engine of that name, wrapped by the camera's response. Blender is imported only here.

    Args:
        name: one of `ENGINES`.
        device: kind of device, one of `DEVICES`; "raster" and "fake" render on the CPU.
        service_time_s: minimum time per task of "fake"; the other engines ignore it.

    Raises:
        EngineUnavailable: unknown name, or a package that the engine needs is not installed.
    """
    from render_server.engines.responding import RespondingEngine

    return RespondingEngine(_engine(name, device, service_time_s))


def _engine(name: str, device: str, service_time_s: float) -> Engine:
    if name == "fake":
        from render_server.engines.fake import FakeEngine

        return FakeEngine(service_time_s=service_time_s)
    if name == "raster":
        from render_server.engines.raster import RasterEngine

        return RasterEngine()
    if name == "blender":
        try:
            with _one_cpu():
                from render_server.engines.blender import BlenderEngine

                return BlenderEngine(device)
        except ImportError as error:
            raise EngineUnavailable(
                f"engine 'blender' cannot be imported ({error}); install metasim[render] with Python 3.11 or "
                "3.13, or use the engine 'raster' for sprite scenes"
            ) from error
    raise EngineUnavailable(f"engine {name!r} is unknown; allowed: {', '.join(ENGINES)}")


@contextlib.contextmanager
def _one_cpu() -> Iterator[None]:
    """Restrict this process to one CPU inside the context.

    Blender starts one thread per visible CPU. A process renders on one CPU, and the other threads would only spin and
    slow down other processes.
    """
    if not hasattr(os, "sched_setaffinity"):  # Not on Linux.
        yield
        return
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)
