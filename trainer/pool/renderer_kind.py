"""What the results of a pool depend on beside its tasks: engine, version and kind of device.

Workers that share these return the same bytes for a task. A pool of several kinds would make a run's numbers depend on
which worker was free, so it is refused unless the user accepts that.
"""

import logging
from dataclasses import dataclass

from metasim.v1 import render_pb2 as pb

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RendererKind:
    """The kind of a worker. Workers of one kind return the same bytes for a task."""

    engine: str
    engine_version: str
    #: "cpu", "cuda", "optix", "hip", "oneapi" or "metal".
    device: str

    def __str__(self) -> str:
        return f"{self.engine} {self.engine_version} on {self.device.upper()}"


class KindCheck:
    """Admits the workers whose kind is that of the first.

    Args:
        mixed: admit all kinds.

    Attributes:
        names: names of the devices of each kind that was admitted.
    """

    def __init__(self, *, mixed: bool = False) -> None:
        self.names: dict[RendererKind, set[str]] = {}
        self._mixed = mixed

    def admit(self, description: pb.DescribeResponse) -> str:
        """Return why a worker gets no tasks; empty if it gets some."""
        kind = RendererKind(description.engine, description.engine_version, description.device)
        if self.names and kind not in self.names:
            first = next(iter(self.names))
            if not self._mixed:
                return (
                    f"it renders with {kind}, and other workers with {first}; images differ slightly between kinds: "
                    "start all workers alike, or accept the differences with --mixed-devices"
                )
            _log.warning("the pool is mixed: %s beside %s; results depend on which worker renders", kind, first)
        self.names.setdefault(kind, set()).update({description.device_name} - {""})
        return ""

    @property
    def label(self) -> str:
        """Return the kinds and the names of their devices, e.g. "blender 4.5.15 on OPTIX (NVIDIA H200)"."""
        parts = (f"{kind} ({', '.join(sorted(names))})" if names else str(kind) for kind, names in self.names.items())
        return "; ".join(parts)
