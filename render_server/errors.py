"""What can go wrong on a render worker.

RenderServerError
├── InvalidTask          the task is malformed, or this engine cannot draw it: it fails on every such worker
├── AssetMissing         the task names content that was not handed over
├── RenderFailed         the renderer broke down: the task may succeed on another worker
└── EngineUnavailable    this machine lacks what the engine needs
"""

from collections.abc import Sequence


class RenderServerError(Exception):
    """Root of everything that a render worker raises on purpose. `str()` is one line, fit for the client."""


class InvalidTask(RenderServerError):  # noqa: N818
    """A field of the task is wrong.

    Args:
        field: path in the task, e.g. `scene.nodes[3].transform.x_m`.
        value: what stands there.
        allowed: what would be right and, where it helps, the next step; e.g. `it must be finite`.
    """

    def __init__(self, field: str, value: object, allowed: str) -> None:
        super().__init__(f"{field} is {value}; {allowed}")
        self.field = field
        self.value = value
        self.allowed = allowed


class AssetMissing(RenderServerError):  # noqa: N818
    """Content that the task names was not handed to the engine.

    Args:
        hashes: content hashes, lower-case hexadecimal SHA-256.
    """

    def __init__(self, hashes: Sequence[str]) -> None:
        super().__init__(f"assets {', '.join(hashes)} are not at hand; send them before the task")
        self.hashes = tuple(hashes)


class RenderFailed(RenderServerError):  # noqa: N818
    """The renderer did not deliver an image of a valid task."""


class EngineUnavailable(RenderServerError):  # noqa: N818
    """The engine is unknown or this machine cannot run it."""
