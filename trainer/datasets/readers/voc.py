"""Pascal VOC: an XML file of objects for each image, optionally with masks."""

import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path

import numpy as np

from trainer.datasets.dataset import ImageDataset, read_text
from trainer.datasets.example import Example, ExampleObject
from trainer.datasets.label_frame import LabelFrame
from trainer.datasets.pixels import IMAGE_SUFFIXES, Photo, read_photo
from trainer.datasets.readers.image_folder import image_names, mask_of
from trainer.errors import InputError

#: The classes of the challenge in the order of its masks' numbers, from 1.
CHALLENGE = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
_VOID = 255
_IMAGE_FOLDERS = ("JPEGImages", "images", "")


class VocDataset(ImageDataset):
    """`Annotations/*.xml` and `JPEGImages/` in the folder or below it, or XML files next to their images.

    `SegmentationObject/` has object masks in the order of the XML file. `SegmentationClass/` has class masks in the
    order of `labelmap.txt` or of the challenge. VOC counts pixels from 1 and includes the last one. Objects that are
    `difficult` are ignored regions. An image without an XML file has no labels.
    """

    kind = "voc"

    def __init__(self, folder: Path) -> None:
        """
        Raises:
            InputError: there is no image, or an XML file is damaged.
        """
        root = _root(folder)
        if root is None:
            raise InputError(f"{folder} holds no XML file of Pascal VOC; its layout is Annotations/ and JPEGImages/")
        super().__init__(root)
        annotations = root / "Annotations"
        self._annotations = annotations if annotations.is_dir() else root
        place = next(name for name in _IMAGE_FOLDERS if (root / name).is_dir())
        self._names = [f"{place}/{name}" if place else name for name in image_names(root / place)]
        if not self._names:
            raise InputError(f"{root / place} holds no image")
        trees = {name: self._tree(name) for name in self._names}
        found = {_text(item, "name") for tree in trees.values() if tree is not None for item in tree.iter("object")}
        self._trees = trees
        listed = _listed_classes(root)
        self._masked = bool(listed) or found <= set(CHALLENGE)
        self.classes = listed or (CHALLENGE if self._masked and self._has_masks else tuple(sorted(found)))

    @property
    def _has_masks(self) -> bool:
        return (self.folder / "SegmentationClass").is_dir()

    def __len__(self) -> int:
        return len(self._names)

    def image_path(self, index: int) -> Path:
        """See `ImageDataset.image_path`."""
        return self.folder / self._names[index]

    def example(self, index: int) -> Example:
        name = self._names[index]
        photo = read_photo(self.folder / name)
        tree = self._trees[name]
        stem = Path(name).stem
        class_mask = self.folder / "SegmentationClass" / f"{stem}.png"
        masked = self._masked and class_mask.is_file()
        objects = None
        if tree is not None:
            frame = LabelFrame.of(photo, _stated_size(tree), str(self.folder / name))
            shapes = self.folder / "SegmentationObject" / f"{stem}.png"
            where = f"{self._xml(name)}: object"
            objects = tuple(
                _object(item, frame, f"{where} {number}", _instance(photo, shapes, number))
                for number, item in enumerate(tree.iter("object"), 1)
            )
        return Example(
            name=name,
            image=photo.pixels,
            objects=objects,
            class_mask=(lambda: _without_void(mask_of(photo, class_mask))) if masked else None,
        )

    def _xml(self, name: str) -> Path:
        return self._annotations / f"{Path(name).stem}.xml"

    def _tree(self, name: str) -> ElementTree.Element | None:
        path = self._xml(name)
        if not path.is_file():
            beside = (self.folder / name).with_suffix(".xml")
            if not beside.is_file():
                return None
            path = beside
        try:
            return ElementTree.parse(path).getroot()
        except (ElementTree.ParseError, OSError, ValueError, LookupError) as error:
            raise InputError(f"{path} is not an XML file: {error}") from error


def is_voc(folder: Path) -> bool:
    """Return whether a folder has the layout."""
    return _root(folder) is not None


def _root(folder: Path) -> Path | None:
    """Return the folder with `Annotations/`, here or below (VOCdevkit/VOC2012), or with XML files next to images."""
    for pattern in ("", "*/", "*/*/"):
        for path in sorted(folder.glob(f"{pattern}Annotations")):
            if path.is_dir() and next(path.glob("*.xml"), None) is not None:
                return path.parent
    if folder.is_dir():
        images = {path.stem for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES}
        if any(path.stem in images for path in folder.glob("*.xml")):
            return folder
    return None


def _listed_classes(root: Path) -> tuple[str, ...]:
    """Return the classes of `labelmap.txt` (lines of `name:r,g,b:parts:actions`), without the background."""
    path = root / "labelmap.txt"
    if not path.is_file():
        return ()
    lines = (line.strip() for line in read_text(path).splitlines())
    names = [line.split(":")[0] for line in lines if line and not line.startswith("#")]
    return tuple(name for name in names if name != "background")


def _object(
    item: ElementTree.Element, frame: LabelFrame, where: str, mask: Callable[[], np.ndarray] | None
) -> ExampleObject:
    box = item.find("bndbox")
    try:
        if box is None:
            raise ValueError("bndbox")
        left, top, right, bottom = (float(_text(box, side)) for side in ("xmin", "ymin", "xmax", "ymax"))
        if not (left <= right and top <= bottom):
            raise ValueError("bndbox")
    except ValueError as error:
        raise InputError(f"{where} has no bndbox of xmin, ymin, xmax, ymax") from error
    name = _text(item, "name")
    if not name:
        raise InputError(f"{where} has no name")
    x0, y0 = max(left - 1, 0.0), max(top - 1, 0.0)
    x1, y1 = min(right, frame.width), min(bottom, frame.height)
    return ExampleObject(
        name,
        frame.box((x0, y0, max(x1 - x0, 0.0), max(y1 - y0, 0.0))),
        mask=mask,
        ignored=_text(item, "difficult") == "1",
    )


def _instance(photo: Photo, path: Path, number: int) -> Callable[[], np.ndarray] | None:
    """Return a function for the mask of one object; None: there is no file of masks."""
    if not path.is_file():
        return None
    return lambda: mask_of(photo, path) == number


def _without_void(mask: np.ndarray) -> np.ndarray:
    return np.where(mask == _VOID, 0, mask)


def _stated_size(tree: ElementTree.Element) -> tuple[int, int] | None:
    size = tree.find("size")
    try:
        width, height = (int(float(_text(size, name))) for name in ("width", "height")) if size is not None else (0, 0)
    except ValueError:
        return None
    return (width, height) if width > 0 and height > 0 else None


def _text(element: ElementTree.Element, name: str) -> str:
    return (element.findtext(name) or "").strip()
