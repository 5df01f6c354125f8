"""Engines: what turns a task into pixels. Each kind is a module; all pass the same contract tests."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

from metasim.v1 import render_pb2 as pb

from render_server.errors import EngineUnavailable

#: Names that `create_engine` knows.
ENGINES = ("blender", "raster", "fake")


class Engine(Protocol):
    """Renders one task at a time in the calling process. Not safe for threads."""

    @property
    def name(self) -> str:
        """One of `ENGINES`."""

    @property
    def version(self) -> str:
        """Of the renderer, e.g. "4.5.15". Results of two versions may differ."""

    @property
    def device(self) -> str:
        """What it computes on, e.g. "cpu"."""

    def render(self, task: pb.RenderTask, assets: Mapping[str, Path]) -> pb.RenderResult:
        """Renders a task that has passed validation.

        Args:
            task: what to draw and what to return.
            assets: local file of each content hash that the task names.

        Returns:
            The result. All of it but `timing` is a pure function of the task, the engine and its version.
            `timing.queue_s` is left to the caller.

        Raises:
            InvalidTask: the task asks for what this engine cannot draw, or an asset does not hold what it should.
            AssetMissing: `assets` lacks something.
            RenderFailed: the renderer broke down.
        """


def create_engine(name: str, *, service_time_s: float = 0.0) -> Engine:
    """Makes the engine of that name. Blender is imported here and nowhere earlier.

    Args:
        name: one of `ENGINES`.
        service_time_s: how long "fake" takes for a task at least; the other engines ignore it.

    Raises:
        EngineUnavailable: unknown name, or a package that the engine needs is not installed.
    """
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

                return BlenderEngine()
        except ImportError as error:
            raise EngineUnavailable(
                f"engine 'blender' cannot be imported ({error}); install metasim[render] with Python 3.11, "
                "or use the engine 'raster' for sprite scenes"
            ) from error
    raise EngineUnavailable(f"engine {name!r} is unknown; allowed: {', '.join(ENGINES)}")


@contextlib.contextmanager
def _one_cpu() -> Iterator[None]:
    """Keeps this process on one CPU meanwhile.

    Blender starts as many threads as it sees CPUs. A process renders on one, and the others would do nothing but spin,
    at the cost of the processes beside it.
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
