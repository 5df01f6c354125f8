"""The options of a render pool: who renders, and the timeouts and limits of its client."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from trainer.pool.security import Security

#: The renderer that starts its own workers.
LOCAL = "local"


@dataclass(frozen=True)
class PoolSettings:
    """Timeouts and limits of a render pool's client."""

    #: How long to try to reach a first worker.
    connect_timeout_s: float = 30.0
    #: How long to wait for a worker to come back when all have gone.
    patience_s: float = 300.0
    #: How often names are resolved again, so that workers that were added get work.
    resolve_every_s: float = 3.0
    #: On how many workers a task may fail before it is given up and kept as a file.
    max_attempts: int = 3
    #: How often a task may go down with the connection to its worker, which mostly is not the task's fault.
    max_losses: int = 10
    #: How long a worker may keep a task before its connection is given up; a task's own timeout comes on top.
    answer_timeout_s: float = 900.0
    #: How long a worker may be silent, even to pings, before its connection is given up. At least 8.
    silence_s: float = 15.0
    #: How many different tasks in a row a worker may fail before the others take its work.
    max_worker_failures: int = 3
    #: How long it then is left alone before it is tried with one task; doubled each time that it fails again.
    set_aside_s: float = 30.0
    #: Whether tasks of slow workers are sent once more, to others that have nothing else to do.
    hedge: bool = True
    #: Where tasks are kept that were given up; default: the folder `failed` of the cache.
    failed_tasks: Path | None = None
    #: Certificates and token; default: what the environment says.
    security: Security | None = None
    #: Largest message, either way. gRPC's own default of 4 MiB is too small for large images.
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
    #: Timeouts and limits.
    settings: PoolSettings = field(default_factory=PoolSettings)

    @property
    def local(self) -> bool:
        """Return whether the pool starts its own workers."""
        return self.renderer == LOCAL

    def with_default_engine(self, engine: str) -> "PoolOptions":
        """Return the same options with an engine where none is chosen."""
        return self if self.engine is not None else replace(self, engine=engine)
