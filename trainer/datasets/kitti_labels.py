"""KITTI's records: labels and calibration of the object benchmark, labels of the tracking benchmark.

They follow the development kits' readme.txt (Geiger, Lenz, Urtasun, CVPR 2012). Camera frame: x to the right, y
down, z forward, metres. Image frame: pixels from the image's left, top corner, x to the right, y down.

Reading and writing a real file preserves every byte.
"""

import codecs
import gzip
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trainer.errors import InputError

#: The benchmark's types, without DontCare.
TYPES = ("Car", "Van", "Truck", "Pedestrian", "Person_sitting", "Cyclist", "Tram", "Misc")
#: The type of a region with unlabelled objects.
DONT_CARE = "DontCare"
#: Placeholders for an unknown truncation, occlusion or dimension; location; angle.
UNKNOWN_SIZE, UNKNOWN_LOCATION, UNKNOWN_ANGLE = -1, -1000, -10
#: Shapes of a calibration file's matrices, in the order of its lines.
_MATRICES = {
    "P0": (3, 4),
    "P1": (3, 4),
    "P2": (3, 4),
    "P3": (3, 4),
    "R0_rect": (3, 3),
    "Tr_velo_to_cam": (3, 4),
    "Tr_imu_to_velo": (3, 4),
}
_LABEL_FIELDS = 15


@dataclass(frozen=True)
class KittiObject:
    """A line of a label file; with a score, a line of a file of results."""

    #: Car, Van, Truck, Pedestrian, Person_sitting, Cyclist, Tram, Misc or DontCare.
    type: str
    #: Fraction of the object outside of the image, 0 to 1; -1: unknown. Tracking labels use 0, 1 and 2.
    truncated: float
    #: 0: fully visible, 1: partly occluded, 2: largely occluded, 3: unknown; -1: DontCare.
    occluded: int
    #: Observation angle, -π to π; -10: unknown.
    alpha: float
    #: Left, top, right and bottom edge in px.
    box: tuple[float, float, float, float]
    #: Height, width and length in m; -1: unknown.
    dimensions: tuple[float, float, float] = (UNKNOWN_SIZE,) * 3
    #: The centre of its bottom in the camera's frame in m; -1000: unknown.
    location: tuple[float, float, float] = (UNKNOWN_LOCATION,) * 3
    #: Heading about the camera's y axis: 0 along +x, -π/2 away from the camera; -10: unknown.
    rotation_y: float = UNKNOWN_ANGLE
    #: Confidence of a detection.
    score: float | None = None

    def corners(self) -> np.ndarray:
        """Return the corners of the 3D box in the camera's frame, [8, 3] m: four of the bottom, then four of the
        top.
        """
        height, width, length = self.dimensions
        x = np.array([1, 1, -1, -1, 1, 1, -1, -1]) * length / 2
        y = np.array([0, 0, 0, 0, -1, -1, -1, -1]) * height
        z = np.array([1, -1, -1, 1, 1, -1, -1, 1]) * width / 2
        cos, sin = np.cos(self.rotation_y), np.sin(self.rotation_y)
        return np.stack([cos * x + sin * z, y, -sin * x + cos * z], axis=1) + np.asarray(self.location)


@dataclass(frozen=True)
class KittiTrack:
    """A line of a tracking label file."""

    frame: int
    #: -1: DontCare.
    track: int
    object: KittiObject


@dataclass(frozen=True)
class KittiCalibration:
    """The matrices of a calibration file by name; P2 projects into the left colour image.

    A point X of the camera's frame (homogeneous, m) lies at P2 X in the image (homogeneous, px).
    """

    matrices: Mapping[str, np.ndarray]

    @classmethod
    def of_camera(cls, matrix: Sequence[float]) -> "KittiCalibration":
        """Return the calibration of one pinhole camera. All four cameras, the laser and the IMU share its position.

        Args:
            matrix: K, [9] row by row.
        """
        projection = np.column_stack((np.reshape(matrix, (3, 3)), np.zeros(3)))
        # The laser's x points forward, its y to the left, its z up.
        from_laser = np.array([[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0]], float)
        return cls(
            {
                **dict.fromkeys(("P0", "P1", "P2", "P3"), projection),
                "R0_rect": np.eye(3),
                "Tr_velo_to_cam": from_laser,
                "Tr_imu_to_velo": np.eye(3, 4),
            }
        )

    def project(self, points: np.ndarray) -> np.ndarray:
        """Return the pixels [N, 2] of points [N, 3] in the camera's frame, which must lie in front of it."""
        projection = self.matrices["P2"]
        image = points @ projection[:, :3].T + projection[:, 3]
        return image[:, :2] / image[:, 2:]


def kitti_type(class_name: str) -> str | None:
    """Return KITTI's name of a class, ignoring case; None: KITTI has no such type."""
    return next((name for name in TYPES if name.lower() == class_name.lower()), None)


def read_labels(path: Path) -> tuple[KittiObject, ...]:
    """Return the objects of a label file, or the detections of a file of results.

    Raises:
        InputError: the file cannot be read, or a line is not KITTI's.
    """
    return tuple(_object(line.split(), f"{path}, line {number}") for number, line in _lines(path))


def format_labels(objects: Iterable[KittiObject]) -> str:
    """Return the content of a label file: a line for each object."""
    return "".join(f"{_line(kitti_object)}\n" for kitti_object in objects)


def read_tracks(path: Path) -> tuple[KittiTrack, ...]:
    """Return the records of a sequence's tracking labels, plain or gzipped.

    Raises:
        InputError: as `read_labels`.
    """
    tracks = []
    for number, line in _lines(path):
        fields, where = line.split(), f"{path}, line {number}"
        described = _object(fields[2:], where)
        tracks.append(KittiTrack(int(_number(fields[0], where)), int(_number(fields[1], where)), described))
    return tuple(tracks)


def read_calibration(path: Path) -> KittiCalibration:
    """Return the matrices of a calibration file.

    Raises:
        InputError: the file cannot be read, a matrix has a wrong number of elements, or P2 is missing.
    """
    matrices = {}
    for number, line in _lines(path):
        name, _, values = line.partition(":")
        where = f"{path}, line {number}"
        numbers = [_number(value, where) for value in values.split()]
        shape = _MATRICES.get(name.strip())
        if shape is None or len(numbers) != shape[0] * shape[1]:
            raise InputError(
                f"{where}: {len(numbers)} numbers for {name.strip()[:40]!r}; "
                f"P0 to P3, Tr_velo_to_cam and Tr_imu_to_velo have 12, R0_rect has 9"
            )
        matrices[name.strip()] = np.array(numbers).reshape(shape)
    if "P2" not in matrices:
        raise InputError(f"{path} has no P2, the projection of the left colour camera")
    return KittiCalibration(matrices)


def format_calibration(calibration: KittiCalibration) -> str:
    """Return the content of a calibration file."""
    lines = [
        f"{name}: {' '.join(f'{value:.12e}' for value in calibration.matrices[name].ravel())}\n"
        for name in _MATRICES
        if name in calibration.matrices
    ]
    return "".join(lines) + "\n"


def _object(fields: list[str], where: str) -> KittiObject:
    if not _LABEL_FIELDS <= len(fields) <= _LABEL_FIELDS + 1:
        raise InputError(f"{where} describes an object by {len(fields)} fields; KITTI has 15, and 16 with a score")
    kind, *rest = fields
    values = [_number(value, where) for value in rest]
    truncated, occluded, alpha, left, top, right, bottom, height, width, length, x, y, z, rotation_y = values[:14]
    return KittiObject(
        kind,
        truncated,
        int(occluded),
        alpha,
        (left, top, right, bottom),
        (height, width, length),
        (x, y, z),
        rotation_y,
        values[14] if len(values) > 14 else None,
    )


def _line(o: KittiObject) -> str:
    # KITTI's files write the placeholders of DontCare regions as integers, all other numbers with two decimals.
    unknown = o.type == DONT_CARE
    numbers = [
        _decimals((o.truncated,), unknown),
        str(o.occluded),
        _decimals((o.alpha,), unknown),
        _decimals(o.box, False),
        _decimals((*o.dimensions, *o.location, o.rotation_y), unknown),
    ]
    score = [] if o.score is None else [repr(float(o.score))]
    return " ".join([o.type, *numbers, *score])


def _decimals(values: tuple[float, ...], whole: bool) -> str:
    return " ".join(f"{value:.0f}" if whole else f"{value:.2f}" for value in values)


def _number(text: str, where: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = np.nan
    if not np.isfinite(number):
        raise InputError(f"{where}: {text[:40]!r} is not a finite number")
    return number


def _lines(path: Path) -> list[tuple[int, str]]:
    """Return the lines that are not blank, with their numbers from 1."""
    try:
        data = path.read_bytes()
        plain = gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data
        text = plain.removeprefix(codecs.BOM_UTF8).decode("ascii")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not a text file of KITTI's: byte {error.start} is not ASCII") from error
    except (OSError, EOFError) as error:
        raise InputError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    return [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
