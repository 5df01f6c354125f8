"""The client of render workers: tasks in, results in the same order out, however many workers there are."""

import os

# Read when gRPC is imported, which the modules below do: its C core reports connections that end as they should.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

from trainer.pool.assets import AssetSource, AssetStore
from trainer.pool.client import PoolStats, RenderPool
from trainer.pool.opening import open_pool
from trainer.pool.settings import PoolOptions, PoolSettings

__all__ = ["AssetSource", "AssetStore", "PoolOptions", "PoolSettings", "PoolStats", "RenderPool", "open_pool"]
