"""Symmetries of models: turns that leave a model's look unchanged."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from trainer.errors import InputError

#: Lengths, relative to a model's size, and cosines that differ by less are the same.
_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Symmetry:
    """A turn about an axis through the model's origin that leaves its look unchanged."""

    #: Unit vector in the model's frame.
    axis: tuple[float, float, float]
    #: The smallest such turn; None: every turn.
    turn_deg: float | None = None

    def is_about(self, direction: np.ndarray) -> bool:
        """Whether its axis points in a direction [3], a unit vector, or against it."""
        return abs(float(np.dot(self.axis, direction))) > 1 - _TOLERANCE


@dataclass(frozen=True)
class StatedSymmetries:
    """All symmetries of a model, in its own frame, as BOP's `models_info.json` has them; lengths in metres.

    Attributes:
        continuous: [n, 2, 3] an axis and a point on it.
        discrete: [n, 4, 4] transforms that leave the model's look as it is.
    """

    continuous: np.ndarray
    discrete: np.ndarray

    def scaled(self, factor: float) -> "StatedSymmetries":
        """Those of the model at another size."""
        continuous, discrete = self.continuous.copy(), self.discrete.copy()
        continuous[:, 1] *= factor
        discrete[:, :3, 3] *= factor
        return StatedSymmetries(continuous, discrete)

    def bop_entry(self) -> dict[str, object]:
        """The keys of an entry of `models_info.json`, in millimetres."""
        entry: dict[str, object] = {}
        millimetres = self.scaled(1000)
        if len(self.continuous):
            entry["symmetries_continuous"] = [
                {"axis": axis.tolist(), "offset": offset.tolist()} for axis, offset in millimetres.continuous
            ]
        if len(self.discrete):
            entry["symmetries_discrete"] = [matrix.ravel().tolist() for matrix in millimetres.discrete]
        return entry


def stated_symmetries(entry: Mapping[str, object], base_mm: Sequence[float], what: str) -> StatedSymmetries | None:
    """Return all symmetries that an entry of BOP's `models_info.json` states; None: it states none.

    Args:
        base_mm: the model's origin in the file's frame.
        what: names the entry in errors.

    Raises:
        InputError: a symmetry is not written as it should be.
    """
    base = np.asarray(base_mm, np.float64)
    continuous, discrete = [], []
    for number, item in enumerate(_list(entry, "symmetries_continuous", what)):
        where = f"symmetries_continuous[{number}] of {what}"
        if not isinstance(item, dict):
            raise InputError(f"{where} is {item!r}; it needs an axis and an offset")
        axis, offset = _numbers(item.get("axis"), 3, where), _numbers(item.get("offset", (0, 0, 0)), 3, where)
        continuous.append((axis, (offset - base) / 1000))
    for number, item in enumerate(_list(entry, "symmetries_discrete", what)):
        matrix = _numbers(item, 16, f"symmetries_discrete[{number}] of {what}").reshape(4, 4).copy()
        matrix[:3, 3] = (matrix[:3, 3] + matrix[:3, :3] @ base - base) / 1000
        discrete.append(matrix)
    if not continuous and not discrete:
        return None
    return StatedSymmetries(np.reshape(continuous, (-1, 2, 3)), np.reshape(discrete, (-1, 4, 4)))


def symmetries_of(entry: Mapping[str, object], base_mm: Sequence[float], what: str) -> tuple[Symmetry, ...]:
    """Return the symmetries about axes through the origin that an entry of BOP's `models_info.json` states.

    Of the others (about axes beside the origin, screws, mirrors) no single angle can be meaningless.
    https://github.com/thodan/bop_toolkit/blob/master/docs/bop_datasets_format.md, section "3D object models".

    Args:
        base_mm: where the model's origin is taken to be, in the file's frame.
        what: names the entry in errors.

    Raises:
        InputError: a symmetry is not written as it should be.
    """
    size = float(entry.get("diameter", 1.0) or 1.0)  # type: ignore[arg-type]
    found = []
    for number, item in enumerate(_list(entry, "symmetries_continuous", what)):
        where = f"symmetries_continuous[{number}] of {what}"
        if not isinstance(item, dict):
            raise InputError(f"{where} is {item!r}; it needs an axis and an offset")
        axis, offset = _numbers(item.get("axis"), 3, where), _numbers(item.get("offset", (0, 0, 0)), 3, where)
        length = np.linalg.norm(axis)
        if not length:
            raise InputError(f"{where} has an axis of no length")
        if _passes(offset - base_mm, axis / length, size):
            found.append(Symmetry(_direction(axis / length)))
    for number, item in enumerate(_list(entry, "symmetries_discrete", what)):
        matrix = _numbers(item, 16, f"symmetries_discrete[{number}] of {what}").reshape(4, 4)
        turn = _turn(matrix[:3, :3])
        if turn is None:
            continue
        axis, angle_deg = turn
        # The origin must stay where it is.
        moved = matrix[:3, :3] @ base_mm + matrix[:3, 3] - base_mm
        if np.linalg.norm(moved) <= _TOLERANCE * size:
            found.append(Symmetry(_direction(axis), angle_deg))
    return tuple(found)


def _turn(rotation: np.ndarray) -> tuple[np.ndarray, float] | None:
    """Return axis and angle of a rotation in degrees, above 0 and up to 180; None for the identity and reflections."""
    if not np.allclose(rotation @ rotation.T, np.eye(3), atol=_TOLERANCE) or np.linalg.det(rotation) < 0:
        return None
    angle = float(np.degrees(np.arccos(np.clip((np.trace(rotation) - 1) / 2, -1, 1))))
    if angle < np.degrees(_TOLERANCE):
        return None
    # The axis is what the rotation leaves alone: the eigenvector of the eigenvalue 1.
    axis = np.linalg.svd(rotation - np.eye(3))[2][-1]
    return axis, round(angle, 3)


def _passes(point: np.ndarray, axis: np.ndarray, size: float) -> bool:
    """Whether the line through a point passes the origin."""
    return bool(np.linalg.norm(point - axis * np.dot(point, axis)) <= _TOLERANCE * size)


def _direction(axis: np.ndarray) -> tuple[float, float, float]:
    return float(axis[0]), float(axis[1]), float(axis[2])


def _list(entry: Mapping[str, object], key: str, what: str) -> list:
    value = entry.get(key, [])
    if not isinstance(value, list):
        raise InputError(f"{key} of {what} is {value!r}; it must be a list")
    return value


def _numbers(value: object, count: int, where: str) -> np.ndarray:
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.empty(0)
    if array.size != count or not np.isfinite(array).all():
        raise InputError(f"{where} holds {value!r}; {count} numbers are needed")
    return array.reshape(count)
