"""Mapping between a dataset's classes and the grammar's classes."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from trainer.datasets.dataset import ImageDataset
from trainer.errors import InputError


@dataclass(frozen=True)
class ClassNames:
    """Maps a dataset's classes to a grammar's: by an explicit mapping, otherwise by name, ignoring case.

    Attributes:
        given: names of the dataset's classes that its files list.
        classes: names of the grammar's classes.
        mapping: name in the dataset: name in the grammar.
    """

    given: tuple[str, ...]
    classes: tuple[str, ...]
    mapping: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls, dataset: ImageDataset, classes: Sequence[str], mapping: Mapping[str, str] | None = None
    ) -> "ClassNames":
        """Return the mapping between a dataset's classes and a grammar's.

        Raises:
            InputError: the mapping names a class that the dataset or the grammar does not have.
        """
        names = cls(tuple(dataset.classes), tuple(classes), dict(mapping or {}))
        for source, target in names.mapping.items():
            for kind, name, known in (
                (f"{dataset.folder}", source, names.given),
                ("the grammar", target, names.classes),
            ):
                if known and name.lower() not in {other.lower() for other in known}:
                    near = difflib.get_close_matches(name, known, 1)
                    hint = f" (near: {near[0]!r})" if near else ""
                    raise InputError(
                        f"classes: {source}={target}: {kind} has no class {name!r}{hint}; it has: {', '.join(known)}"
                    )
        return names

    def check(self, folder: str) -> None:
        """
        Raises:
            InputError: the dataset names its classes, and none of them is one of the grammar's.
        """
        strange, _ = self.unmatched()
        if self.given and len(strange) == len(self.given):
            raise InputError(
                f"{folder}: none of its classes ({', '.join(self.given)}) is one of the grammar's "
                f"({', '.join(self.classes) or 'none'}); map them in target.classes"
            )

    def number(self, name: str) -> int | None:
        """Return the index of the grammar's class for a class of the dataset; None: it has none."""
        return self._numbers.get(self._mapped(name).lower())

    def name(self, name: str) -> str:
        """Return the grammar's name for a class of the dataset; the dataset's own name if it has none."""
        number = self.number(name)
        return self._mapped(name) if number is None else self.classes[number]

    def unmatched(self) -> tuple[list[str], list[str]]:
        """Return the unmatched classes of the dataset, and those of the grammar."""
        numbers = [self.number(name) for name in self.given]
        strange = [name for name, number in zip(self.given, numbers, strict=True) if number is None]
        return strange, [name for number, name in enumerate(self.classes) if number not in numbers]

    def advice(self) -> str:
        """Return advice for messages: the grammar's classes, and how to map one."""
        return f"allowed: {', '.join(self.classes)}; or map it to one of them in target.classes"

    def note(self) -> str | None:
        """Return a line with the unmatched classes; None: all match, or the dataset names no classes."""
        strange, missing = self.unmatched()
        if not self.given or not (strange or missing):
            return None
        parts = []
        if strange:
            parts.append(f"not in the grammar: {', '.join(strange)}")
        if missing:
            parts.append(f"not in the dataset: {', '.join(missing)}")
        return f"classes of the target that do not match by name: {'; '.join(parts)}"

    @property
    def _numbers(self) -> dict[str, int]:
        return {name.lower(): place for place, name in enumerate(self.classes)}

    def _mapped(self, name: str) -> str:
        return next((target for source, target in self.mapping.items() if source.lower() == name.lower()), name)
