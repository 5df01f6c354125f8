"""The dataset card: the README.md that lies in every exported dataset."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


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

    def markdown(self, labels: Counter[int | str | None], layout: str) -> str:
        """The card as a file.

        Args:
            labels: how many images have which label (None: no label).
            layout: what the files of this format are, as Markdown.
        """
        count = sum(labels.values())
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
        lines += ["", "## Files", "", layout.strip(), "", "## Counts", "", "| label | images |", "| --- | ---: |"]
        ordered = sorted(labels.items(), key=lambda item: _order(item[0]))
        lines += [f"| {'(none)' if label is None else label} | {images} |" for label, images in ordered]
        lines += [f"| all | {count} |", "", "## Licence", ""]
        lines.append(
            "The scenes and labels are the work of whoever rendered them. Their assets have licences of their own:"
        )
        lines.append("")
        lines += [f"* {name}: {licence}" for name, licence in self.asset_licences.items()] or ["* no assets were used"]
        return "\n".join(lines) + "\n"


def _order(label: int | str | None) -> tuple[int, int, str]:
    """Numbers first, then names, then no label."""
    if isinstance(label, int):
        return 0, label, ""
    return (2, 0, "") if label is None else (1, 0, label)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
