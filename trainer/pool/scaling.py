"""Scales the render workers of a Docker Compose project or of a Docker Swarm service.

A new container is a copy of a running one, labels included, so Compose counts it as its own and removes it with the
others.
"""

import re
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import docker
from docker.errors import DockerException
from docker.models.containers import Container

from trainer.errors import InputError

#: Label of the containers and services of compose.yaml that render; its value is "render".
ROLE = "org.metasim.role"

_PROJECT = "com.docker.compose.project"
_NUMBER = "com.docker.compose.container-number"
_STACK = "com.docker.stack.namespace"
_START = "start them with `docker compose up --detach`"
_PORT = 50051


@dataclass(frozen=True)
class Scaled:
    """The result of scaling."""

    #: Compose project or Swarm stack.
    project: str
    before: int
    after: int


def scale(count: int, *, project: str | None = None) -> Scaled:
    """Start or stop render workers until there are `count`. Workers that stop finish the tasks they have begun.

    Args:
        count: wanted number of workers, at least 1.
        project: Compose project or Swarm stack; default: the only one.

    Raises:
        InputError: Docker does not answer or refuses, or there is no such project, or more than one.
    """
    try:
        with closing(docker.from_env()) as client:
            services = _services(client, project)
            if services:
                ((stack, service),) = services.items()
                return _scale_service(client, stack, service, count)
            return _scale_containers(client, _workers(client, project), count)
    except DockerException as error:
        raise _refusal(error) from error


def running_workers(project: str | None = None) -> list[str]:
    """Return the addresses of the render workers that run under Docker on this machine."""
    try:
        with closing(docker.from_env()) as client:
            networks = [
                container.attrs["NetworkSettings"]["Networks"]
                for container in client.containers.list(filters={"label": _labels(project)})
            ]
    except DockerException:
        return []
    found = [next((network["IPAddress"] for network in own.values() if network["IPAddress"]), "") for own in networks]
    return [f"{address}:{_PORT}" for address in sorted(found) if address]


def _labels(project: str | None) -> list[str]:
    return [f"{ROLE}=render", *([f"{_PROJECT}={project}"] if project else [])]


def _services(client: docker.DockerClient, project: str | None) -> Mapping[str, Any]:
    """Return the Swarm services that render, by stack; empty without a Swarm."""
    if client.info()["Swarm"].get("ControlAvailable") is not True:
        return {}
    services = {}
    for service in client.services.list(filters={"label": f"{ROLE}=render"}):
        stack = service.attrs["Spec"]["Labels"].get(_STACK, service.name)
        if project in (None, stack):
            services[stack] = service
    _one_of(services)
    return services


def _scale_service(client: docker.DockerClient, stack: str, service: Any, count: int) -> Scaled:
    specification = service.attrs["Spec"]
    replicated = specification["Mode"]["Replicated"]
    before, replicated["Replicas"] = int(replicated["Replicas"]), count
    # `Service.scale` would change more than the number of replicas, which replaces every worker.
    response = client.api.post(
        f"{client.api.base_url}/v{client.api.api_version}/services/{service.id}/update",
        params={"version": service.version},
        json=specification,
        timeout=client.api.timeout,
    )
    if not response.ok:
        raise DockerException(response.text)
    return Scaled(stack, before, count)


def _workers(client: docker.DockerClient, project: str | None) -> list[Container]:
    """Return the containers of one project, running or not, in the order of their numbers."""
    found = client.containers.list(all=True, filters={"label": _labels(project)})
    found = [container for container in found if _PROJECT in container.labels]
    if not found:
        where = f" in the Compose project {project!r}" if project else ""
        raise InputError(f"there is no render worker{where}: {_START}")
    _one_of({container.labels[_PROJECT]: None for container in found})
    return sorted(found, key=_number)


def _one_of(projects: Mapping[str, object]) -> None:
    if len(projects) > 1:
        raise InputError(
            f"render workers run in several projects ({', '.join(sorted(projects))}): choose one with --project"
        )


def _number(container: Container) -> int:
    return int(container.labels.get(_NUMBER, "0"))


def _scale_containers(client: docker.DockerClient, workers: list[Container], count: int) -> Scaled:
    running = [worker for worker in workers if worker.status == "running"]
    stopped = [worker for worker in workers if worker.status in {"exited", "created"}]
    before = len(running)
    model = (running or workers)[0]
    while len(running) < count and stopped:
        stopped[0].start()
        running.append(stopped.pop(0))
    highest = max(map(_number, workers))
    while len(running) < count:
        highest += 1
        running.append(_start_another(client, model, highest))
    surplus = running[count:]
    for worker in surplus:  # All are told first, since each may take a while to finish.
        worker.kill(signal="SIGTERM")
    for worker in surplus:
        worker.stop()  # Waits for the grace period of compose.yaml.
        worker.remove()
    return Scaled(model.labels[_PROJECT], before, count)


def _start_another(client: docker.DockerClient, model: Container, number: int) -> Container:
    attributes = client.api.inspect_container(str(model.id))
    own = str(model.id)[:12]
    config: dict[str, Any] = dict(attributes["Config"])
    config.pop("Hostname", None)
    config["Labels"] = {**config["Labels"], _NUMBER: str(number)}
    config["HostConfig"] = attributes["HostConfig"]
    config["NetworkingConfig"] = {
        "EndpointsConfig": {
            name: {"Aliases": [alias for alias in network["Aliases"] or () if alias not in (own, model.name)]}
            for name, network in attributes["NetworkSettings"]["Networks"].items()
        }
    }
    name = re.sub(r"\d+$", "", str(model.name)) + str(number)
    made = client.api.create_container_from_config(config, name)
    container = client.containers.get(made["Id"])
    container.start()
    return container


def _refusal(error: DockerException) -> InputError:
    reason = " ".join(str(getattr(error, "explanation", None) or error).split())
    return InputError(f"Docker cannot be used ({reason}); check that it runs and that DOCKER_HOST names it")
