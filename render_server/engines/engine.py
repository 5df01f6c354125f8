"""The interface of engines."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from metasim.v1 import render_pb2 as pb


class Engine(Protocol):
    """Renders one task at a time in the calling process. Not safe for threads."""

    @property
    def name(self) -> str:
        """Return the name of the engine, one of `ENGINES`."""

    @property
    def version(self) -> str:
        """Return the version of the renderer, e.g. "4.5.15". Results of two versions may differ."""

    @property
    def device(self) -> str:
        """Return the kind of device that renders, one of `DEVICES`. Results of two kinds may differ."""

    @property
    def device_name(self) -> str:
        """Return the name of that device, e.g. "NVIDIA H200"; empty if unknown."""

    def render(self, task: pb.RenderTask, assets: Mapping[str, Path]) -> pb.RenderResult:
        """Render a task that has passed validation.

        Args:
            task: what to draw and what to return.
            assets: local file of each content hash that the task names.

        Returns:
            The result. All but `timing` is a pure function of the task, the engine, its version and its device.
            `timing.queue_s` is left to the caller.

        Raises:
            InvalidTask: the task asks for what this engine cannot draw, or an asset does not hold what it should.
            AssetMissing: `assets` lacks something.
            RenderFailed: the renderer failed.
            DeviceLost: the device failed; the process must end.
        """
