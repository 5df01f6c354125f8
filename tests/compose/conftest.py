"""Tests that need a Docker engine run only on request: `make test-compose`."""

import docker
import pytest
from support.compose import compose_command


def pytest_configure(config: pytest.Config) -> None:
    """Stop with one line where the tests are requested and there is no engine."""
    if "compose" not in config.option.markexpr:
        return
    if compose_command() is None:
        raise pytest.UsageError("test-compose needs Docker Compose: install `docker compose` or `docker-compose`")
    try:
        docker.from_env().ping()
    except docker.errors.DockerException:
        raise pytest.UsageError("test-compose needs a Docker engine: start one, or set DOCKER_HOST") from None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip the tests where they are not requested."""
    if "compose" not in config.option.markexpr:
        for item in items:
            if item.get_closest_marker("compose"):
                item.add_marker(pytest.mark.skip(reason="needs a Docker engine: make test-compose"))
