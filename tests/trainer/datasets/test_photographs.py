"""Public photographs: found, verified, and split into a part to learn from and a part to test on."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.data import shared_data

from trainer.datasets.photographs import PHOTOGRAPHS, find_photographs, verify_photographs, write_parts
from trainer.datasets.readers import open_dataset
from trainer.environment import Settings
from trainer.errors import InputError


def screws(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.fromarray(np.zeros((8, 6, 3), np.uint8)).save(folder / name)
    return folder


def test_names_of_screws_tell_what_is_in_each_quarter(tmp_path: Path) -> None:
    folder = screws(tmp_path / "screws", "7_1001.jpg")
    ((path, objects),) = PHOTOGRAPHS["screws"].labels(folder)
    assert path.name == "7_1001.jpg"
    assert objects == [
        ("screw top left", (0, 0, 3, 4)),
        ("hole top right", (3, 0, 3, 4)),
        ("hole bottom left", (0, 4, 3, 4)),
        ("screw bottom right", (3, 4, 3, 4)),
    ]


def test_parts_are_disjoint_and_read_back_with_their_labels(tmp_path: Path) -> None:
    folder = screws(tmp_path / "screws", *(f"{number}_100{number % 2}.jpg" for number in range(7)))
    found = list(PHOTOGRAPHS["screws"].labels(folder))
    assert write_parts(found, tmp_path / "parts") == {"target": 5, "test": 2}
    parts = {part: open_dataset(tmp_path / "parts" / part) for part in ("target", "test")}
    names = {part: [dataset.example(i).name for i in range(len(dataset))] for part, dataset in parts.items()}
    assert names["test"] == ["2_1000.jpg", "5_1001.jpg"]
    assert sorted(names["target"] + names["test"]) == sorted(path.name for path, _ in found)
    objects = parts["test"].example(1).objects
    assert objects is not None
    assert [item.class_name for item in objects] == [
        "screw top left", "hole top right", "hole bottom left", "screw bottom right",
    ]  # fmt: skip
    with pytest.raises(InputError, match="parts exists; name another folder"):
        write_parts(found, tmp_path / "parts")


def test_a_missing_collection_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        find_photographs("blood", tmp_path / "none", Settings())
    assert str(caught.value) == (
        f"the photographs of blood are not in {tmp_path / 'none'}: git clone https://github.com/Shenggan/BCCD_Dataset "
        "and take its folder BCCD (MIT); then `metasim data blood FOLDER`"
    )


def test_wrong_names_and_numbers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"screws holds 1 photographs; screws has 60$"):
        verify_photographs("screws", screws(tmp_path / "screws", "7_1001.jpg"))
    with pytest.raises(InputError, match=r"7_10.jpg: the name must be NUMBER_DIGITS.jpg"):
        verify_photographs("screws", screws(tmp_path / "screws", "7_10.jpg"))


def test_collections_are_verified_and_their_uncertain_circles_are_not_scored() -> None:
    shared_data("photos")
    for name in ("screws", "coins"):
        found = verify_photographs(name, find_photographs(name))
        assert all(path.is_file() for path, _ in found)
        names = {category for _, objects in found for category, _ in objects}
        assert len(names) == {"screws": 8, "coins": 9}[name]
        assert ("DontCare" in names) == (name == "coins")
