"""Limits of a worker: how much it accepts."""

from dataclasses import dataclass

from metasim.v1 import render_pb2 as pb

from render_server.errors import InvalidTask


@dataclass(frozen=True)
class Limits:
    """Bounds that are checked before any work is done. All inclusive."""

    #: Nodes of a scene. Masks hold the index of a node in 16 bits.
    nodes: int = 10_000
    #: Pixels of an image, width times height.
    pixels: int = 4096 * 4096
    #: Samples per pixel.
    samples: int = 65_536
    #: Samples of all pixels of all renders of a task, as if each probe took the whole frame.
    total_samples: int = 10**12
    #: Bounces of light between surfaces.
    bounces: int = 64
    #: Columns of the Jacobian in one task.
    columns: int = 10_000
    #: Size of one asset.
    asset_bytes: int = 64 << 20
    #: Pixels of one texture once it is decoded.
    texture_pixels: int = 4096 * 4096
    #: Vertices of one mesh once it is loaded, and as many faces.
    vertices: int = 20_000_000
    #: Size of all assets that the worker keeps on its disk.
    cache_bytes: int = 1 << 30
    #: Size of one message on the wire, either way. gRPC's own default of 4 MiB is too small for large images.
    message_bytes: int = 256 << 20
    #: Unanswered tasks of all clients together.
    held_tasks: int = 1024
    #: Size of these tasks and of the answers that their clients have not taken yet.
    held_bytes: int = 1 << 30
    #: Clients that may be connected.
    streams: int = 64
    #: Longest time that one task may take in a process, in seconds. A process that takes longer is replaced.
    task_timeout_s: float = 300.0


class LimitExceeded(InvalidTask):
    """The task is well-formed, but more than this worker accepts; another worker may have higher limits."""


def limits_to_proto(limits: Limits) -> pb.WorkerLimits:
    """Return the limits as `Describe` states them."""
    return pb.WorkerLimits(**vars(limits))
