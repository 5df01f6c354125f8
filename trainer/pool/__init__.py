"""The client of render workers: tasks in, results in the same order out, however many workers there are."""

from trainer.pool.assets import AssetSource, AssetStore
from trainer.pool.client import PoolStats, RenderPool
from trainer.pool.opening import open_pool
from trainer.pool.settings import PoolSettings

__all__ = ["AssetSource", "AssetStore", "PoolSettings", "PoolStats", "RenderPool", "open_pool"]
