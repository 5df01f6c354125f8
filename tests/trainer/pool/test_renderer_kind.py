"""Pools whose workers render differently."""

import logging

import pytest
from metasim.v1 import render_pb2 as pb

from trainer.pool.renderer_kind import KindCheck


def worker(version: str = "4.5.15", device: str = "cpu", name: str = "") -> pb.DescribeResponse:
    return pb.DescribeResponse(engine="blender", engine_version=version, device=device, device_name=name)


def test_workers_that_do_not_encode_images_are_not_admitted() -> None:
    check = KindCheck(image_formats={pb.IMAGE_FORMAT_PNG, pb.IMAGE_FORMAT_WEBP})
    old, partly = worker(), worker()
    partly.image_formats[:] = [pb.IMAGE_FORMAT_PNG]
    partly.version = "0.2.0"
    assert check.admit(old) == (
        "it does not encode images as PNG (version unknown of the worker); start a newer worker"
    )
    assert check.admit(partly).startswith("it does not encode images as WEBP (version 0.2.0 of the worker)")
    assert not KindCheck().admit(old)


def test_workers_with_other_encoders_are_another_kind() -> None:
    first, second = worker(), worker()
    for each, encoder in ((first, "zlib 1.2.13"), (second, "zlib 1.3.1")):
        each.image_formats[:], each.image_encoder = [pb.IMAGE_FORMAT_PNG], encoder
    check = KindCheck(image_formats={pb.IMAGE_FORMAT_PNG})
    assert not check.admit(first)
    assert check.admit(second).startswith("it renders with blender 4.5.15 on CPU, zlib 1.3.1, and other workers with")
    assert check.label == "blender 4.5.15 on CPU, zlib 1.2.13"
    without = KindCheck()
    assert [without.admit(first), without.admit(second)] == ["", ""]


def test_workers_of_one_kind_are_admitted() -> None:
    check = KindCheck()
    assert [check.admit(worker(device="optix", name=name)) for name in ("NVIDIA H200", "NVIDIA A10", "")] == [""] * 3
    assert check.label == "blender 4.5.15 on OPTIX (NVIDIA A10, NVIDIA H200)"


@pytest.mark.parametrize("other", [worker(device="optix"), worker("5.2.3")])
def test_another_kind_is_not_admitted(other: pb.DescribeResponse) -> None:
    check = KindCheck()
    assert not check.admit(worker())
    assert check.admit(other) == (
        f"it renders with blender {other.engine_version} on {other.device.upper()}, and other workers with blender "
        "4.5.15 on CPU; images may differ between kinds: start all workers alike, or accept the differences with "
        "--mixed-devices"
    )
    assert check.label == "blender 4.5.15 on CPU"
    assert not check.admit(worker())


def test_mixed_pools_are_named_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    check = KindCheck(mixed=True)
    with caplog.at_level(logging.WARNING):
        assert [check.admit(worker()), check.admit(worker(device="hip")), check.admit(worker())] == [""] * 3
    assert len(caplog.records) == 1
    assert check.label == "blender 4.5.15 on CPU; blender 4.5.15 on HIP"
