"""Public collections of photographs for experiments: sources, checks and parts.

The photographs are not part of the project. `metasim data NAME` finds a folder of them and verifies it, and
`metasim data NAME --out DIR` copies them into a training part and a test part.
"""

import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from PIL import Image

from trainer.datasets.kitti_labels import DONT_CARE
from trainer.datasets.readers import open_dataset
from trainer.datasets.readers.image_folder import METADATA
from trainer.environment import Settings, checkout
from trainer.errors import InputError

#: One in this many photographs, in order of names, is a test photograph.
TEST_EVERY = 3
#: The four positions of `screws` in the order of a file name's digits, with column and row.
_PLACES = (("top left", 0, 0), ("top right", 1, 0), ("bottom left", 0, 1), ("bottom right", 1, 1))

#: An image's path and the boxes (left, top, width, height) of its objects with their classes.
Labelled = tuple[Path, list[tuple[str, tuple[float, float, float, float]]]]


@dataclass(frozen=True)
class Photographs:
    """A public collection of photographs."""

    #: Subfolder of the data folder, e.g. METASIM_DATA.
    folder: str
    images: int
    licence: str
    #: Instructions for obtaining them.
    advice: str
    labels: Callable[[Path], Iterator[Labelled]]


def _screws(folder: Path) -> Iterator[Labelled]:
    """Yield the photographs of screws; a box is a quarter of the image, since file names state no exact position."""
    for path in sorted(folder.glob("*.jpg")):
        digits = re.fullmatch(r"\d+_([01]{4})", path.stem)
        if digits is None:
            raise InputError(f"{path}: the name must be NUMBER_DIGITS.jpg; the 4 digits mark screws, such as 1001")
        with Image.open(path) as image:
            width, height = image.width / 2, image.height / 2
        yield (
            path,
            [
                (f"{'screw' if digit == '1' else 'hole'} {place}", (column * width, row * height, width, height))
                for digit, (place, column, row) in zip(digits[1], _PLACES, strict=True)
            ],
        )


def _dataset(images: str, ignored: str | None = None) -> Callable[[Path], Iterator[Labelled]]:
    """Return a reader of a folder in one of the layouts of `trainer.datasets.readers`.

    Args:
        images: folder of the images.
        ignored: class of regions in which detections are not scored.
    """

    def read(folder: Path) -> Iterator[Labelled]:
        dataset = open_dataset(folder)
        for index in range(len(dataset)):
            example = dataset.example(index)
            path = next((p for p in (folder / images / example.name, folder / example.name) if p.is_file()), None)
            if path is None:
                raise InputError(f"{folder} lacks {example.name}")
            objects = [
                (DONT_CARE if item.ignored or item.class_name == ignored else item.class_name, item.box)
                for item in example.objects or ()
            ]
            yield path, objects

    return read


PHOTOGRAPHS: Mapping[str, Photographs] = MappingProxyType(
    {
        "screws": Photographs(
            "photos/screws", 60, "Apache-2.0",
            "git clone https://github.com/aaronzink/tensorflow-visual-inspection and collect the photographs whose "
            "names are like 100_1001.jpg",
            _screws,
        ),
        "coins": Photographs(
            "photos/coins", 64, "MIT",
            "git clone https://github.com/kaa/coins-dataset, whose crops must be brought into a COCO file of boxes",
            _dataset("images", ignored="unlabelled circle"),
        ),
        "blood": Photographs(
            "photos/bccd", 292, "MIT",
            "git clone https://github.com/Shenggan/BCCD_Dataset and take its folder BCCD",
            _dataset("JPEGImages"),
        ),
        "kitti": Photographs(
            "kitti_60", 60, "CC BY-NC-SA 3.0",
            "download the left colour images, labels and calibration of the object benchmark from "
            "https://www.cvlibs.net/datasets/kitti and keep the frames 000000 to 000059",
            _dataset("image_2"),
        ),
    }
)  # fmt: skip


def find_photographs(name: str, folder: Path | None = None, settings: Settings | None = None) -> Path:
    """Return the folder of a collection: the given one, or the first that exists in the usual places.

    Raises:
        InputError: it is missing; the message states how to get it.
    """
    settings, wanted, root = settings or Settings.from_environment(), PHOTOGRAPHS[name], checkout()
    bases = [settings.data, root.parent / "shared" / "data" if root else None, settings.cache]
    looked = [folder] if folder else [base / wanted.folder for base in bases if base]
    for each in looked:
        if each.is_dir():
            return each
    raise InputError(
        f"the photographs of {name} are not in {', '.join(map(str, looked))}: {wanted.advice} "
        f"({wanted.licence}); then `metasim data {name} FOLDER`"
    )


def verify_photographs(name: str, folder: Path) -> list[Labelled]:
    """Read and return a collection's photographs with their labels.

    Raises:
        InputError: a file is missing or damaged, or the number of photographs differs from the collection's.
    """
    found = list(PHOTOGRAPHS[name].labels(folder))
    if len(found) != PHOTOGRAPHS[name].images:
        raise InputError(f"{folder} holds {len(found)} photographs; {name} has {PHOTOGRAPHS[name].images}")
    return found


def write_parts(found: list[Labelled], out: Path) -> dict[str, int]:
    """Copy photographs to `out/target` and `out/test`, with their labels in metadata.jsonl; return the numbers of each.

    Raises:
        InputError: the folder exists.
    """
    if out.exists():
        raise InputError(f"{out} exists; name another folder, or remove it")
    counts = {}
    for part in ("target", "test"):
        chosen = [
            each for index, each in enumerate(found) if (index % TEST_EVERY == TEST_EVERY - 1) == (part == "test")
        ]
        (out / part).mkdir(parents=True)
        lines = []
        for path, objects in chosen:
            shutil.copyfile(path, out / part / path.name)
            content: dict[str, Any] = {
                "bbox": [[round(value, 3) for value in box] for _, box in objects],
                "categories": [category for category, _ in objects],
            }
            lines.append(json.dumps({"file_name": path.name, "objects": content}))
        (out / part / METADATA[0]).write_text("\n".join(lines) + "\n")
        counts[part] = len(chosen)
    return counts
