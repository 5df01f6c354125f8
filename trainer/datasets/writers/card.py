"""The dataset card: the README.md of every exported dataset."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from trainer.datasets.writers.sample import Need

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))

#: The definitions of labels, the same in all formats.
_DEFINITIONS = {
    Need.BOXES: "Boxes and masks are read off the rendered scene: an object's visible pixels are those at whose\n"
    "  centre it is the nearest thing that is at least half opaque. Objects without a visible pixel are left out.",
    Need.MASKS: "A class mask holds the number of the class at each pixel, 0 where there is none.",
    Need.DEPTH: "Depth is the distance along the camera's axis, not along the ray.",
    Need.SILHOUETTES: "A silhouette is what would be seen of an object if nothing else were in the scene, as far as\n"
    "  it lies in the image.",
}


@dataclass(frozen=True)
class DatasetCard:
    """The content of a dataset's card."""

    title: str
    #: A description of the images in one or two sentences.
    description: str
    #: The source of the scenes: the run or the grammar.
    source: str
    #: The seed of the dataset.
    seed: int
    #: The command line that reproduces the dataset.
    command: str = ""
    #: Rendering: engine, size, samples.
    rendering: str = ""
    #: Licence or origin of each set of assets in the images, by the set's name.
    asset_licences: Mapping[str, str] = field(default_factory=dict)
    #: All classes of objects; a class's number is its position here, from 1.
    classes: tuple[str, ...] = ()
    #: All meshes of objects, and the classes of objects without meshes; see `Instance.model`.
    models: tuple[str, ...] = ()
    #: The condition on scenes; empty: all scenes are kept.
    kept: str = ""
    #: The number of the split in the dataset.
    split_number: int = 0
    #: The encoding of images in the syntax of `Encoding.parse`.
    images: str = "png"
    #: Number of images in the dataset; 0: unknown.
    count: int = 0
    #: Images per file, in formats with many images per file.
    per_file: int = 1000
    #: The translation of the images' appearance; empty: none.
    translation: str = ""
    #: Hash of the first scene; it changes with the grammar, model and assets.
    fingerprint: str = ""

    def markdown(self, counts: "Counts", layout: str, needs: Need, *, read_back: bool = True) -> str:
        """Return the card as Markdown.

        Args:
            layout: the description of the files of this format, as Markdown.
            needs: labels in the dataset.
            read_back: whether audited images were read back from the files.
        """
        count = sum(counts.labels.values())
        lines = [
            "---",
            f"pretty_name: {_quoted(self.title)}",
            "license: other",
            f"size_categories: [{next((size for limit, size in _SIZES if count < limit), 'n>1M')}]",
            "tags: [synthetic, metasim]",
            "---",
            "",
            f"# {self.title}",
            "",
            self.description,
            "",
            "## How it was made",
            "",
            "Synthetic: every image was rendered by [Meta-Sim](https://arxiv.org/abs/1904.11621) from a sampled scene,",
            "so its labels are exact.",
            "",
            f"* Source: {self.source}",
            f"* Seed: {self.seed}",
        ]
        if self.rendering:
            lines.append(f"* Rendering: {self.rendering}")
        if self.translation:
            lines.append(f"* Appearance: translated by {self.translation}; labels are those of the renders")
        if self.kept:
            lines.append(
                f"* Kept: scenes with `{self.kept}`, {count / max(counts.drawn, 1):.1%} of {counts.drawn:,} drawn"
            )
        if counts.audited:
            again = " and read back from these files" if read_back else ""
            lines.append(
                f"* Audit: {counts.audited:,} images with {counts.audited_objects:,} objects were rendered with all "
                f"labels{again}; masks, boxes, classes, ids and projections agree"
            )
        if self.command:
            lines += ["", "The same dataset again:", "", f"    {self.command}"]
        lines += ["", "## Files", "", layout.strip(), *self._labels(counts, needs)]
        lines += ["", "## Counts", "", "| label | images |", "| --- | ---: |"]
        ordered = sorted(counts.labels.items(), key=lambda item: _order(item[0]))
        lines += [f"| {'(none)' if label is None else label} | {images} |" for label, images in ordered]
        lines += [f"| all | {count} |", "", "## Licence", ""]
        lines.append(
            "The scenes and labels are the work of whoever rendered them. Their assets have licences of their own:"
        )
        lines.append("")
        lines += [f"* {name}: {licence}" for name, licence in self.asset_licences.items()] or ["* no assets were used"]
        return "\n".join(lines) + "\n"

    def overview(self, counts: Mapping[str, int], format_name: str) -> str:
        """Return the card of a dataset of several splits, whose own cards lie in their folders.

        Args:
            counts: images of each split.
        """
        lines = []
        if format_name.startswith(
            "parquet"
        ):  # With this entry, `datasets.load_dataset` of the folder finds the splits.
            files = [line for name in counts for line in (f"  - split: {name}", f"    path: {name}/data/*.parquet")]
            lines += ["---", "configs:", "- config_name: default", "  data_files:", *files, "---", ""]
        lines += [f"# {self.title}", "", self.description, "", f"* Source: {self.source}", f"* Seed: {self.seed}"]
        lines += [
            "",
            "The same dataset again:",
            "",
            f"    {self.command}",
            "",
            f"Each folder is a {format_name} dataset:",
        ]
        lines += [
            "",
            "| folder | images |",
            "| --- | ---: |",
            *(f"| {name} | {count} |" for name, count in counts.items()),
        ]
        return "\n".join(lines) + "\n"

    def _labels(self, counts: "Counts", needs: Need) -> list[str]:
        if not needs:
            return []
        lines = ["", "## Labels", "", *(f"* {text}" for need, text in _DEFINITIONS.items() if need in needs)]
        if not self.classes:
            return lines
        lines += ["", "| number | class | objects |", "| ---: | --- | ---: |"]
        lines += [f"| {place} | {name} | {counts.objects[name]} |" for place, name in enumerate(self.classes, 1)]
        return lines


@dataclass
class Counts:
    """Counts of a dataset.

    Attributes:
        labels: number of images by label; None: no label.
        objects: number of objects with visible pixels by class.
        drawn: number of scenes drawn for the images.
        audited, audited_objects: numbers of images and objects whose labels were checked.
    """

    labels: Counter[int | str | None] = field(default_factory=Counter)
    objects: Counter[str] = field(default_factory=Counter)
    drawn: int = 0
    audited: int = 0
    audited_objects: int = 0


def _order(label: int | str | None) -> tuple[int, int, str]:
    """Return a sort key: numbers first, then names, then no label."""
    if isinstance(label, int):
        return 0, label, ""
    return (2, 0, "") if label is None else (1, 0, label)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
