"""Statistics of where objects stand in front of KITTI's camera, from its tracking labels.

`python -m trainer.datasets.kitti_layout FOLDER > grammars/kitti-layout.json` writes the file that ships. FOLDER holds
the sequences' label files (label_02), plain or gzipped. Positions follow the grammars' convention: x forward, y to the
left, in metres from the camera; yaw counter-clockwise in degrees, 0 along the camera's heading.
"""

import json
import math
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from trainer.datasets.kitti_labels import DONT_CARE, KittiObject, read_tracks
from trainer.errors import InputError

SOURCE = (
    "Computed from the KITTI tracking benchmark's training labels, sequences 0000 to 0012 "
    "(A. Geiger, P. Lenz, R. Urtasun: Are we ready for autonomous driving? CVPR 2012; CC BY-NC-SA 3.0). "
    "Holds summary statistics alone, no labels and no images."
)
TYPES = ("Car", "Van", "Truck", "Pedestrian", "Cyclist")
#: Step between used frames: one of ten labelled frames per second.
EVERY = 10
#: Labels of objects farther away are less complete.
FARTHEST_M = 60.0
#: Largest angle between the camera's heading, or its opposite, and that of cars along the road.
ALONG_DEG = 30.0
LATERAL_BINS_M = tuple(range(-20, 21))
DISTANCE_BINS_M = tuple(range(0, 61, 5))
YAW_BINS_DEG = tuple(range(-180, 181, 10))


def place(item: KittiObject) -> tuple[float, float, float]:
    """Return x, y and yaw of a labelled object."""
    x, _, z = item.location
    cos, sin = math.cos(item.rotation_y), math.sin(item.rotation_y)
    return z, -x, math.degrees(math.atan2(-cos, -sin))


def layout(sequences: Iterable[Sequence[Sequence[KittiObject]]]) -> dict[str, object]:
    """Return the statistics of the frames of sequences, each frame given by its objects."""
    counts: dict[str, list[int]] = {name: [] for name in TYPES}
    places: dict[str, list[tuple[float, float, float]]] = {name: [] for name in TYPES}
    frames = 0
    for sequence in sequences:
        for objects in sequence[::EVERY]:
            frames += 1
            for name in TYPES:
                near = [place(item) for item in objects if item.type == name and 0 < item.location[2] <= FARTHEST_M]
                counts[name].append(len(near))
                places[name] += near
    return {
        "source": SOURCE,
        "frames": frames,
        "farthest_m": FARTHEST_M,
        "types": {name: _of_type(counts[name], np.array(places[name]).reshape(-1, 3)) for name in TYPES},
    }


def frames_of(path: Path) -> list[list[KittiObject]]:
    """Return the objects of each frame of a sequence, frames without objects included.

    Raises:
        InputError: the file cannot be read or is not KITTI's.
    """
    tracks = read_tracks(path)
    frames: list[list[KittiObject]] = [[] for _ in range(max((track.frame for track in tracks), default=-1) + 1)]
    for track in tracks:
        if track.object.type != DONT_CARE:
            frames[track.frame].append(track.object)
    return frames


def _of_type(counts: Sequence[int], places: np.ndarray) -> Mapping[str, object]:
    """
    Args:
        places: [n, 3] x, y and yaw.
    """
    x, y, yaw = places.T
    with_camera, against = np.abs(yaw) <= ALONG_DEG, np.abs(yaw) >= 180 - ALONG_DEG
    return {
        "count": {**_spread(np.array(counts, float)), "histogram": np.bincount(counts).tolist()},
        "x_m": {**_spread(x), "bins": list(DISTANCE_BINS_M), "histogram": _histogram(x, DISTANCE_BINS_M)},
        "y_m": {**_spread(y), "bins": list(LATERAL_BINS_M), "histogram": _histogram(y, LATERAL_BINS_M)},
        "yaw_deg": {"bins": list(YAW_BINS_DEG), "histogram": _histogram(yaw, YAW_BINS_DEG)},
        "with_camera": _group(y[with_camera], yaw[with_camera], len(places)),
        "against_camera": _group(y[against], (yaw[against] % 360) - 180, len(places)),
        "across": _group(y[~(with_camera | against)], None, len(places)),
    }


def _group(y: np.ndarray, turned: np.ndarray | None, total: int) -> Mapping[str, object]:
    """Return statistics of the objects of one direction: fraction, positions, and yaw relative to that direction."""
    group: dict[str, object] = {
        "share": round(len(y) / max(total, 1), 4),
        "y_m": {**_spread(y), "histogram": _histogram(y, LATERAL_BINS_M)},
    }
    if turned is not None:
        group["turned_deg"] = _spread(turned)
    return group


def _spread(values: np.ndarray) -> dict[str, float]:
    if not len(values):
        return {}
    low, middle, high = np.percentile(values, (10, 50, 90))
    numbers = {"mean": values.mean(), "std": values.std(), "p10": low, "median": middle, "p90": high}
    return {name: round(float(number), 3) for name, number in numbers.items()}


def _histogram(values: np.ndarray, edges: Sequence[int]) -> list[int]:
    return np.histogram(values, edges)[0].tolist()


def main(folder: Path) -> str:
    """Return the file's content.

    Raises:
        InputError: the folder holds no label file.
    """
    files = sorted(path for path in folder.glob("*") if path.name.endswith((".txt", ".txt.gz")))
    if not files:
        raise InputError(f"{folder} holds no label file; name KITTI tracking's folder label_02")
    text = json.dumps(layout([frames_of(path) for path in files]), indent=1)
    # Lists of numbers on one line each.
    return re.sub(r"\[[-\d,\s]+\]", lambda match: " ".join(match[0].split()), text) + "\n"


if __name__ == "__main__":
    sys.stdout.write(main(Path(sys.argv[1])))
