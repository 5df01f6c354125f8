"""Pascal VOC as it comes: the challenge's layout, labelling tools' XML beside images, and a real dataset."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.data import shared_data

from trainer.datasets.fitting import fitted_labels
from trainer.datasets.readers import open_dataset
from trainer.datasets.writers.voc import palette
from trainer.errors import InputError


def xml(*objects: str, size: tuple[int, int] | None = (12, 8)) -> str:
    sizes = f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>" if size else ""
    return f"<annotation>{sizes}{''.join(objects)}</annotation>"


def item(name: str, box: tuple[float, ...] = (2, 3, 5, 5), difficult: int = 0) -> str:
    sides = "".join(f"<{side}>{value}</{side}>" for side, value in zip(("xmin", "ymin", "xmax", "ymax"), box))  # noqa: B905
    return f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox>{sides}</bndbox></object>"


def challenge(folder: Path, text: str) -> Path:
    """One image as in the challenge."""
    root = folder / "VOCdevkit" / "VOC2012"
    (root / "JPEGImages").mkdir(parents=True)
    (root / "Annotations").mkdir()
    Image.fromarray(np.zeros((8, 12, 3), np.uint8)).save(root / "JPEGImages" / "a.jpg")
    (root / "Annotations" / "a.xml").write_text(text)
    return root


def test_the_challenge_with_masks_and_difficult_objects(tmp_path: Path) -> None:
    root = challenge(tmp_path, xml(item("dog"), item("cat", (7, 1, 12, 8), difficult=1)))
    shapes = np.zeros((8, 12), np.uint8)
    shapes[2:5, 1:5], shapes[0:8, 6:12], shapes[4, 4] = 1, 2, 255
    for folder, mask in (("SegmentationObject", shapes), ("SegmentationClass", np.choose(shapes % 254, [0, 12, 8]))):
        (root / folder).mkdir()
        image = Image.fromarray(mask.astype(np.uint8))
        image.putpalette(palette().tobytes())
        image.save(root / folder / "a.png")
    dataset = open_dataset(tmp_path)
    assert (dataset.kind, len(dataset.classes), dataset.classes[11]) == ("voc", 20, "dog")
    [example] = dataset
    dog, cat = example.objects or ()
    assert (dog.box, dog.ignored) == ((1, 2, 4, 3), False)
    assert (cat.box, cat.ignored) == ((6, 0, 6, 8), True)
    assert dog.mask is not None
    np.testing.assert_array_equal(dog.mask(), shapes == 1)
    _, [mask] = fitted_labels(dataset, 12, 8, "segmentation", ["cat", "dog"])
    assert (mask[3, 2], mask[3, 8], mask[7, 0]) == (2, 1, 0)
    _, [objects] = fitted_labels(dataset, 12, 8, "detection", ["cat", "dog"])
    assert [labelled.type for labelled in objects] == ["dog", "DontCare"]


def test_files_of_labelling_tools_lie_beside_images_of_another_size(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((16, 24, 3), np.uint8)).save(tmp_path / "a.PNG")
    Image.fromarray(np.zeros((8, 12, 3), np.uint8)).save(tmp_path / "b.png")
    (tmp_path / "a.xml").write_text(xml(item("dog")))
    dataset = open_dataset(tmp_path)
    assert dataset.classes == ("dog",)
    assert [labelled.box for labelled in dataset.example(0).objects or ()] == [(2, 4, 8, 6)]
    assert dataset.example(1).objects is None


def test_colours_are_those_of_the_challenge() -> None:
    assert palette()[[0, 1, 2, 3, 12, 15, 20, 255]].tolist() == [
        *([0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0], [64, 0, 128], [192, 128, 128], [0, 64, 128]),
        [224, 224, 192],
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<annotation>", r"a\.xml is not an XML file: no element found"),
        (xml("<object><name>a</name></object>"), r"a\.xml: object 1 has no bndbox of xmin, ymin, xmax, ymax$"),
        (xml(item("a", (5, 3, 2, 5))), r"a\.xml: object 1 has no bndbox of xmin, ymin, xmax, ymax$"),
        (xml(item("")), r"a\.xml: object 1 has no name$"),
        (xml(item("a"), size=(20, 8)), r"a\.jpg is 12 x 8 px, and its labels are of an image of 20 x 8 px, which has"),
    ],
)
def test_damaged_files_are_named(text: str, message: str, tmp_path: Path) -> None:
    challenge(tmp_path, text)
    with pytest.raises(InputError, match=message):
        list(open_dataset(tmp_path))


def test_real_blood_cells() -> None:
    dataset = open_dataset(shared_data("photos") / "bccd")
    assert (dataset.kind, len(dataset), dataset.classes) == ("voc", 292, ("Platelets", "RBC", "WBC"))
    for index in range(0, 292, 40):
        example = dataset.example(index)
        height, width = example.image.shape[:2]
        assert example.objects
        for found in example.objects:
            x, y, box_width, box_height = found.box
            assert 0 <= x < x + box_width <= width
            assert 0 <= y < y + box_height <= height


def test_real_coins() -> None:
    """Photographs held both ways."""
    dataset = open_dataset(shared_data("photos") / "coins")
    assert (dataset.kind, len(dataset)) == ("coco", 64)
    shapes = {dataset.example(index).image.shape[:2] for index in range(0, 64, 4)}
    assert {(756, 1008), (1008, 756)} <= shapes
