"""What takes minutes runs only where it is asked for: `make test-tutorial`."""

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skips it elsewhere."""
    if "tutorial" not in config.option.markexpr:
        for item in items:
            if item.get_closest_marker("tutorial"):
                item.add_marker(pytest.mark.skip(reason="trains for minutes: make test-tutorial"))
