"""Workers whose engines cannot draw every task: each task goes to one that can, or fails with one clear line."""

import time
from collections.abc import Iterator

import grpc
import pytest
from metasim.v1 import render_pb2 as pb
from support.scripted import Script, rendered, scripted, slots
from support.tasks import ASSETS, sprite_task

from trainer.errors import TaskRefused
from trainer.pool import PoolSettings, RenderPool

Requests = Iterator[pb.RenderRequest]


def worker(seen: list[str], lacks: "pb.Feature.ValueType | None" = None) -> Script:
    """Return a worker that renders every task, or that cannot draw any because of a feature."""

    def script(requests: Requests, context: grpc.ServicerContext) -> Iterator[pb.RenderReply]:  # noqa: ARG001
        yield slots(4)
        for request in requests:
            if not request.HasField("task"):
                continue
            seen.append(request.task.id)
            if lacks is None:
                yield rendered(request.task.id)
            else:
                error = pb.TaskError(id=request.task.id, code=pb.CODE_UNIMPLEMENTED, message="no meshes here")
                error.missing_features.append(lacks)
                yield pb.RenderReply(error=error)

    return script


def pool_of(*addresses: str) -> RenderPool:
    pool = RenderPool(",".join(addresses), assets=ASSETS.__getitem__, settings=PoolSettings(connect_timeout_s=20))
    deadline_s = time.monotonic() + 60
    while pool.stats.workers_up < len(addresses):
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    return pool


def tasks(*ids: str) -> list[pb.RenderTask]:
    return [sprite_task(name, columns=False) for name in ids]


def test_tasks_go_to_a_worker_that_can_draw_them() -> None:
    unable: list[str] = []
    able: list[str] = []
    with (
        scripted(worker(unable, pb.FEATURE_MESHES)) as first,
        scripted(worker(able)) as second,
        pool_of(first, second) as pool,
    ):
        names = [f"t{i}" for i in range(40)]
        assert [result.id for result in pool.render(tasks(*names))] == names
        assert set(able) == set(names)
        assert len(unable) == len(set(unable))  # None goes there twice.
        assert pool.stats.tasks_resent == 0


def test_a_task_that_no_worker_can_draw_is_refused_in_one_line() -> None:
    seen: list[str] = []
    with (
        scripted(worker(seen, pb.FEATURE_MESHES)) as first,
        scripted(worker(seen, pb.FEATURE_MESHES)) as second,
        pool_of(first, second) as pool,
    ):
        with pytest.raises(TaskRefused) as caught:
            pool.render(tasks("a"))
        text = "task 'a': no worker that is connected can draw it: no meshes here (worker ipv4:127.0.0.1:"
        assert str(caught.value).startswith(text)
        assert "\n" not in str(caught.value)
        assert seen == ["a", "a"]
