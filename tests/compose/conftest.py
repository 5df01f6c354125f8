"""Tests that need a Docker engine run only where they are asked for: `make test-compose`."""

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skips them elsewhere."""
    if "compose" not in config.option.markexpr:
        for item in items:
            if item.get_closest_marker("compose"):
                item.add_marker(pytest.mark.skip(reason="needs a Docker engine: make test-compose"))
