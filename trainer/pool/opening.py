"""Opens a pool as its options say."""

from dataclasses import replace

from trainer.pool.assets import AssetSource
from trainer.pool.client import RenderPool
from trainer.pool.local import LocalWorkers
from trainer.pool.options import PoolOptions
from trainer.pool.security import Security


def open_pool(options: PoolOptions, *, assets: AssetSource) -> RenderPool:
    """Open a pool on the workers behind an endpoint, or on local workers that end with the pool.

    Args:
        options: which workers; local ones render with Blender if no engine is chosen.
        assets: returns the bytes of an asset.

    Raises:
        InputError: the endpoint is malformed or out of reach, or the engine cannot run here.
    """
    if not options.local:
        return RenderPool(options.renderer, assets=assets, settings=options.settings)
    local = LocalWorkers(engine=options.engine or "blender", workers=options.workers, device=options.render_device)
    # Local workers listen on the loopback interface only, so they need neither certificates nor a token.
    settings = replace(options.settings, security=Security())
    try:
        return RenderPool(
            local.address, assets=assets, settings=settings, on_close=local.close, gone=local.what_ended_it
        )
    except BaseException:
        local.close()
        raise
