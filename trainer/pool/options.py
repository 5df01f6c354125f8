"""The options of a render pool: who renders, and the timeouts and limits of its client."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from metasim.v1 import render_pb2 as pb

from trainer.pool.security import Security

#: The renderer that starts its own workers.
LOCAL = "local"


@dataclass(frozen=True)
class PoolSettings:
    """Timeouts and limits of a render pool's client."""

    #: How long to try to reach a first worker.
    connect_timeout_s: float = 30.0
    #: How long to wait for a worker when none is left.
    patience_s: float = 300.0
    #: Time between two resolutions of names, so that added workers get tasks.
    resolve_every_s: float = 3.0
    #: Failures after which a task is given up and kept as a file.
    max_attempts: int = 3
    #: Lost connections after which a task is given up. Most losses are not the task's fault.
    max_losses: int = 10
    #: How long a worker may keep a task before its connection is dropped, on top of the task's own timeout.
    answer_timeout_s: float = 900.0
    #: How long a worker may answer neither messages nor pings before its connection is dropped. At least 8.
    silence_s: float = 15.0
    #: Number of different tasks that fail in a row before a worker's circuit opens and it gets no tasks.
    max_worker_failures: int = 3
    #: How long a circuit stays open before the worker is tried with one task; doubled each time that it fails again.
    circuit_open_s: float = 30.0
    #: Whether idle workers get copies of the tasks of slow ones.
    hedge: bool = True
    #: Folder of the tasks that were given up; default: the folder `failed` of the cache.
    failed_tasks: Path | None = None
    #: Certificates and token; default: those of the environment.
    security: Security | None = None
    #: Whether workers may render with different engines, versions or kinds of devices.
    mixed_devices: bool = False
    #: Formats in which workers must be able to encode images; workers that are too old for it get no tasks.
    image_formats: frozenset["pb.ImageFormat.ValueType"] = frozenset()
    #: Largest message in either direction. gRPC's default of 4 MiB is too small for large images.
    message_bytes: int = 256 << 20


@dataclass(frozen=True)
class PoolOptions:
    """Which workers render, and the settings of the client."""

    #: "local" starts workers on this machine, which end with the pool. Else an endpoint, as `RenderPool` takes it.
    renderer: str = LOCAL
    #: Engine of local workers: "blender", "raster" or "fake". None: that of the experiment or of the run.
    engine: str | None = None
    #: Processes of local workers. None: one per CPU that this process may use.
    workers: int | None = None
    #: Kind of device of local workers: "cpu", "auto" or a kind of GPU.
    render_device: str = "cpu"
    #: Timeouts and limits.
    settings: PoolSettings = field(default_factory=PoolSettings)

    @property
    def local(self) -> bool:
        """Return whether the pool starts its own workers."""
        return self.renderer == LOCAL

    def with_default_engine(self, engine: str) -> "PoolOptions":
        """Return the same options with an engine where none is chosen."""
        return self if self.engine is not None else replace(self, engine=engine)
