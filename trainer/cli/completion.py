"""Shell completion of experiments, runs and formats. Without a match, the shell completes files."""

from collections.abc import Iterable
from pathlib import Path

#: The keys of `trainer.datasets.writers.FORMATS`, whose import takes too long.
FORMATS = (
    *("bop", "coco", "coco-rle", "idx", "idx-gz", "imagefolder", "imagefolder-masks", "kitti"),
    *("parquet", "parquet-masks", "voc", "webdataset", "webdataset-masks", "yolo", "yolo-seg"),
)


def experiments(incomplete: str) -> list[str]:
    """Return the built-in grammars and experiments."""
    from trainer.environment import shipped_files

    return _fitting(shipped_files(), incomplete)


def sources(incomplete: str) -> list[str]:
    """Return the runs of the working folder, grammars and experiments."""
    return runs(incomplete) + experiments(incomplete)


def runs(incomplete: str) -> list[str]:
    """Return the run folders in the default place of `metasim train`."""
    return _fitting((str(path.parent) for path in sorted(Path("runs").glob("*/config.json"))), incomplete)


def formats(incomplete: str) -> list[str]:
    """Return the formats of datasets."""
    return _fitting(FORMATS, incomplete)


def _fitting(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]
