"""Worlds and pools for tests of the renderer."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.grammars import write_sprites
from support.worlds import BLOBS, CUBES

from trainer.grammar import Grammar, load_grammar
from trainer.pool import PoolOptions, RenderPool, open_pool
from trainer.rendering import Renderer


@pytest.fixture(scope="session")
def blobs(tmp_path_factory: pytest.TempPathFactory) -> Grammar:
    """Two sprites that move, turn and grow."""
    return load_grammar(write_sprites(tmp_path_factory.mktemp("blobs"), BLOBS))


@pytest.fixture(scope="session")
def cubes(tmp_path_factory: pytest.TempPathFactory) -> Grammar:
    """Two cubes on the ground in the sun."""
    path: Path = tmp_path_factory.mktemp("cubes") / "cubes.yaml"
    path.write_text(CUBES)
    return load_grammar(path)


@pytest.fixture(scope="session")
def fake_pool(blobs: Grammar) -> Iterator[RenderPool]:
    with open_pool(PoolOptions(engine="fake", workers=1), assets=blobs.assets) as pool:
        yield pool


@pytest.fixture(scope="session")
def fake(fake_pool: RenderPool, blobs: Grammar) -> Renderer:
    """Draws `blobs` in closed form."""
    return Renderer(fake_pool, blobs)


@pytest.fixture(scope="session")
def fake_cubes(fake_pool: RenderPool, cubes: Grammar) -> Renderer:
    """Draws `cubes` in closed form."""
    return Renderer(fake_pool, cubes)


@pytest.fixture(scope="session")
def raster(blobs: Grammar) -> Iterator[Renderer]:
    """Draws `blobs` as sprites."""
    with open_pool(PoolOptions(engine="raster", workers=1), assets=blobs.assets) as pool:
        yield Renderer(pool, blobs)


@pytest.fixture(scope="session")
def blender(cubes: Grammar) -> Iterator[Renderer]:
    """Renders `cubes`."""
    pytest.importorskip("bpy")
    with open_pool(PoolOptions(engine="blender", workers=1), assets=cubes.assets) as pool:
        yield Renderer(pool, cubes)
