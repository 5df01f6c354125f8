"""Parquet files in the layout of Hugging Face's datasets: `data/train-00000-of-00010.parquet` ..., images as bytes.

Format: https://huggingface.co/docs/datasets/image_dataset. The types of the columns (images, classes) are in the
schema's metadata, where the library `datasets` looks for them.
"""

import importlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainer.datasets.writers.card import DatasetCard
from trainer.datasets.writers.imagefolder import description, to_json
from trainer.datasets.writers.picture import PNG, Encoding
from trainer.datasets.writers.sample import Need, Sample
from trainer.datasets.writers.sharded import ShardedWriter
from trainer.datasets.writers.writer import Record
from trainer.errors import InputError

#: Rows per row group; random access reads a whole row group.
GROUP = 100

_LAYOUT = """
* `data/train-00000-of-NNNNN.parquet` ...: as many rows each. `image` (and its file name), `label` (the number of its
  class from 0, or the class where all are numbers), `objects` (`bbox`: x, y, width, height in px around visible
  pixels; `categories`: numbers of classes from 0), `description` (all of it, and the scene's attributes, as JSON)
"""
_READ = """
`datasets.load_dataset("parquet", data_files=".../data/*.parquet")` reads them, and `load_dataset` of the folder.
"""


class ParquetWriter(ShardedWriter):
    """Rows with an image, its label, boxes and description."""

    layout = _LAYOUT.rstrip() + ".\n" + _READ
    needs = Need.BOXES
    reader = "parquet"

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._file: Any = None
        self._rows: list[dict[str, Any]] = []
        super().__init__(*arguments, **options)
        self._schema = schema(self.card, masks=Need.MASKS in self.needs)

    @classmethod
    def check(cls, card: DatasetCard) -> None:
        """See `DatasetWriter.check`."""
        super().check(card)
        pyarrow()

    @classmethod
    def file_name(cls, number: int, card: DatasetCard) -> str:
        """See `ShardedWriter.file_name`."""
        of = f"-of-{-(-card.count // card.per_file):05d}" if card.count else ""
        return f"data/train-{number:05d}{of}.parquet"

    def _write(self, index: int, sample: Sample) -> Record:
        fields = description(index, sample)
        row = {
            "image": _file(index, sample.picture.file(self.encoding), self.encoding),
            "label": self._label(sample.label),
            "objects": {
                "bbox": [[box.x, box.y, box.width, box.height] for _, box in sample.seen],
                "categories": [self.card.classes.index(item.class_name) for item, _ in sample.seen],
            },
            "description": to_json(index, fields),
        }
        if Need.MASKS in self.needs:
            row |= {f"{name}_mask": _file(index, mask.file(), PNG) for name, mask in sample.mask_pictures.items()}
        self._put(index, row)
        return None

    def _put(self, index: int, row: dict[str, Any]) -> None:
        """Append a row. A full file is completed before its last sample enters the journal."""
        if self._file is None:
            path = self._path(*self.file_name(index // self.card.per_file, self.card).split("/"))
            self._file = pyarrow("parquet").ParquetWriter(
                path, self._schema, compression="none", use_dictionary=False, write_statistics=False
            )
        self._rows.append(row)
        last = self._place(index) == self.card.per_file - 1
        if last or (self._place(index) + 1) % GROUP == 0:
            self._write_rows()
        if last:
            self._finish_files()

    def _write_rows(self) -> None:
        if self._rows:
            self._file.write_table(pyarrow().Table.from_pylist(self._rows, schema=self._schema))
            self._rows = []

    def _finish_files(self) -> None:
        if self._file is not None:
            self._write_rows()
            file, self._file = self._file, None
            file.close()

    def _release(self) -> None:
        self._rows = []
        if self._file is not None:
            file, self._file = self._file, None
            file.close()

    def _resumed(self, count: int) -> int:
        """Return the number of samples in full files. Other files are made again, as Parquet cannot append."""
        end = self.first + count
        return max(0, end - end % self.card.per_file - self.first)

    def _take_files(self, folder: Path, records: Sequence[Record]) -> None:
        """Merge the rows of parts. Their files begin at the same rows as those of the whole dataset."""
        del records
        index = self.count
        for path in sorted(folder.glob("data/*.parquet")):
            for batch in pyarrow("parquet").ParquetFile(path).iter_batches(GROUP):
                for row in batch.to_pylist():
                    self._put(index, row)
                    index += 1

    def _label(self, label: int | str | None) -> int | None:
        if isinstance(label, str):
            return self.card.classes.index(label) if label in self.card.classes else None
        return label if _are_numbers(self.card.classes) else None


class ParquetMasksWriter(ParquetWriter):
    """The files of `ParquetWriter` with masks."""

    layout = (
        _LAYOUT.rstrip()
        + ",\n  `class_mask` and `instance_mask` (PNGs of one channel: the number of the class from 1, a number for "
        + "each object; 0: neither).\n"
        + _READ
    )
    needs = Need.BOXES | Need.MASKS
    encodes_masks = True


def pyarrow(module: str = "") -> Any:
    """Return pyarrow, or a module of it.

    Raises:
        InputError: it is not installed.
    """
    try:
        return importlib.import_module(f"pyarrow.{module}" if module else "pyarrow")
    except ImportError as error:
        raise InputError(f"Parquet files need pyarrow ({error}); pip install 'metasim[parquet]'") from error


def schema(card: DatasetCard, *, masks: bool) -> Any:
    """Return the schema of the files, with the column types of `datasets`."""
    arrow = pyarrow()
    image = arrow.struct({"bytes": arrow.binary(), "path": arrow.string()})
    objects = {"bbox": arrow.list_(arrow.list_(arrow.float64())), "categories": arrow.list_(arrow.int64())}
    names = ["class_mask", "instance_mask"] if masks else []
    columns = {
        "image": image,
        "label": arrow.int64(),
        "objects": arrow.struct(objects),
        "description": arrow.string(),
        **dict.fromkeys(names, image),
    }
    classes = {"names": list(card.classes), "_type": "ClassLabel"}
    number = {"dtype": "float64", "_type": "Value"}
    features: dict[str, Any] = {
        "image": {"_type": "Image"},
        "label": {"dtype": "int64", "_type": "Value"} if _are_numbers(card.classes) else classes,
        "objects": {
            "bbox": {"feature": {"feature": number, "_type": "Sequence"}, "_type": "Sequence"},
            "categories": {"feature": classes, "_type": "Sequence"},
        },
        "description": {"dtype": "string", "_type": "Value"},
        **{name: {"_type": "Image"} for name in names},
    }
    return arrow.schema(columns, metadata={"huggingface": json.dumps({"info": {"features": features}})})


def _are_numbers(classes: Sequence[str]) -> bool:
    return all(name.isascii() and name.isdecimal() for name in classes)


def _file(index: int, data: bytes, encoding: Encoding) -> dict[str, Any]:
    return {"bytes": data, "path": f"{index:07d}.{encoding.suffix}"}
