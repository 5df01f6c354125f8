"""Conditions on scenes."""

import numpy as np
import pytest

from trainer.datasets.writers.sample import Instance, Rectangle, Sample
from trainer.errors import InputError
from trainer.runs.scene_filter import SceneFilter

BOX = Rectangle(0, 0, 2, 2)
#: Two visible cars of 10 and 20 px, a hidden one, and a visible 7, in an image of 10 x 20 px.
SAMPLE = Sample.of(
    np.zeros((10, 20, 3), np.uint8),
    instances=(
        Instance("a", "car", 1, BOX, visible_px=10),
        Instance("b", "car", 2, BOX, visible_px=20),
        Instance("c", "car", 3),
        Instance("d", "7", 4, BOX, visible_px=30),
    ),
)
CLASSES = ("car", "7", "traffic light")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("visible(car) >= 1", True),
        ("visible(car) == 2", True),
        ("visible() == 3", True),
        ("present(car) == 3", True),
        ("pixels(car) > 30", False),
        ("share(car) == 0.15", True),
        ("1 <= visible(car) <= 2", True),
        ("1 <= visible(car) < 2", False),
        ("visible(7) == 1 and visible('traffic light') == 0", True),
        ("not visible(car) > 1 or pixels(7) == 30", True),
        ("pixels(car) / visible(car) == 15", True),
        ("1 / visible('traffic light') > 0", False),
        ("-visible(car) + 2 * 2 - 1 == 1", True),
        ("(visible(car) > 5 or visible(7) > 0) and visible(car) != 3", True),
    ],
)
def test_conditions_mean_what_they_say(text: str, expected: bool) -> None:
    assert SceneFilter.parse(text, CLASSES)(SAMPLE) is expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("visible(car)", r"it must compare something, as in visible\(car\) >= 1$"),
        ("visible(bus) > 1", r"there is no class 'bus'; the grammar has: car, 7, traffic light$"),
        ("visible(car", r"'\(' was never closed"),
        (
            "__import__('os').system('x') > 0",
            r"\"__import__\('os'\)\.system\('x'\)\" is not allowed; numbers are visible",
        ),
        ("visible(car).real > 0", r"'visible\(car\)\.real' is not allowed"),
        ("(lambda: 1)() > 0", r"is not allowed"),
        ("visible(car, 7) > 0", r"is not allowed"),
        ("visible(x=1) > 0", r"is not allowed"),
        ("2 ** 99 > 1", r"is not allowed"),
        ("True == 1", r"'True' is not allowed"),
        ("visible(1.5) > 0", r"'1\.5' is not the name of a class$"),
        ("'a' < 'b'", r"is not allowed"),
        ("", r"invalid syntax"),
        ("(" * 500 + "1" + ")" * 499, r"condition "),
        ("1 < 2 and " * 200 + "1 < 2", r"it is longer than 1000 characters$"),
    ],
)
def test_anything_else_is_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        SceneFilter.parse(text, CLASSES)
    assert "\n" not in str(error.value)
