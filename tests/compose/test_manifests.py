"""What can be said about compose.yaml and the manifests without an engine or a cluster."""

import importlib.util
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from render_server.cli import app

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
KUBERNETES: list[dict[str, Any]] = list(yaml.safe_load_all((ROOT / "docker/kubernetes.yaml").read_text()))


def kind(name: str) -> dict[str, Any]:
    (found,) = (document for document in KUBERNETES if document["kind"] == name)
    return found


def workers_container() -> dict[str, Any]:
    container: dict[str, Any] = kind("Deployment")["spec"]["template"]["spec"]["containers"][0]
    return container


@pytest.mark.parametrize("command", [COMPOSE["services"]["render"]["command"], workers_container()["args"]])
def test_workers_are_started_with_options_that_exist(command: list[str]) -> None:
    subcommand, *options = command
    known = get_command(app).commands[subcommand]  # type: ignore[attr-defined]
    names = {name for parameter in known.params for name in parameter.opts}
    assert {option.partition("=")[0] for option in options} <= names
    assert "--insecure" in options


def test_workers_can_be_scaled() -> None:
    render = COMPOSE["services"]["render"]
    assert {"container_name", "ports"} & render.keys() == set()
    assert render["deploy"]["endpoint_mode"] == "dnsrr"
    assert COMPOSE["networks"]["render"]["internal"] is True
    assert kind("Service")["spec"]["clusterIP"] == "None"
    assert "replicas" not in kind("Deployment")["spec"]


def test_the_images_are_of_this_version() -> None:
    for name in ("render", "trainer"):
        assert COMPOSE["services"][name]["image"].endswith(f":-metasim-{name}:{version('metasim')}}}")
    assert workers_container()["image"] == f"metasim-render:{version('metasim')}"


def test_the_package_docker_is_not_hidden_by_the_folder() -> None:
    assert not (ROOT / "docker" / "__init__.py").exists()


def test_requirements_of_an_image_are_those_of_its_half() -> None:
    path = ROOT / "docker" / "requirements.py"
    spec = importlib.util.spec_from_file_location("requirements", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    document = (ROOT / "pyproject.toml").read_text()
    project = tomllib.loads(document)["project"]
    render = module.requirements(document, ["render"])
    assert render == project["dependencies"] + project["optional-dependencies"]["render"]
    assert not any(line.startswith("torch") for line in render)
    assert not any(line.startswith("bpy") for line in module.requirements(document, ["trainer"]))
