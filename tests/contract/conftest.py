"""The engines under contract."""

import os
from pathlib import Path

import pytest
from support.scenes import Assets

from render_server.engines import Engine, create_engine

BLENDER = pytest.param("blender", marks=pytest.mark.blender)
_ENGINES: dict[str, Engine] = {}


def engine_of(name: str) -> Engine:
    """The process's one engine of that name; skips where it is not installed."""
    if name == "blender":
        pytest.importorskip("bpy", reason="bpy is not installed")
    if name not in _ENGINES:
        device = os.environ.get("METASIM_TEST_DEVICE", "cpu") if name == "blender" else "cpu"
        _ENGINES[name] = create_engine(name, device=device)
    return _ENGINES[name]


@pytest.fixture(params=["raster", BLENDER])
def engine(request: pytest.FixtureRequest) -> Engine:
    """Each engine that draws textures."""
    return engine_of(request.param)


@pytest.fixture(params=["fake", "raster", BLENDER])
def any_engine(request: pytest.FixtureRequest) -> Engine:
    """Each engine."""
    return engine_of(request.param)


@pytest.fixture
def raster() -> Engine:
    """The raster engine."""
    return engine_of("raster")


@pytest.fixture
def blender() -> Engine:
    """The Blender engine."""
    return engine_of("blender")


@pytest.fixture
def assets(tmp_path: Path) -> Assets:
    """An empty store of assets."""
    return Assets(tmp_path)
