"""What a worker shows of itself: metrics for Prometheus and its log."""

import json
import os
import signal
import socket
import time
import urllib.request

import pytest
from metasim.v1 import render_pb2 as pb
from prometheus_client.parser import text_string_to_metric_families
from support.servers import Conversation, engine_processes, run_cli, server
from support.tasks import ASSETS, sprite_task

Samples = dict[tuple[str, ...], float]


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def scrape(port: int) -> Samples:
    """Every sample by its name and the values of its labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
        text = answer.read().decode()
    families = text_string_to_metric_families(text)
    return {(sample.name, *sample.labels.values()): sample.value for family in families for sample in family.samples}


def talk_to(address: str, *tasks: pb.RenderTask) -> None:
    with Conversation(address) as talk:
        for name, data in ASSETS.items():
            talk.send(asset=pb.Asset(hash=name, data=data))
        for task in tasks:
            talk.send(task=task)
            talk.answer()


def test_metrics() -> None:
    port = free_port()
    bad = sprite_task("bad")
    bad.settings.samples = 0
    with server("--engine", "fake", "--workers", "1", "--queue", "3", "--metrics-port", str(port)) as running:
        talk_to(running.address, sprite_task("a"), sprite_task("b"), bad)
        (process,) = engine_processes(running.process.pid)
        os.kill(process, signal.SIGKILL)
        deadline_s = time.monotonic() + 20
        # A message is counted as sent a little after it has arrived.
        sent = ("metasim_task_send_seconds_count",)
        while ("metasim_restarts_total", "crashed") not in (found := scrape(port)) or found[sent] < 4:
            assert time.monotonic() < deadline_s
        assert running.stop() == 0
    assert found["metasim_tasks_total", "done"] == 2
    assert found["metasim_tasks_total", "invalid_argument"] == 1
    assert found["metasim_tasks_total", "internal"] == 0
    assert found["metasim_renders_total",] == 26
    assert found["metasim_restarts_total", "crashed"] == 1
    assert (found["metasim_slots",], found["metasim_processes",], found["metasim_queue_length",]) == (4, 1, 0)
    assert found["metasim_memory_bytes", "front"] > 20e6
    for stage in ("queue", "build", "render", "encode"):
        assert found[f"metasim_task_{stage}_seconds_count",] == 2
    assert found["metasim_task_render_seconds_sum",] > 0


def test_a_taken_metrics_port() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run_cli("serve", "--engine", "fake", "--port", "0", "--metrics-port", str(port))
    assert done.returncode == 2
    assert done.stderr == (
        f"error: cannot serve metrics on 127.0.0.1:{port}: Address already in use; choose another port\n"
    )


def test_log_lines_are_json_objects() -> None:
    options = ("--workers", "1", "--fake-service-ms", "300", "--log-format", "json", "--log-level", "info")
    with server("--engine", "fake", *options) as running, Conversation(running.address) as talk:
        for name, data in ASSETS.items():
            talk.send(asset=pb.Asset(hash=name, data=data))
        talk.send(task=sprite_task("unlucky"))
        time.sleep(0.2)
        (process,) = engine_processes(running.process.pid)
        os.kill(process, signal.SIGKILL)
        assert isinstance(talk.answer(), pb.RenderResult)
        assert running.stop() == 0
    lines = [json.loads(line) for line in running.errors.splitlines()]
    assert all({"time", "level", "logger", "pid", "message"} <= line.keys() for line in lines)
    (crash,) = [line for line in lines if line["level"] == "warning"]
    assert crash["logger"] == "render_server.processes.process_pool"
    assert (crash["task"], crash["process"], crash["reason"]) == ("unlucky", process, "crashed")
    assert 0 < crash["ran_s"] < 20
    assert "shutting down: finishing the tasks that have begun" in [line["message"] for line in lines]


def test_unknown_log_format() -> None:
    done = run_cli("serve", "--engine", "fake", "--log-format", "xml")
    assert (done.returncode, done.stderr) == (2, "error: --log-format 'xml' is unknown; allowed: text, json\n")


@pytest.mark.parametrize("port", ["-1", "65536"])
def test_no_such_port(port: str) -> None:
    done = run_cli("serve", "--engine", "fake", "--metrics-port", port)
    assert done.returncode == 2
    assert "--metrics-port" in done.stderr
