"""compose.yaml for real: it builds, trains, grows, shrinks and loses workers, and the numbers stay the same."""

import filecmp
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.compose import ROOT, Stack, compose_command, seconds_from_ready_to_work, wait_for

pytestmark = [pytest.mark.compose, pytest.mark.timeout(1800)]

#: Nobody in particular, so that it shows whom the runs belong to.
OWNER = 12345
#: A short training: some 30 s with one worker.
EPOCHS = 28
OPTIONS = (
    f"training.epochs={EPOCHS} training.steps=8 training.batch=32 training.pretraining_steps=20 "
    "training.start=prior training.features=random training.target_images=64 training.monitor_scenes=32"
)
PATIENCE_S = 240.0


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    if compose_command() is None:
        pytest.skip("neither `docker compose` nor `docker-compose` is installed")
    made = Stack(tmp_path_factory.mktemp("compose"), OWNER)
    for parent in made.folder.parents[:2]:  # pytest's own folders are closed to others.
        parent.chmod(0o755)
    try:
        made.compose("build", folder=ROOT)
        yield made
    finally:
        made.close()


def train(stack: Stack, run: str) -> None:
    variables = {"METASIM_RUN": run, "METASIM_TRAIN_OPTIONS": OPTIONS}
    stack.compose("up", "--detach", "--no-build", **variables)


def finish(stack: Stack) -> str:
    """Waits for the trainer's end; what it has said."""
    trainer = stack.trainer()
    outcome = trainer.wait(timeout=PATIENCE_S)
    said = trainer.logs().decode()
    assert outcome["StatusCode"] == 0, said
    return said


@pytest.fixture(scope="module")
def undisturbed(stack: Stack) -> Path:
    """The run folder of a training with one worker."""
    train(stack, "undisturbed")
    said = finish(stack)
    assert "render worker" not in said.partition("match the distributions")[2].partition("write the report")[0]
    return stack.folder / "runs" / "undisturbed"


def test_one_command_trains_and_leaves_the_run_to_its_user(stack: Stack, undisturbed: Path) -> None:
    assert (undisturbed / "report.html").is_file()
    assert len(stack.metrics("undisturbed")) == EPOCHS
    for path in (undisturbed.parent, undisturbed, *undisturbed.rglob("*")):
        assert (path.stat().st_uid, path.stat().st_gid) == (OWNER, OWNER), path


def test_containers_may_do_no_more_than_they_must(stack: Stack, undisturbed: Path) -> None:  # noqa: ARG001
    worker, trainer = stack.workers()[0].attrs, stack.trainer().attrs
    for container in (worker, trainer):
        host = container["HostConfig"]
        assert host["ReadonlyRootfs"] is True
        assert host["Init"] is True
        assert host["CapDrop"] == ["ALL"]
        assert host["SecurityOpt"] == ["no-new-privileges:true"]
        assert not host["PortBindings"]
    assert worker["HostConfig"]["CapAdd"] is None
    assert worker["Config"]["User"] == "10001"
    assert worker["Config"]["StopTimeout"] == 90
    assert worker["HostConfig"]["Memory"] == 4 << 30
    assert worker["State"]["Health"]["Status"] == "healthy"
    assert sorted(trainer["HostConfig"]["CapAdd"]) == ["CHOWN", "SETGID", "SETUID"]


def test_workers_that_come_and_go_do_not_change_the_numbers(stack: Stack, undisturbed: Path) -> None:
    epochs = 0

    def another_epoch(more: int = 1) -> None:
        nonlocal epochs
        epochs = len(stack.metrics("disturbed")) + more
        wait_for(f"epoch {epochs}", lambda: len(stack.metrics("disturbed")) >= epochs, PATIENCE_S)

    variables = {"METASIM_RUN": "disturbed", "METASIM_TRAIN_OPTIONS": OPTIONS}
    train(stack, "disturbed")
    another_epoch()

    stack.compose("up", "--detach", "--no-build", "--no-recreate", "--scale", "render=4", **variables)
    workers = stack.workers()
    assert len(workers) == 4
    waits_s: list[float] = []
    looking = [
        threading.Thread(target=lambda worker=worker: waits_s.append(seconds_from_ready_to_work(worker)))
        for worker in workers[1:]
    ]
    for thread in looking:
        thread.start()
    for thread in looking:
        thread.join()
    assert len(waits_s) == 3
    assert max(waits_s) < 5
    another_epoch()
    said = stack.trainer().logs().decode()
    assert "fails" not in said
    assert "no render worker is left" not in said

    workers[0].kill()
    another_epoch(2)
    workers[1].pause()
    another_epoch(2)
    render = next(iter(workers[2].attrs["NetworkSettings"]["Networks"]))
    stack.engine.networks.get(render).disconnect(workers[2])
    another_epoch(2)
    workers[1].unpause()
    another_epoch()
    assert len(stack.metrics("disturbed")) < EPOCHS - 1  # So all of that happens while it trains.
    stack.compose("up", "--detach", "--no-build", "--no-recreate", "--scale", "render=2", **variables)
    finish(stack)
    assert sum(worker.status == "running" for worker in stack.workers()) == 2

    assert stack.metrics("disturbed") == stack.metrics("undisturbed")
    weights = sorted((undisturbed / "checkpoint").glob("*.safetensors"))
    assert weights
    for path in weights:
        assert filecmp.cmp(path, stack.folder / "runs" / "disturbed" / "checkpoint" / path.name, shallow=False)


def test_a_worker_whose_shared_memory_is_full_does_not_change_the_numbers(stack: Stack, undisturbed: Path) -> None:  # noqa: ARG001
    def another(epochs: int) -> None:
        wanted = len(stack.metrics("crowded")) + epochs
        wait_for(f"epoch {wanted}", lambda: len(stack.metrics("crowded")) >= wanted, PATIENCE_S)

    variables = {"METASIM_RUN": "crowded", "METASIM_TRAIN_OPTIONS": OPTIONS}
    train(stack, "crowded")
    another(1)
    stack.compose("up", "--detach", "--no-build", "--no-recreate", "--scale", "render=2", **variables)
    worker = stack.workers()[0]
    status, said = worker.exec_run(["sh", "-c", "cat /dev/zero > /dev/shm/ballast"])
    assert status != 0
    assert b"No space left" in said
    another(2)
    status, said = worker.exec_run(["rm", "/dev/shm/ballast"])
    assert status == 0, said
    another(1)
    assert len(stack.metrics("crowded")) < EPOCHS - 1  # So all of that happens while it trains.
    finish(stack)
    assert stack.metrics("crowded") == stack.metrics("undisturbed")


def test_the_command_line_looks_after_workers(stack: Stack, undisturbed: Path) -> None:  # noqa: ARG001
    def metasim(*arguments: str) -> dict[str, object]:
        command = [Path(sys.executable).with_name("metasim"), "pool", *arguments, "--project", stack.project, "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        answer: dict[str, object] = json.loads(done.stdout)
        return answer

    stack.compose("up", "--detach", "--no-build", "--no-recreate", "--scale", "render=1", "render")
    assert metasim("scale", "2") == {"project": stack.project, "before": 1, "after": 2}
    assert len(stack.compose("ps", "--quiet", "render").split()) == 2  # Compose counts them as its own.
    wait_for(
        "health",
        lambda: all(worker.attrs["State"]["Health"]["Status"] == "healthy" for worker in stack.workers()),
        PATIENCE_S,
    )
    workers = metasim("status", "--watch", "0.1")["workers"]
    assert isinstance(workers, list)
    assert [(worker["engine"], worker["processes"], worker["problem"]) for worker in workers] == [
        ("blender", 1, "")
    ] * 2
    assert metasim("scale", "1") == {"project": stack.project, "before": 2, "after": 1}
    assert len(stack.workers()) == 1
