"""What can be said about compose.yaml and the manifests without an engine or a cluster."""

import importlib.util
import re
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.core import TyperGroup
from typer.main import get_command

from render_server.cli import app
from trainer.cli import app as trainer_app

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
KUBERNETES: list[dict[str, Any]] = list(yaml.safe_load_all((ROOT / "docker/kubernetes.yaml").read_text()))


def kind(name: str) -> dict[str, Any]:
    (found,) = (document for document in KUBERNETES if document["kind"] == name)
    return found


KUSTOMIZATION: dict[str, Any] = yaml.safe_load((ROOT / "docker/kustomization.yaml").read_text())
GPU_PATCHES: list[dict[str, Any]] = [
    yaml.safe_load((ROOT / "docker" / patch["path"]).read_text()) for patch in KUSTOMIZATION["patches"]
]


def patched_container(name: str = "Deployment") -> dict[str, Any]:
    (patch,) = (patch for patch in GPU_PATCHES if patch["kind"] == name)
    container: dict[str, Any] = patch["spec"]["template"]["spec"]["containers"][0]
    return container


def workers_container() -> dict[str, Any]:
    container: dict[str, Any] = kind("Deployment")["spec"]["template"]["spec"]["containers"][0]
    return container


@pytest.mark.parametrize(
    "command", [COMPOSE["services"]["render"]["command"], workers_container()["args"], patched_container()["args"]]
)
def test_workers_are_started_with_options_that_exist(command: list[str]) -> None:
    subcommand, *options = command
    known = get_command(app).commands[subcommand]  # type: ignore[attr-defined]
    names = {name for parameter in known.params for name in parameter.opts}
    assert {option.partition("=")[0] for option in options} <= names
    assert "--insecure" in options


def test_workers_and_trainer_on_kubernetes_get_a_gpu_each() -> None:
    assert KUSTOMIZATION["resources"] == ["kubernetes.yaml"]
    assert {patch["kind"] for patch in GPU_PATCHES} == {"Deployment", "Job"}
    for patch in GPU_PATCHES:
        patched = kind(patch["kind"])  # A patch changes what there is, and names it as it is named.
        assert patch["apiVersion"] == patched["apiVersion"]
        assert patch["metadata"] == {key: patched["metadata"][key] for key in ("name", "namespace")}
        container = patched_container(patch["kind"])
        assert container["name"] == patched["spec"]["template"]["spec"]["containers"][0]["name"]
        assert container["resources"]["limits"] == {"nvidia.com/gpu": 1}
    assert "--device=auto" in patched_container()["args"]


def test_the_trainer_gets_one_gpu_and_the_workers_the_others() -> None:
    gpu = yaml.safe_load((ROOT / "docker/compose.gpu.yaml").read_text())["services"]
    (trainers,) = gpu["trainer"]["deploy"]["resources"]["reservations"]["devices"]
    assert trainers["device_ids"] == ["${METASIM_TRAINER_GPU:-0}"]
    (workers,) = gpu["render"]["deploy"]["resources"]["reservations"]["devices"]
    assert workers["count"] == "all"
    assert gpu["render"]["environment"]["METASIM_RENDER_RESERVED_GPU"] == "${METASIM_TRAINER_GPU:-0}"
    variables = {parameter.envvar for parameter in get_command(app).commands["serve"].params}  # type: ignore[attr-defined]
    ours = {name for name in gpu["render"]["environment"] if name.startswith("METASIM_")}
    assert ours <= variables


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


def test_the_trainers_image_has_extras_that_exist() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    dockerfile = (ROOT / "docker/trainer.Dockerfile").read_text()
    default = re.search(r'^ARG EXTRAS="(.*)"$', dockerfile, re.MULTILINE)
    assert default is not None
    argument = COMPOSE["services"]["trainer"]["build"]["args"]["EXTRAS"]
    assert argument == f"${{METASIM_TRAINER_EXTRAS:-{default[1]}}}"
    job = (ROOT / "docker/generate-job.yaml").read_text()
    for stated in (default[1], *re.findall(r'EXTRAS="(.*?)"', dockerfile + job)):
        assert set(stated.split()) <= extras.keys()
        assert "trainer" in stated.split()


def test_parts_of_datasets_are_made_with_options_that_exist() -> None:
    [job] = yaml.safe_load_all((ROOT / "docker/generate-job.yaml").read_text())
    container = job["spec"]["template"]["spec"]["containers"][0]
    options = _options_of("generate")
    given = [word.split("=")[0] for word in container["args"] if word.startswith("--")]
    assert set(given) <= options
    assert f"--shard=$(JOB_COMPLETION_INDEX)/{job['spec']['completions']}" in container["args"]
    trainer = kind("Job")["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == trainer["image"]
    script = (ROOT / "docker/generate.slurm").read_text()
    command = script[script.index("exec metasim generate") :]
    assert {word for word in command.split() if word.startswith("--")} <= options
    last = re.search(r"--array=0-(\d+)", script)
    assert last is not None
    assert f"parts={int(last[1]) + 1} " in script


def _options_of(name: str) -> set[str]:
    group = get_command(trainer_app)
    assert isinstance(group, TyperGroup)
    return {option for parameter in group.commands[name].params for option in parameter.opts}
