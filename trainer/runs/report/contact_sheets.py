"""Contact sheets: labelled rows of images."""

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

#: Smaller images are enlarged by a whole factor until their shorter side reaches this.
SMALLEST_PX = 64
#: Wider images are reduced to this width.
LARGEST_PX = 310
GAP_PX = 4
#: Between rows of different origin, and around the sheet.
MARGIN_PX = 14
FONT_PX = 18
#: Maximum width of a row, and maximum number of its images.
MOST_WIDTH_PX, MOST_COLUMNS = 1300, 16
#: Groups of rows in the picture of an epoch.
MOST_GROUPS = 2
BACKGROUND = (238, 238, 236)
TEXT = (40, 40, 40)


def paired_sheet(rows: Sequence[tuple[str, np.ndarray]]) -> Image.Image:
    """Return a contact sheet whose rows correspond by index: matching images are aligned in columns.

    Images that do not fit into one row continue in a second group of rows; the rest is left out.
    """
    columns = _columns(rows)
    longest = max((len(images) for _, images in rows), default=0)
    starts = range(0, max(longest, 1), columns)[:MOST_GROUPS]
    return contact_sheet([(label, images[i : i + columns]) for i in starts for label, images in rows], columns)


def contact_sheet(rows: Sequence[tuple[str, np.ndarray]], columns: int | None = None) -> Image.Image:
    """Arrange images in rows with a label to the left of each.

    Args:
        rows: label and images, uint8 [N, H, W, 3] (or [N, H, W] for grey ones); a label may have several lines.
            More images than columns continue on a further line of the same row.
        columns: images side by side; None: as many as fit.

    Returns:
        An RGB picture. Small images are enlarged without smoothing.

    Raises:
        ValueError: there are no rows, or one is no batch of images.
    """
    if columns is None:
        columns = _columns(rows)
    if not rows or columns < 1:
        raise ValueError(f"a contact sheet of {len(rows)} rows and {columns} columns; it needs at least one of each")
    thumbnails = [(label, [_thumbnail(image) for image in _checked(label, images)]) for label, images in rows]
    across = max(1, min(columns, max(len(images) for _, images in thumbnails)))
    sizes = [image.size for _, images in thumbnails for image in images] or [(SMALLEST_PX, SMALLEST_PX)]
    width, height = (max(side) for side in zip(*sizes, strict=True))
    font = ImageFont.load_default(FONT_PX)
    boxes = [ImageDraw.Draw(Image.new("RGB", (1, 1))).multiline_textbbox((0, 0), label, font) for label, _ in rows]
    left = MARGIN_PX + math.ceil(max(box[2] for box in boxes)) + MARGIN_PX
    lines = [max(1, math.ceil(len(images) / across)) for _, images in thumbnails]
    row_heights = [
        max(count * (height + GAP_PX) - GAP_PX, math.ceil(box[3])) for count, box in zip(lines, boxes, strict=True)
    ]
    sheet = Image.new(
        "RGB",
        (left + across * (width + GAP_PX) - GAP_PX + MARGIN_PX, sum(row_heights) + MARGIN_PX * (len(rows) + 1)),
        BACKGROUND,
    )
    draw = ImageDraw.Draw(sheet)
    top = MARGIN_PX
    for (label, images), row_height, box in zip(thumbnails, row_heights, boxes, strict=True):
        middle = top + row_height / 2 - (box[1] + box[3]) / 2
        draw.multiline_text((MARGIN_PX, middle), label, TEXT, font)
        for index, image in enumerate(images):
            line, column = divmod(index, across)
            sheet.paste(image, (left + column * (width + GAP_PX), top + line * (height + GAP_PX)))
        top += row_height + MARGIN_PX
    return sheet


def _columns(rows: Sequence[tuple[str, np.ndarray]]) -> int:
    """Return the number of images that fit side by side."""
    widths = [_thumbnail(images[0]).width for label, images in rows if len(_checked(label, images))]
    return min(MOST_COLUMNS, max(1, MOST_WIDTH_PX // (max(widths, default=SMALLEST_PX) + GAP_PX)))


def _checked(label: str, images: np.ndarray) -> np.ndarray:
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] != 3):
        raise ValueError(
            f"the images of row {label!r} are {images.dtype} {list(images.shape)}; uint8 [N, H, W, 3] is needed"
        )
    return images


def _thumbnail(image: np.ndarray) -> Image.Image:
    picture = Image.fromarray(image).convert("RGB")
    shorter = min(picture.size)
    if shorter < SMALLEST_PX:
        factor = math.ceil(SMALLEST_PX / shorter)
        return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
    if picture.width > LARGEST_PX:
        size = (LARGEST_PX, max(1, round(picture.height * LARGEST_PX / picture.width)))
        return picture.resize(size, Image.Resampling.LANCZOS)
    return picture
