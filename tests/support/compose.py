"""compose.yaml on a real Docker engine, in a folder of its own."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import docker
import grpc
from docker.models.containers import Container
from grpc_health.v1 import health_pb2, health_pb2_grpc
from metasim.v1 import render_pb2 as pb

ROOT = Path(__file__).parents[2]
IMAGES = {"METASIM_RENDER_IMAGE": "metasim-render:test", "METASIM_TRAINER_IMAGE": "metasim-trainer:test"}

#: What a record of metrics.jsonl says about the machine instead of the run.
_OF_THE_MACHINE = {"seconds", "renders_per_s", "waiting_share", "workers"}


def compose_command() -> list[str] | None:
    """Compose 2, else Compose 1, else None."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]) and not subprocess.run([*command, "version"], capture_output=True).returncode:
            return command
    return None


class Stack:
    """A Compose project.

    Args:
        folder: gets a copy of compose.yaml, and the runs.
        owner: user and group id that the folder belongs to.
    """

    def __init__(self, folder: Path, owner: int) -> None:
        self.folder = folder
        self.project = f"metasim-test-{os.getpid()}"
        self.engine = docker.from_env()
        shutil.copy(ROOT / "compose.yaml", folder)
        for path in (folder, folder / "compose.yaml"):
            os.chown(path, owner, owner)
        folder.chmod(0o755)

    def compose(self, *arguments: str, folder: Path | None = None, **variables: str) -> str:
        """Runs Compose and returns its standard output."""
        command = [*(compose_command() or []), "--project-name", self.project, *arguments]
        # Compose 1 gives up a build that is silent for a minute, as pip is on a slow machine.
        environment = {"COMPOSE_HTTP_TIMEOUT": "1200", **os.environ, **IMAGES, **variables}
        done = subprocess.run(
            command, cwd=folder or self.folder, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
        return done.stdout

    def workers(self) -> list[Container]:
        """The render workers, running or not, the first one first."""
        return self._of("render")

    def trainer(self) -> Container:
        """The trainer."""
        (trainer,) = self._of("trainer")
        return trainer

    def _of(self, service: str) -> list[Container]:
        labels = [f"com.docker.compose.project={self.project}", f"com.docker.compose.service={service}"]
        found = self.engine.containers.list(all=True, filters={"label": labels})
        return sorted(found, key=lambda container: int(container.labels["com.docker.compose.container-number"]))

    def metrics(self, run: str) -> list[dict[str, Any]]:
        """What metrics.jsonl says about a run so far, without what depends on the machine."""
        path = self.folder / "runs" / run / "metrics.jsonl"
        lines = path.read_text().splitlines() if path.is_file() else []
        return [{key: value for key, value in json.loads(line).items() if key not in _OF_THE_MACHINE} for line in lines]

    def close(self) -> None:
        """Removes everything but the images."""
        for container in self.workers():
            if container.status == "paused":
                container.unpause()
        self.compose("down", "--volumes", "--timeout", "5")
        self.engine.close()


def wait_for(what: str, reached: Callable[[], bool], timeout_s: float) -> None:
    """Returns when `reached` does, and fails with what the trainer has not done in time."""
    deadline_s = time.monotonic() + timeout_s
    while not reached():
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"{what}: not within {timeout_s:g} s")
        time.sleep(0.1)


def seconds_from_ready_to_work(container: Container, timeout_s: float = 60.0) -> float:
    """How long a worker that takes tasks waits for its first result, seen every 50 ms from outside."""
    ready_s: float | None = None
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        container.reload()
        address = next(iter(container.attrs["NetworkSettings"]["Networks"].values()))["IPAddress"]
        with grpc.insecure_channel(f"{address}:50051") as channel:
            describe = channel.unary_unary(
                "/metasim.v1.Renderer/Describe",
                pb.DescribeRequest.SerializeToString,
                response_deserializer=pb.DescribeResponse.FromString,
            )
            try:
                if ready_s is None:
                    check = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=1)
                    if check.status == health_pb2.HealthCheckResponse.SERVING:
                        ready_s = time.monotonic()
                elif describe(pb.DescribeRequest(), timeout=1).tasks_done:
                    return time.monotonic() - ready_s
            except grpc.RpcError:
                pass
        time.sleep(0.05)
    raise TimeoutError(f"{container.name} has rendered nothing within {timeout_s:g} s (ready: {ready_s is not None})")
