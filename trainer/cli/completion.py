"""What the shell completes, beyond commands, options and their fixed values. Where nothing fits, it completes files."""

from collections.abc import Iterable
from pathlib import Path

#: Those of `trainer.datasets.writers.FORMATS`, which takes too long to import for a key that was pressed.
FORMATS = (
    *("bop", "coco", "coco-rle", "idx", "idx-gz", "imagefolder", "imagefolder-masks", "kitti"),
    *("voc", "webdataset", "webdataset-masks", "yolo", "yolo-seg"),
)


def experiments(incomplete: str) -> list[str]:
    """Grammars and experiments that ship."""
    from trainer.settings import shipped_files

    return _fitting(shipped_files(), incomplete)


def sources(incomplete: str) -> list[str]:
    """What datasets are made of: runs of the working folder, grammars, experiments."""
    return runs(incomplete) + experiments(incomplete)


def runs(incomplete: str) -> list[str]:
    """Run folders where `metasim train` puts them."""
    return _fitting((str(path.parent) for path in sorted(Path("runs").glob("*/config.json"))), incomplete)


def formats(incomplete: str) -> list[str]:
    """Formats of datasets."""
    return _fitting(FORMATS, incomplete)


def _fitting(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]
