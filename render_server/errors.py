"""Errors of a render worker.

RenderServerError
├── InvalidTask          the task breaks a rule of the wire's specification
│   ├── Unsupported      the task is valid, but this engine cannot draw it
│   └── LimitExceeded    the task is valid, but exceeds this worker's limits (in `limits`)
├── AssetMissing         the task names content that was not handed over
├── RenderFailed         the renderer failed: the task may succeed on another worker
│   └── DeviceMemoryFull the device has too little memory for the task
├── DeviceLost           the device renders nothing any more: the process must end
└── EngineUnavailable    this machine lacks what the engine needs
"""

from collections.abc import Sequence

from metasim.v1 import render_pb2 as pb


class RenderServerError(Exception):
    """Root of all errors that a render worker raises on purpose. `str()` is one line, fit for the client."""


class InvalidTask(RenderServerError):  # noqa: N818
    """A field of the task is wrong.

    Args:
        field: path in the task, e.g. `scene.nodes[3].transform.x_m`.
        value: its value.
        allowed: what would be right and, where it helps, the next step; e.g. `it must be finite`.
    """

    def __init__(self, field: str, value: object, allowed: str) -> None:
        super().__init__(f"{field} is {value}; {allowed}")
        self.field = field
        self.value = value
        self.allowed = allowed


class Unsupported(InvalidTask):
    """The engine cannot draw a field of the task; a worker with another engine can.

    Args:
        feature: what the engine lacks.
    """

    def __init__(self, field: str, value: object, allowed: str, feature: "pb.Feature.ValueType") -> None:
        super().__init__(field, value, allowed)
        self.feature = feature


class AssetMissing(RenderServerError):  # noqa: N818
    """Content that the task names was not handed to the engine.

    Args:
        hashes: content hashes, lower-case hexadecimal SHA-256.
    """

    def __init__(self, hashes: Sequence[str]) -> None:
        super().__init__(f"assets {', '.join(hashes)} are missing; send them before the task")
        self.hashes = tuple(hashes)


class RenderFailed(RenderServerError):  # noqa: N818
    """The renderer did not return an image of a valid task."""


class DeviceMemoryFull(RenderFailed):
    """The task needs more memory than the device has."""


class DeviceLost(RenderServerError):  # noqa: N818
    """The device, or the connection to it, has failed. Nothing renders in this process any more."""


class EngineUnavailable(RenderServerError):  # noqa: N818
    """The engine is unknown, or this machine cannot run it."""
