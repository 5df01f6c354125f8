"""Pascal VOC: an XML file of objects for each image, and masks as PNGs with a palette.

Format: http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/devkit_doc.html. Pixels are counted from 1, and a box
includes its last pixel.
"""

import xml.etree.ElementTree as ElementTree

import numpy as np

from trainer.datasets.writers.card import DatasetCard
from trainer.datasets.writers.png import save_png
from trainer.datasets.writers.sample import Instance, Need, Rectangle, Sample
from trainer.datasets.writers.writer import DatasetWriter, Record
from trainer.errors import InputError

#: Highest number in an 8-bit mask, in which 255 is no class.
_MOST = 254


class VocWriter(DatasetWriter):
    """`Annotations/`, `JPEGImages/`, `ImageSets/Main/`, `SegmentationClass/` and `SegmentationObject/`."""

    layout = """
* `JPEGImages/`: the images (RGB), as PNGs unless `--images` states another format, so that no pixel is lost.
* `Annotations/`: an XML file for each image with an `object` for each object that has visible pixels: its class and
  `bndbox`, the first and the last of these pixels, counted from 1.
* `SegmentationClass/`, `SegmentationObject/`: PNGs with VOC's palette: the number of the class, and of the object in
  the XML file, from 1; 0: none.
* `ImageSets/Main/train.txt`: the names of the images. `labelmap.txt`: the classes in the order of their numbers, with
  their colours.
"""
    needs = Need.BOXES | Need.MASKS
    reader = "voc"

    @classmethod
    def check(cls, card: DatasetCard) -> None:
        """See `DatasetWriter.check`."""
        super().check(card)
        if len(card.classes) > _MOST:
            raise InputError(f"voc holds {_MOST} classes at most; the scenes have {len(card.classes)}; choose coco")

    def _write(self, index: int, sample: Sample) -> Record:
        name = f"{index:07d}"
        if len(sample.seen) > _MOST:
            raise InputError(f"image {index} shows {len(sample.seen)} objects; voc holds {_MOST} at most; choose coco")
        objects = np.zeros(sample.size, np.uint8)
        for number, (item, _) in enumerate(sample.seen, 1):
            objects[sample.pixels(item)] = number
        classes = sample.masks["class"].astype(np.uint8)
        for folder, mask in (("SegmentationClass", classes), ("SegmentationObject", objects)):
            save_png(mask, self._path(folder, f"{name}.png"), palette().tobytes())
        file_name = self._save_image(sample, "JPEGImages", name)
        self._path("Annotations", f"{name}.xml").write_text(annotation(file_name, sample), encoding="utf-8")
        return None

    def _finish(self) -> None:
        names = "".join(f"{index:07d}\n" for index in range(self.count))
        self._path("ImageSets", "Main", "train.txt").write_text(names, encoding="ascii")
        colours = palette()
        lines = ["# label:color_rgb:parts:actions\n", "background:0,0,0::\n"]
        lines += [
            f"{name}:{','.join(str(value) for value in colours[number])}::\n"
            for number, name in enumerate(self.card.classes, 1)
        ]
        self._path("labelmap.txt").write_text("".join(lines), encoding="utf-8")


def annotation(file_name: str, sample: Sample) -> str:
    """Return the XML file of an image."""
    height, width = sample.size
    root = ElementTree.Element("annotation")
    _add(root, {"folder": "JPEGImages", "filename": file_name})
    _add(ElementTree.SubElement(root, "source"), {"database": "metasim"})
    _add(ElementTree.SubElement(root, "size"), {"width": width, "height": height, "depth": 3})
    _add(root, {"segmented": 1})
    for item, box in sample.seen:
        _object(ElementTree.SubElement(root, "object"), item, box, width, height)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def palette() -> np.ndarray:
    """Return VOC's colours, uint8 [256, 3]: a number's bits in turn set red, green and blue from the top."""
    numbers = np.arange(256)
    colours = np.zeros((256, 3), np.int64)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= (numbers >> (3 * bit + channel) & 1) << (7 - bit)
    return colours.astype(np.uint8)


def _object(element: ElementTree.Element, item: Instance, box: Rectangle, width: int, height: int) -> None:
    cut = item.amodal is not None and (
        item.amodal.x <= 0
        or item.amodal.y <= 0
        or item.amodal.x + item.amodal.width >= width
        or item.amodal.y + item.amodal.height >= height
    )
    _add(element, {"name": item.class_name, "pose": "Unspecified", "truncated": int(cut), "difficult": 0})
    sides = (box.x + 1, box.y + 1, box.x + box.width, box.y + box.height)
    names = ("xmin", "ymin", "xmax", "ymax")
    _add(
        ElementTree.SubElement(element, "bndbox"),
        {name: round(side) for name, side in zip(names, sides, strict=True)},
    )


def _add(element: ElementTree.Element, values: dict[str, object]) -> None:
    for name, value in values.items():
        ElementTree.SubElement(element, name).text = str(value)
