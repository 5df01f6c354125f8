"""The interface of appearance translators, and their files.

A translator is fitted once to renders and photographs, and then changes the appearance of any image. Its result is a
pure function of the translator and the image with its buffers. Images can therefore be translated in any order, and an
interrupted export can resume.
"""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from trainer.errors import InputError
from trainer.progress import Advance
from trainer.randomness import Purpose, generator
from trainer.translation.guidance import UNKNOWN, Buffers

#: The version of the files. A reader refuses other versions.
VERSION = 1
_FORMAT = "metasim-translator"


@dataclass(frozen=True)
class Renders:
    """Renders to which a translator is fitted.

    Attributes:
        images: uint8 [N, H, W, 3].
        buffers: of each image.
        classes: names of the classes in the class masks.
    """

    images: np.ndarray
    buffers: Sequence[Buffers]
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class FitInputs:
    """The arguments of `Translator.fit`."""

    renders: Renders
    photographs: np.ndarray
    seed: int
    settings: Mapping[str, object]
    device: str
    advance: Advance | None


@dataclass(frozen=True)
class Origin:
    """The data to which a translator was fitted.

    Attributes:
        source: the run or grammar of the renders.
        photographs: the folder of photographs.
        count: the number of photographs.
        seed: of the fit.
    """

    source: str = ""
    photographs: str = ""
    count: int = 0
    seed: int = 0


class Translator(ABC):
    """Changes the appearance of images and keeps their content.

    Attributes:
        method: the name that `--method` takes.
        uses_buffers: whether buffers change the result; class masks, depth and normals are then rendered for it.
        classes: names of the classes in the class masks that `apply` takes.
        origin: the data to which it was fitted.
    """

    method: ClassVar[str]
    uses_buffers: ClassVar[bool] = False

    def __init__(self, classes: tuple[str, ...] = (), origin: Origin = Origin()) -> None:
        self.classes, self.origin = classes, origin

    @classmethod
    def fit(
        cls,
        renders: Renders,
        photographs: np.ndarray,
        seed: int,
        settings: Mapping[str, object],
        *,
        device: str = "cpu",
        advance: Advance | None = None,
    ) -> Self:
        """Return a translator from renders to photographs.

        All random numbers come from generators on the CPU that start from the seed.

        Args:
            photographs: uint8 [M, H, W, 3], of the size of the renders.
            settings: replace those of the method.
            device: cpu, cuda or mps.

        Raises:
            InputError: a setting is unknown or not allowed, or there are too few images.
        """
        return cls._fitted(FitInputs(renders, photographs, seed, settings, device, advance))

    @classmethod
    @abstractmethod
    def _fitted(cls, inputs: FitInputs) -> Self:
        """Return the translator for `fit`."""

    @abstractmethod
    def apply(self, image: np.ndarray, buffers: Buffers = UNKNOWN) -> np.ndarray:
        """Return the translated image, uint8 [H, W, 3].

        Args:
            image: uint8 [H, W, 3], of any size.
            buffers: the known buffers of its pixels.
        """

    @abstractmethod
    def _tensors(self) -> dict[str, Tensor]:
        """Return the content of the file besides `_values`."""

    @abstractmethod
    def _values(self) -> dict[str, Any]:
        """Return values that JSON can hold."""

    @classmethod
    @abstractmethod
    def _restored(cls, values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Self:
        """Return the translator of `_values` and `_tensors`."""

    def to(self, device: str) -> Self:
        """Move the translator to a device; return it."""
        del device
        return self

    def save(self, path: Path) -> None:
        """Write the translator into a file atomically.

        Raises:
            InputError: it cannot be written.
        """
        partial = path.with_name(f".{path.name}.partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_bytes(self._bytes())
            partial.replace(path)
        except OSError as error:
            raise InputError(f"{path} cannot be written: {error.strerror or error}") from error

    @property
    def fingerprint(self) -> str:
        """Return a hash of the method and all fitted values."""
        return hashlib.sha256(self._bytes()).hexdigest()[:16]

    @property
    def description(self) -> str:
        """Return a description for the card of a dataset."""
        origin = self.origin
        of = f", fitted to {origin.source} and {origin.count:,} photographs" if origin.count else ""
        return f"{self.method} (model {self.fingerprint}){of}"

    def _bytes(self) -> bytes:
        header = {
            "format": _FORMAT,
            "version": VERSION,
            "method": self.method,
            "classes": self.classes,
            "origin": vars(self.origin),
            "values": self._values(),
        }
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self._tensors().items()}
        return save(tensors, {"metasim": json.dumps(header, sort_keys=True)})


def read_file(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the header and the tensors of a translator's file.

    Raises:
        InputError: there is no such file, or it is not a translator's, or of another version.
    """
    if not path.is_file():
        raise InputError(f"{path}: there is no such model; `metasim translate fit` makes one")
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get("metasim", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError, OSError) as error:
        raise InputError(f"{path} is damaged ({error}); fit the model again") from error
    if header.get("format") != _FORMAT:
        raise InputError(f"{path} is not a translation model; `metasim translate fit` makes one")
    if header.get("version") != VERSION:
        raise InputError(
            f"{path} has version {header.get('version')}; this metasim reads version {VERSION}: fit the model again"
        )
    return header, tensors


def image_generator(image: np.ndarray) -> np.random.Generator:
    """Return a generator that depends only on an image's pixels."""
    digest = hashlib.sha256(np.ascontiguousarray(image).data).digest()
    return generator(int.from_bytes(digest[:8], "little"), Purpose.TRANSLATION)
