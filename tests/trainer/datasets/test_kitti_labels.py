"""KITTI's label and calibration files: real ones pass through unchanged; broken ones are refused."""

import gzip
import math

import numpy as np
import pytest
from support.data import shared_data

from trainer.datasets.kitti_labels import (
    KittiCalibration,
    KittiObject,
    format_calibration,
    format_labels,
    read_calibration,
    read_labels,
    read_tracks,
)
from trainer.errors import InputError

CAR = KittiObject("Car", 0.25, 1, -1.57, (10.0, 20.5, 110.25, 90.0), (1.5, 1.6, 4.0), (1.0, 1.65, 20.0), -1.52)


def test_real_labels_pass_through_unchanged():
    files = sorted(shared_data("kitti/label_2").glob("*.txt"))
    assert len(files) == 16
    for file in files:
        assert format_labels(read_labels(file)).encode() == file.read_bytes(), file.name


def test_real_calibrations_pass_through_unchanged():
    files = sorted(shared_data("kitti/calib").glob("*.txt"))
    assert len(files) == 16
    for file in files:
        assert format_calibration(read_calibration(file)).encode() == file.read_bytes(), file.name


def test_real_boxes_are_found_again_from_the_3d_boxes():
    """The annotators' 2D boxes and the projected 3D boxes agree to some pixels."""
    folder, errors = shared_data("kitti/label_2"), []
    for file in sorted(folder.glob("*.txt")):
        calibration = read_calibration(folder.parent / "calib" / file.name)
        for labelled in read_labels(file):
            if labelled.type != "Car" or labelled.truncated > 0:
                continue
            pixels = calibration.project(labelled.corners())
            box = (*pixels.min(axis=0), *pixels.max(axis=0))
            errors.append(np.abs(np.subtract(box, labelled.box)).max())
    assert len(errors) > 40
    assert np.median(errors) < 3


def test_the_fields_of_a_line(tmp_path):
    file = tmp_path / "000000.txt"
    file.write_text("Car 0.25 1 -1.57 10.00 20.50 110.25 90.00 1.50 1.60 4.00 1.00 1.65 20.00 -1.52\r\n\n")
    assert read_labels(file) == (CAR,)
    file.write_text("Car -1 -1 -10 10 20.5 110.25 90 -1 -1 -1 -1000 -1000 -1000 -10 0.875")
    detection = KittiObject("Car", -1, -1, -10, (10.0, 20.5, 110.25, 90.0), score=0.875)
    assert read_labels(file) == (detection,)
    file.write_text(format_labels([detection, CAR]))
    assert read_labels(file) == (detection, CAR)


def test_corners_turn_about_the_vertical():
    """A car that points away from the camera is as wide as it is, and as deep as it is long."""
    box = KittiObject("Car", 0, 0, 0, (0, 0, 1, 1), (1.5, 1.6, 4.0), (1.0, 1.65, 20.0), -math.pi / 2).corners()
    np.testing.assert_allclose(box.min(axis=0), [0.2, 0.15, 18], atol=1e-9)
    np.testing.assert_allclose(box.max(axis=0), [1.8, 1.65, 22], atol=1e-9)
    # The front: the corners at +length/2, which now are the farthest.
    np.testing.assert_allclose(box[[0, 1, 4, 5], 2], 22)


def test_a_calibration_of_one_camera(tmp_path):
    calibration = KittiCalibration.of_camera([700.0, 0.0, 600.0, 0.0, 700.0, 180.0, 0.0, 0.0, 1.0])
    np.testing.assert_allclose(calibration.project(np.array([[1.0, 2.0, 10.0]])), [[670.0, 320.0]])
    file = tmp_path / "000000.txt"
    file.write_text(format_calibration(calibration))
    again = read_calibration(file)
    assert list(again.matrices) == list(calibration.matrices)
    for name, matrix in calibration.matrices.items():
        np.testing.assert_array_equal(again.matrices[name], matrix)
    # A point 10 m in front of the laser, 1 m to its left and 2 m above it.
    in_camera = calibration.matrices["Tr_velo_to_cam"] @ np.array([10.0, 1.0, 2.0, 1.0])
    np.testing.assert_array_equal(in_camera, [-1.0, -2.0, 10.0])


def test_tracks_plain_and_zipped(tmp_path):
    line = b"3 7 Car 0 1 -1.57 10 20.5 110.25 90 1.5 1.6 4 1 1.65 20 -1.52\n"
    (tmp_path / "0000.txt").write_bytes(line)
    (tmp_path / "0000.txt.gz").write_bytes(gzip.compress(line))
    for name in ("0000.txt", "0000.txt.gz"):
        (track,) = read_tracks(tmp_path / name)
        assert (track.frame, track.track, track.object.type, track.object.location) == (3, 7, "Car", (1.0, 1.65, 20.0))


def test_real_tracks():
    tracks = read_tracks(shared_data("kitti/tracking_label_02") / "0000.txt.gz")
    assert {track.object.type for track in tracks} >= {"Car", "Van", "Cyclist", "DontCare"}
    assert all(track.track == -1 for track in tracks if track.object.type == "DontCare")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\nCar 0 1", "{path}, line 2 describes an object by 3 fields; KITTI has 15, and 16 with a score"),
        (b"Car 0 1 a" + b" 1" * 11, "{path}, line 1: 'a' is not a finite number"),
        (b"Car 0 1 nan" + b" 1" * 11, "{path}, line 1: 'nan' is not a finite number"),
        (b"Car\xff", "{path} is not a text file of KITTI's: byte 3 is not ASCII"),
    ],
)
def test_broken_labels_are_refused(tmp_path, content, message):
    file = tmp_path / "000000.txt"
    file.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_labels(file)
    assert str(caught.value) == message.replace("{path}", str(file))


def test_broken_calibrations_are_refused(tmp_path):
    file = tmp_path / "000000.txt"
    file.write_text("P2: 1 2 3\n")
    with pytest.raises(InputError, match=r"line 1: 3 numbers for 'P2'; P0 to P3, .* have 12, R0_rect has 9$"):
        read_calibration(file)
    file.write_text("R0_rect: 1 0 0 0 1 0 0 0 1\n")
    with pytest.raises(InputError, match=r"has no P2, the projection of the left colour camera$"):
        read_calibration(file)
    with pytest.raises(InputError, match=r"missing.txt cannot be read: No such file or directory$"):
        read_calibration(tmp_path / "missing.txt")


def test_short_tracks_are_refused(tmp_path):
    file = tmp_path / "0000.txt"
    file.write_text("3 7 Car")
    with pytest.raises(InputError, match="line 1 describes an object by 1 fields"):
        read_tracks(file)
