"""Statistics of where KITTI's cars stand: of frames made by hand, and of the file that ships."""

import json
import math
from pathlib import Path

import pytest
from support.data import shared_data

from trainer.datasets.kitti_labels import KittiObject
from trainer.datasets.kitti_layout import EVERY, frames_of, layout, main, place
from trainer.errors import InputError

SHIPPED = Path(__file__).resolve().parents[3] / "grammars" / "kitti-layout.json"


def car(x: float, z: float, rotation_y: float, kind: str = "Car") -> KittiObject:
    return KittiObject(kind, 0, 0, 0, (0, 0, 1, 1), (1.5, 1.6, 4), (x, 1.65, z), rotation_y)


@pytest.mark.parametrize(("rotation_y", "yaw"), [(-math.pi / 2, 0), (math.pi / 2, 180), (0, -90), (math.pi, 90)])
def test_places_are_those_of_grammars(rotation_y, yaw):
    """KITTI's x points to the right, ours forward; its rotation is 0 for a car that drives to the right."""
    x, y, turned = place(car(3.0, 20.0, rotation_y))
    assert (x, y) == (20, -3)
    assert math.cos(math.radians(turned - yaw)) == pytest.approx(1)


def test_counts_and_directions_by_hand():
    ahead, oncoming, crossing = car(0, 20, -math.pi / 2 - 0.1), car(-3.5, 30, math.pi / 2), car(5, 10, 0)
    frames = [[ahead, oncoming], *[[]] * (EVERY - 1), [ahead, crossing, car(0, 61, 0), car(0, 5, 0, "Van")]]
    found = layout([frames])
    assert found["frames"] == 2
    cars = found["types"]["Car"]
    # The car at 61 m is too far, and frames between are left out.
    assert cars["count"]["mean"] == 2
    assert cars["count"]["histogram"] == [0, 0, 2]
    assert [cars[name]["share"] for name in ("with_camera", "against_camera", "across")] == [0.5, 0.25, 0.25]
    assert cars["with_camera"]["turned_deg"]["mean"] == pytest.approx(math.degrees(0.1), abs=1e-3)
    assert cars["against_camera"]["y_m"]["mean"] == 3.5
    assert cars["against_camera"]["turned_deg"]["mean"] == pytest.approx(0, abs=1e-6)
    assert found["types"]["Van"]["count"]["histogram"] == [1, 1]
    assert found["types"]["Truck"]["x_m"] == {"bins": cars["x_m"]["bins"], "histogram": [0] * 12}


def test_frames_without_objects_count(tmp_path):
    file = tmp_path / "0000.txt"
    rest = "Car 0 0 0 0 0 1 1 1.5 1.6 4 0 1.65 20 -1.57"
    file.write_text(f"0 1 {rest}\n3 1 {rest}\n3 -1 DontCare -1 -1 -10 0 0 1 1 -1 -1 -1 -1000 -1000 -1000 -10\n")
    assert [len(frame) for frame in frames_of(file)] == [1, 0, 0, 1]


def test_the_file_that_ships_is_what_the_labels_say():
    assert main(shared_data("kitti/tracking_label_02")) == SHIPPED.read_text(encoding="utf-8")


def test_the_file_that_ships_names_its_source():
    content = json.loads(SHIPPED.read_text(encoding="utf-8"))
    assert "CC BY-NC-SA 3.0" in content["source"]
    assert content["frames"] > 400


def test_a_folder_without_labels_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"holds no label file; name KITTI tracking's folder label_02$"):
        main(tmp_path)
