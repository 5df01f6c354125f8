"""`metasim-render`: what it prints and how it fails."""

import json
import re
import socket
import subprocess
import sys

import pytest
import typer
from support.servers import server

import render_server.cli
import render_server.engines


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "render_server.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_one_line_says_where_it_listens() -> None:
    with server("--engine", "fake", "--workers", "1") as running:
        host, _, port = running.address.partition(":")
        assert host == "127.0.0.1"
        with socket.create_connection((host, int(port)), timeout=10):
            pass
        running.process.terminate()
        rest, _ = running.process.communicate(timeout=30)
        assert rest == b""
        assert running.process.returncode == 0


def test_the_line_is_json() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "render_server.cli", "serve", "--engine", "fake", "--port", "0", "--workers", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        line = json.loads(process.stdout.readline())  # type: ignore[union-attr]
        process.terminate()
    assert line == {"address": line["address"], "engine": "fake", "device": "cpu", "workers": 2}


def test_unknown_engine() -> None:
    done = run("serve", "--engine", "unreal")
    assert done.returncode == 2
    assert done.stderr == "error: --engine 'unreal' is unknown; allowed: blender, raster, fake\n"
    assert done.stdout == ""


def test_unknown_log_level() -> None:
    done = run("serve", "--engine", "fake", "--log-level", "loud")
    assert done.returncode == 2
    assert done.stderr == "error: --log-level 'loud' is unknown; allowed: debug, info, warning, error\n"


def test_port_in_use() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run("serve", "--engine", "fake", "--port", str(port))
    assert done.returncode == 2
    assert done.stderr == (
        f"error: cannot listen on 127.0.0.1:{port}: it is in use or not an address of this machine; "
        "choose another --port (0 takes a free one) or --host\n"
    )


@pytest.mark.parametrize("arguments", [("--port", "70000"), ("--workers", "-1"), ("--task-timeout-s", "0")])
def test_numbers_out_of_range(arguments: tuple[str, str]) -> None:
    done = run("serve", *arguments)
    assert done.returncode == 2
    assert f"Invalid value for '{arguments[0]}'" in done.stderr


def test_more_processes_than_the_machine_holds_are_refused() -> None:
    done = run("serve", "--engine", "fake", "--workers", "100000")
    assert done.returncode == 2
    line = r"error: --workers 100000 is too many for \d+ CPUs and [\d.]+ GiB of memory; it must be at most \d+\n"
    assert re.fullmatch(line, done.stderr)


def test_help_is_complete() -> None:
    done = run("serve", "--help")
    assert done.returncode == 0
    for option in ("--host", "--port", "--workers", "--engine", "--queue", "--task-timeout-s", "--cache-mib"):
        assert option in done.stdout
    assert all(name in done.stdout for name in render_server.engines.ENGINES)


WITH_VARIABLES = """
    tls-cert tls-key tls-client-ca token-file insecure metrics-port log-format log-level max-memory recycle-after
    host workers engine queue gpu-locks reserved-gpu cache-mib
"""


@pytest.mark.parametrize("option", WITH_VARIABLES.split())
def test_options_have_variables(option: str) -> None:
    command = typer.main.get_command(render_server.cli.app).commands["serve"]  # type: ignore[attr-defined]
    (found,) = [each for each in command.params if f"--{option}" in each.opts]
    assert found.envvar == f"METASIM_RENDER_{option.upper().replace('-', '_')}"
    assert found.help


def test_version() -> None:
    done = run("--version")
    assert (done.returncode, done.stdout) == (0, "metasim-render 0.1.0\n")
