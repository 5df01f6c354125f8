"""The interface of engines."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from metasim.v1 import render_pb2 as pb


class Engine(Protocol):
    """Renders one task at a time in the calling process. Not thread-safe."""

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
            task: the scene and the requested outputs.
            assets: local file of each content hash that the task names.

        Returns:
            The result. All but `timing` is a pure function of the task, the engine, its version and its device.
            The caller sets `timing.queue_s`.

        Raises:
            InvalidTask: this engine cannot draw the task, or an asset has the wrong content.
            AssetMissing: `assets` lacks a required asset.
            RenderFailed: the renderer failed.
            DeviceLost: the device failed; the process must end.
        """
