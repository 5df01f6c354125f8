"""The device under test, METASIM_TEST_DEVICE, beside the CPU."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from metasim.tensors import tensor_from_proto
from metasim.v1 import render_pb2 as pb
from support.pure_tasks import assets_in, tasks

from render_server.engines import Engine

pytestmark = pytest.mark.blender

#: How far images on a GPU may lie from those on the CPU: mean difference of display values, and share of label pixels.
#: Rounding moves single samples across edges.
IMAGE_TOLERANCE, LABEL_TOLERANCE = 2e-3, 2e-3

_ON_CPU = """
import sys
from pathlib import Path
from render_server.engines import create_engine
from support.pure_tasks import assets_in, tasks
engine = create_engine("blender", device="cpu")
for number, task in enumerate(tasks("blender")):
    result = engine.render(task, assets_in(Path(sys.argv[1])))
    (Path(sys.argv[1]) / f"{number}.result").write_bytes(result.SerializeToString())
"""


def test_images_are_those_of_the_cpu_within_the_tolerance(blender: Engine, tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    path = os.pathsep.join(str(root / part) for part in ("tests", "proto", ""))
    command = [sys.executable, "-c", _ON_CPU, str(tmp_path)]
    subprocess.run(command, env={"PYTHONPATH": path, "PATH": ""}, check=True, capture_output=True, timeout=250)
    exact = blender.device == "cpu"
    for number, message in enumerate(tasks("blender")):
        there = pb.RenderResult.FromString((tmp_path / f"{number}.result").read_bytes())
        here = blender.render(message, assets_in(tmp_path))
        for one, other in zip(here.layers, there.layers, strict=True):
            found, expected = tensor_from_proto(one.tensor), tensor_from_proto(other.tensor)
            if exact:
                np.testing.assert_array_equal(found, expected)
            elif one.output in (pb.OUTPUT_IMAGE_F32, pb.OUTPUT_IMAGE_U8):
                scale = 255 if one.output == pb.OUTPUT_IMAGE_U8 else 1
                assert np.abs(found.astype(float) - expected).mean() / scale < IMAGE_TOLERANCE
            elif one.output in (pb.OUTPUT_INSTANCE_MASK, pb.OUTPUT_CLASS_MASK):
                assert np.mean(found != expected) < LABEL_TOLERANCE


def test_the_engine_names_its_device(blender: Engine) -> None:
    assert blender.device == os.environ.get("METASIM_TEST_DEVICE", "cpu")
    assert blender.device_name
