"""Sums of audits."""

import math

import pytest
from metasim.v1 import render_pb2 as pb

from trainer.rendering import Audits


def test_cosine_and_norm_ratio_are_those_of_all_columns_together() -> None:
    audits = Audits()
    # Differences (3, 0) of a frame with (3, 4), and (0, 2) of a frame with (0, 2).
    audits.add("car.x", pb.Audit(region_norm=3, frame_norm=5, product=9))
    audits.add("car.yaw", pb.Audit(region_norm=2, frame_norm=2, product=4))

    found = audits.take()

    assert found is not None
    assert found.total.count == 2
    assert found.total.cosine == pytest.approx(13 / math.sqrt(13 * 29))
    assert found.total.norm_ratio == pytest.approx(math.sqrt(13 / 29))
    assert found.attributes["car.x"].cosine == pytest.approx(0.6)
    assert found.worst == "car.x"
    assert audits.take() is None


def test_a_bad_audit_is_a_warning_that_names_the_worst_attribute() -> None:
    audits = Audits()
    audits.add("car.x", pb.Audit(region_norm=10, frame_norm=10, product=100))
    audits.add("sun.yaw", pb.Audit(region_norm=3, frame_norm=5, product=9))

    found = audits.take()

    assert found is not None
    assert found.warning == (
        "regions of probes miss part of the gradient: cosine 0.9338, norm ratio 0.934 to the whole frame; worst is "
        "sun.yaw (0.6000, 0.600). training.probing.full_frame=true costs time and misses nothing; see docs/jacobian.md"
    )


def test_a_good_audit_and_columns_that_change_nothing_are_no_warning() -> None:
    audits = Audits()
    audits.add("car.x", pb.Audit(region_norm=10, frame_norm=10.1, product=100.9))
    audits.add("car.y", pb.Audit())

    found = audits.take()

    assert found is not None
    assert found.warning is None
    assert found.attributes["car.y"].cosine == 1


def test_a_region_that_misses_everything_is_a_warning() -> None:
    audits = Audits()
    audits.add("car.x", pb.Audit(frame_norm=2))

    found = audits.take()

    assert found is not None
    assert found.total.cosine == 0
    assert found.warning is not None
