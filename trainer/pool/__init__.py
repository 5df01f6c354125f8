"""The client of render workers: renders tasks on any number of workers and returns the results in order."""

import os

# gRPC reads this when it is imported. Its C core would otherwise log every connection that ends normally.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

from trainer.pool.assets import AssetSource, AssetStore
from trainer.pool.client import PoolStats, RenderPool
from trainer.pool.opening import open_pool
from trainer.pool.options import PoolOptions, PoolSettings

__all__ = ["AssetSource", "AssetStore", "PoolOptions", "PoolSettings", "PoolStats", "RenderPool", "open_pool"]
