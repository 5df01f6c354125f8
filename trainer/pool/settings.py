"""How patient a pool is."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PoolSettings:
    """Times and counts of a render pool's client."""

    #: How long to try to reach a first worker.
    connect_timeout_s: float = 30.0
    #: How long to wait for a worker to come back when all have gone.
    patience_s: float = 120.0
    #: How often names are resolved again, so that workers that were added get work.
    resolve_every_s: float = 3.0
    #: How often a task is tried on workers that fail or vanish.
    max_attempts: int = 3
    #: How long a worker may keep a task before its connection is given up.
    answer_timeout_s: float = 900.0
    #: Largest message, either way. gRPC's own default of 4 MiB is too small for large images.
    message_bytes: int = 256 << 20
