"""From the value of `--renderer` to a pool."""

from dataclasses import replace

from trainer.pool.assets import AssetSource
from trainer.pool.client import RenderPool
from trainer.pool.local import LocalWorkers
from trainer.pool.security import Security
from trainer.pool.settings import PoolSettings

#: The renderer that starts its own workers.
LOCAL = "local"


def open_pool(
    renderer: str,
    *,
    assets: AssetSource,
    engine: str = "blender",
    workers: int | None = None,
    settings: PoolSettings | None = None,
) -> RenderPool:
    """Opens a pool on the workers behind an endpoint, or on workers of this machine that live as long as the pool.

    Args:
        renderer: "local", or an endpoint as `RenderPool` takes it.
        assets: where the bytes of assets come from.
        engine: what local workers render with: "blender", "raster" or "fake". Ignored for an endpoint.
        workers: number of local processes; default: one per CPU that this process may use. Ignored for an endpoint.
        settings: patience and limits.

    Raises:
        InputError: the endpoint is malformed or out of reach, or the engine cannot run here.
    """
    if renderer != LOCAL:
        return RenderPool(renderer, assets=assets, settings=settings)
    local = LocalWorkers(engine=engine, workers=workers)
    # They listen on the loopback interface alone, whatever protects the connections to others.
    settings = replace(settings or PoolSettings(), security=Security())
    try:
        return RenderPool(
            local.address, assets=assets, settings=settings, on_close=local.close, gone=local.what_ended_it
        )
    except BaseException:
        local.close()
        raise
