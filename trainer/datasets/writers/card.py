"""The dataset card: the README.md that lies in every exported dataset."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from trainer.datasets.writers.sample import Need

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))

#: What labels mean, whatever the format writes them as.
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
    """What a dataset says about itself."""

    title: str
    #: What is to be seen in the images, in a sentence or two.
    description: str
    #: Where the scenes come from: the run or the grammar.
    source: str
    #: The seed that the dataset was sampled with.
    seed: int
    #: The command line that makes the same dataset again.
    command: str = ""
    #: How it was rendered: engine, size, samples.
    rendering: str = ""
    #: Licence or origin of each set of assets in the images, by the set's name.
    asset_licences: Mapping[str, str] = field(default_factory=dict)
    #: Every class that objects can have; a class's number is its place here, from 1.
    classes: tuple[str, ...] = ()
    #: Every mesh that an object can show, and the classes of other objects; see `Instance.model`.
    models: tuple[str, ...] = ()
    #: Of the first scene: another grammar, model or asset gives another one.
    fingerprint: str = ""

    def markdown(self, counts: "Counts", layout: str, needs: Need) -> str:
        """The card as a file.

        Args:
            layout: what the files of this format are, as Markdown.
            needs: which labels it has.
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
    """What is in a dataset.

    Attributes:
        labels: how many images have which label; None: no label.
        objects: how many objects with visible pixels have which class.
    """

    labels: Counter[int | str | None] = field(default_factory=Counter)
    objects: Counter[str] = field(default_factory=Counter)


def _order(label: int | str | None) -> tuple[int, int, str]:
    """Numbers first, then names, then no label."""
    if isinstance(label, int):
        return 0, label, ""
    return (2, 0, "") if label is None else (1, 0, label)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
