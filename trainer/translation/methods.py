"""The translation methods by their `--method` names."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from types import MappingProxyType

from trainer.errors import InputError
from trainer.translation.colour import ColourTranslator
from trainer.translation.cut import CutTranslator
from trainer.translation.fourier import FourierTranslator
from trainer.translation.translator import Origin, Translator, read_file

METHODS: Mapping[str, type[Translator]] = MappingProxyType(
    {each.method: each for each in (ColourTranslator, FourierTranslator, CutTranslator)}
)


def method_of(name: str) -> type[Translator]:
    """Return a method by its name.

    Raises:
        InputError: the name is unknown.
    """
    if name not in METHODS:
        raise InputError(f"method {name!r} is unknown; allowed: {', '.join(METHODS)}")
    return METHODS[name]


def open_translator(path: Path, device: str = "cpu") -> Translator:
    """Return the translator of a file.

    Raises:
        InputError: the file is missing, damaged, not a translator's, or of another version.
    """
    header, tensors = read_file(path)
    try:
        translator = method_of(header["method"])._restored(header["values"], tensors)
        translator.classes = tuple(header["classes"])
        translator.origin = Origin(**{each.name: header["origin"][each.name] for each in fields(Origin)})
    except (KeyError, TypeError, RuntimeError) as error:
        raise InputError(f"{path} is damaged ({_first_line(error)}); fit the model again") from error
    return translator.to(device)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
