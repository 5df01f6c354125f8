"""Copies of datasets in any layout, with translated images and byte-identical labels."""

import io
import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
from metasim.image_files import encode_image
from metasim.v1 import render_pb2 as pb
from PIL import Image

from trainer.assets.idx import write_idx
from trainer.datasets.class_names import ClassNames
from trainer.datasets.dataset import ImageDataset
from trainer.datasets.fitting import class_mask
from trainer.datasets.pixels import read_photo
from trainer.datasets.readers import open_dataset
from trainer.datasets.readers.idx import IdxDataset
from trainer.datasets.readers.parquet import ParquetDataset
from trainer.datasets.readers.webdataset import WebDataset
from trainer.datasets.writers.parquet import pyarrow
from trainer.datasets.writers.writer import named_folder
from trainer.errors import InputError
from trainer.progress import Advance
from trainer.translation.guidance import Buffers
from trainer.translation.translator import Translator

#: File that identifies the source of an unfinished copy.
IDENTITY = ".translation.json"
CARD = "README.md"
_UPRIGHT = 1
#: Image formats that the dataset writers encode; Pillow encodes others.
_FORMATS = {"PNG": pb.IMAGE_FORMAT_PNG, "JPEG": pb.IMAGE_FORMAT_JPEG, "WEBP": pb.IMAGE_FORMAT_WEBP}
_LUMA = np.array([0.299, 0.587, 0.114])


def translate_dataset(
    source: Path,
    out: Path,
    translator: Translator,
    command: str,
    *,
    resume: bool = False,
    advance: Advance | None = None,
) -> dict[str, Any]:
    """Write a copy of a dataset with translated images and everything else unchanged.

    Images keep their names and formats; JPEG files have quality 95. The copy appears under its name when it is
    complete. Until then it is `OUT.partial`, in which each file is complete.

    Args:
        source: a path for `open_dataset`.
        out: a folder that does not exist.
        command: command line for the card.
        resume: continue an unfinished copy.

    Returns:
        `images`, `layout`, `guided` (images with class masks), `resumed_at` (files copied before), `files`.

    Raises:
        InputError: the dataset cannot be read, `out` exists or lies in the dataset, or an unfinished copy exists
            without `resume` or of another source.
    """
    dataset = open_dataset(source)
    named_folder(out)
    root = (dataset.folder if source.is_file() else source).resolve()
    if out.resolve().is_relative_to(root):
        raise InputError(f"{out} lies in the dataset {source}; choose a folder outside of it")
    copy = _Copy(dataset, translator, out.with_name(f"{out.name}.partial"), advance)
    copy.begin(resume=resume)
    for path in sorted(each for each in root.rglob("*") if each.is_file()):
        copy.file(path, path.relative_to(root))
    copy.card(command)
    (copy.partial / IDENTITY).unlink()
    named_folder(out)
    copy.partial.rename(out)
    return {
        "images": len(dataset),
        "layout": dataset.kind,
        "guided": copy.guided,
        "resumed_at": copy.there,
        "files": copy.files,
    }


class _Copy:
    """A copy in progress.

    Attributes:
        partial: the folder into which it is written.
        guided: images that were translated with a class mask.
        there, files: number of files copied before, and of all files.
    """

    def __init__(self, dataset: ImageDataset, translator: Translator, partial: Path, advance: Advance | None) -> None:
        self.partial = partial
        self.guided = self.there = self.files = 0
        self._dataset, self._translator, self._advance = dataset, translator, advance
        self._names = ClassNames.of(dataset, translator.classes)
        self._done = 0
        paths = {dataset.image_path(index): index for index in range(len(dataset))}
        self._images = {path.resolve(): index for path, index in paths.items() if path is not None}

    def begin(self, *, resume: bool) -> None:
        """Make the folder, or check that the existing one belongs to the same copy."""
        identity = {
            "dataset": str(self._dataset.folder.resolve()),
            "images": len(self._dataset),
            "model": self._translator.fingerprint,
        }
        if not self.partial.exists():
            if resume:
                raise InputError(f"there is no {self.partial} to resume; omit --resume to start")
            self.partial.mkdir(parents=True)
            (self.partial / IDENTITY).write_text(json.dumps(identity) + "\n")
            return
        if not resume:
            raise InputError(
                f"{self.partial} is an unfinished copy; add --resume to continue it, remove it, or "
                "choose another folder"
            )
        try:
            kept = json.loads((self.partial / IDENTITY).read_text())
        except (OSError, ValueError):
            kept = None
        if kept != identity:
            raise InputError(
                f"{self.partial} is a copy of another dataset or by another model; use those of the first attempt, or "
                "remove it"
            )

    def file(self, path: Path, name: Path) -> None:
        """Copy a file of the dataset, translated if it holds images."""
        self.files += 1
        target = self.partial / name
        index = self._images.get(path.resolve())
        if target.exists():
            self.there += 1
            self._count(1 if index is not None else 0)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.part")
        if index is not None:
            part.write_bytes(self._image_file(path, index))
            self._count(1)
        elif isinstance(self._dataset, WebDataset) and path.suffix == ".tar":
            self._tar(path, part, self._dataset)
        elif isinstance(self._dataset, ParquetDataset) and path.suffix == ".parquet":
            self._parquet(path, part, self._dataset)
        elif isinstance(self._dataset, IdxDataset) and path == self._dataset.images_file.resolve():
            part = part.with_suffix(path.suffix)
            write_idx(part, np.stack([self._grey(index) for index in range(len(self._dataset))]))
        else:
            shutil.copyfile(path, part)
        part.replace(target)

    def card(self, command: str) -> None:
        """Describe the translation in the card."""
        path = self.partial / CARD
        before = path.read_text(encoding="utf-8") if path.is_file() else f"# {self._dataset.folder.name}\n"
        text = f"* Appearance: {self._translator.description}; labels are those before\n\n    {command}\n"
        path.write_text(f"{before.rstrip()}\n\n## Translation\n\n{text}", encoding="utf-8")

    def _count(self, images: int) -> None:
        self._done += images
        if self._advance and images:
            self._advance(self._done, len(self._dataset))

    def _translated(self, index: int) -> np.ndarray:
        example = self._dataset.example(index)
        mask = class_mask(self._dataset, example, self._names) if self._translator.uses_buffers else None
        known = mask is not None and any(self._names.number(name) is not None for name in self._dataset.classes)
        self.guided += known
        return self._translator.apply(example.image, Buffers(classes=mask if known else None))

    def _image_file(self, path: Path, index: int) -> bytes:
        if read_photo(path).orientation != _UPRIGHT:
            raise InputError(
                f"{path} is rotated by its EXIF data, and labels may depend on that; rotate its pixels first"
            )
        return _encoded(self._translated(index), path.read_bytes(), str(path))

    def _tar(self, path: Path, part: Path, dataset: WebDataset) -> None:
        """Copy a tar file; members other than images keep their headers and bytes."""
        places = [(dataset.image_member(index), index) for index in range(len(dataset))]
        images = {member: index for (file, member), index in places if file.resolve() == path}
        with tarfile.open(path) as source, tarfile.open(part, "w", format=tarfile.USTAR_FORMAT) as target:
            for member in source:
                content = source.extractfile(member) if member.isfile() else None
                data = content.read() if content else b""
                folder, _, name = member.name.rpartition("/")
                key, dot, suffix = name.partition(".")
                index = images.get(f"{folder}/{key}{dot}{suffix.lower()}" if folder else f"{key}{dot}{suffix.lower()}")
                if index is not None:
                    data = _encoded(self._translated(index), data, f"{path}/{member.name}")
                    member.size = len(data)
                    self._count(1)
                target.addfile(member, io.BytesIO(data) if content else None)

    def _parquet(self, path: Path, part: Path, dataset: ParquetDataset) -> None:
        """Copy a Parquet file by row groups."""
        arrow, parquet = pyarrow(), pyarrow("parquet")
        index = next(start for file, start in dataset.first_rows().items() if file.resolve() == path)
        with (
            parquet.ParquetFile(path) as source,
            parquet.ParquetWriter(
                part, source.schema_arrow, compression="none", use_dictionary=False, write_statistics=False
            ) as target,
        ):
            place = source.schema_arrow.get_field_index("image")
            for group in range(source.metadata.num_row_groups):
                table = source.read_row_group(group)
                files = table.column(place).to_pylist()
                for file in files:
                    file["bytes"] = _encoded(self._translated(index), file["bytes"], f"{path}: row {index}")
                    index += 1
                    self._count(1)
                field = source.schema_arrow.field(place)
                target.write_table(table.set_column(place, field, arrow.array(files, field.type)))

    def _grey(self, index: int) -> np.ndarray:
        found = self._translated(index) @ _LUMA
        self._count(1)
        return (found + 0.5).astype(np.uint8)


def _encoded(pixels: np.ndarray, before: bytes, name: str) -> bytes:
    """Return an image file in the format of the original."""
    with Image.open(io.BytesIO(before)) as file:
        image_format = file.format
    known = _FORMATS.get(image_format or "")
    if known is not None:
        return encode_image(pixels, known)
    buffer = io.BytesIO()
    try:
        Image.fromarray(pixels).save(buffer, image_format)
    except (KeyError, OSError, ValueError) as error:
        raise InputError(f"{name}: {image_format} images cannot be written ({error}); convert them to PNG") from error
    return buffer.getvalue()
