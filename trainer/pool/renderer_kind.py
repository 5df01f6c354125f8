"""What the results of a pool depend on beside its tasks: engine, version and kind of device.

Workers that share these return the same bytes for a task. A pool of several kinds would make a run's numbers depend on
which worker was free, so it is refused unless the user accepts that.
"""

import logging
from collections.abc import Collection
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
    #: Libraries that encode image files; empty where none are asked for.
    encoder: str = ""

    def __str__(self) -> str:
        encoder = f", {self.encoder}" if self.encoder else ""
        return f"{self.engine} {self.engine_version} on {self.device.upper()}{encoder}"


def image_format_name(value: "pb.ImageFormat.ValueType") -> str:
    """Return the name of a format of image files, such as "png"; its number if it is unknown."""
    known = value in pb.ImageFormat.values()
    return pb.ImageFormat.Name(value).removeprefix("IMAGE_FORMAT_").lower() if known else str(value)


class KindCheck:
    """Admits the workers whose kind is that of the first.

    Args:
        mixed: admit all kinds.
        image_formats: formats in which workers must be able to encode images.

    Attributes:
        names: names of the devices of each kind that was admitted.
    """

    def __init__(
        self, *, mixed: bool = False, image_formats: Collection["pb.ImageFormat.ValueType"] = frozenset()
    ) -> None:
        self.names: dict[RendererKind, set[str]] = {}
        self._mixed, self._image_formats = mixed, image_formats

    def admit(self, description: pb.DescribeResponse) -> str:
        """Return why a worker gets no tasks; empty if it gets some."""
        missing = sorted(set(self._image_formats) - set(description.image_formats))
        if missing:
            name, version = image_format_name(missing[0]), description.version or "unknown"
            return (
                f"it does not encode images as {name.upper()} (version {version} of the worker); start a newer worker"
            )
        encoder = description.image_encoder if self._image_formats else ""
        kind = RendererKind(description.engine, description.engine_version, description.device, encoder)
        if self.names and kind not in self.names:
            first = next(iter(self.names))
            if not self._mixed:
                return (
                    f"it renders with {kind}, and other workers with {first}; images may differ between kinds: "
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
