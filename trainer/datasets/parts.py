"""Parts of datasets: splits for training and testing, and shards for several machines."""

from dataclasses import dataclass
from pathlib import Path

from trainer.errors import InputError

#: Tolerance of the sum of split fractions.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Shard:
    """Shard `index` of `count` equal shards."""

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Return the shard of a text such as `0/4`.

        Raises:
            InputError: the text has another form, or the first number is not below the second.
        """
        index, slash, count = text.partition("/")
        numbers = index.strip(), count.strip()
        if slash and all(number.isascii() and number.isdecimal() and len(number) < 10 for number in numbers):
            shard = cls(int(index), int(count))
            if shard.index < shard.count:
                return shard
        raise InputError(f"shard {text!r} must be I/N with I from 0 to N - 1, such as 0/4 for the first of four")

    def of(self, indices: range, step: int = 1) -> range:
        """Return the numbers of this shard among `indices`; shards are contiguous and differ by one step at most.

        Args:
            step: shards start at multiples of this.
        """
        steps = -(-len(indices) // step)
        first, end = (step * (steps * number // self.count) for number in (self.index, self.index + 1))
        return indices[first:end]

    @property
    def name(self) -> str:
        """Return the name of the shard's folder."""
        return f"{self.index:05d}-of-{self.count:05d}"


def parse_splits(text: str, count: int) -> list[tuple[str, range]]:
    """Return the names and the scene numbers of splits such as `train=0.8,val=0.1,test=0.1`.

    Splits are contiguous, in the given order.

    Raises:
        InputError: a part of the text is not NAME=FRACTION, the fractions do not add up to 1, or a split is empty.
    """
    fractions: dict[str, float] = {}
    for part in text.split(","):
        name, _, number = (each.strip() for each in part.partition("="))
        try:
            fraction = float(number)
        except ValueError:
            fraction = -1.0
        if not name.isidentifier() or not 0 < fraction <= 1 or name in fractions:
            raise InputError(
                f"split {part.strip()!r} must be NAME=FRACTION, each name once, such as train=0.8,test=0.2"
            )
        fractions[name] = fraction
    total = sum(fractions.values())
    if abs(total - 1) > _ROUNDING:
        raise InputError(f"split {text}: the fractions add up to {total:g}; they must add up to 1")
    splits, begun, start = [], 0.0, 0
    for name, fraction in fractions.items():
        begun += fraction
        end = min(round(begun / total * count), count)
        if end <= start:
            raise InputError(f"split {name} is empty: {fraction:g} of {count} images; use more images")
        splits.append((name, range(start, end)))
        start = end
    return splits


def parts_folder(out: Path) -> Path:
    """Return the folder of a dataset's parts until they are merged."""
    return out.with_name(f"{out.name}.parts")
