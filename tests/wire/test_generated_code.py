"""The committed code is what the .proto files generate today."""

import subprocess
import sys
from pathlib import Path

import pytest

PROTO = Path(__file__).parents[2] / "proto"
SOURCES = sorted((PROTO / "metasim/v1").glob("*.proto"))


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("grpc_tools")
    out = tmp_path_factory.mktemp("generated")
    plugin = Path(sys.executable).with_name("protoc-gen-mypy")
    command = [sys.executable, "-m", "grpc_tools.protoc", f"--proto_path={PROTO}", f"--plugin=protoc-gen-mypy={plugin}"]
    command += [f"--python_out={out}", f"--grpc_python_out={out}", f"--mypy_out={out}"]
    subprocess.run([*command, *map(str, SOURCES)], check=True, capture_output=True)
    return out


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
@pytest.mark.parametrize("suffix", ["_pb2.py", "_pb2.pyi", "_pb2_grpc.py"])
def test_committed_code_is_current(generated: Path, source: Path, suffix: str) -> None:
    committed = source.with_name(source.stem + suffix)
    fresh = generated / committed.relative_to(PROTO)
    assert committed.read_text() == fresh.read_text(), f"{committed.name} is stale: run `make protos`"
