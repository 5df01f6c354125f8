"""The part of a run's report that shows pictures: the same scenes before and after, beside the target, by epoch."""

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

#: Pictures of epochs that a page holds at most, and their size together. The last epoch's is always there.
MOST_SHEETS, MOST_SHEET_BYTES = 12, 4 << 20


def epoch_pictures(folder: Path) -> str:
    """The pictures of the epochs, of which the page's slider shows one."""
    sheets = {int(path.stem.removeprefix("epoch-")): path for path in sorted(folder.glob("epoch-*.png"))}
    if not sheets:
        return '<p class="soft">There are no pictures yet.</p>'
    chosen = _chosen([epoch for epoch in sheets if epoch > 0] or list(sheets), sheets)
    images = "".join(_image(sheets[epoch], epoch, hidden=epoch != chosen[-1]) for epoch in chosen)
    return (
        f'<figure><div class="sheet">{images}</div><figcaption>Scenes of the prior; under each, the same scene as the '
        "learned model changes it; images of the target, which have no counterparts.</figcaption></figure>"
    )


def _chosen(epochs: Sequence[int], sheets: Mapping[int, Path]) -> list[int]:
    """As many of the epochs, evenly spaced, as the page has room for; the last one among them."""
    for count in range(min(MOST_SHEETS, len(epochs)), 1, -1):
        chosen = [epochs[round(place)] for place in np.linspace(0, len(epochs) - 1, count)]
        if sum(sheets[epoch].stat().st_size for epoch in chosen) <= MOST_SHEET_BYTES:
            return chosen
    return [epochs[-1]]


def _image(path: Path, epoch: int, *, hidden: bool) -> str:
    content = path.read_bytes()
    with Image.open(io.BytesIO(content)) as image:
        width, height = image.size
    return (
        f'<img data-epoch="{epoch}" width="{width}" height="{height}"{" hidden" if hidden else ""} '
        f'alt="Prior, learned and target images after epoch {epoch}" '
        f'src="data:image/png;base64,{base64.b64encode(content).decode()}">'
    )
