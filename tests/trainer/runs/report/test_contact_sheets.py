"""Contact sheets: every image is where it belongs, in its own pixels."""

import numpy as np
import pytest

from trainer.runs.report.contact_sheets import BACKGROUND, GAP_PX, LARGEST_PX, MARGIN_PX, contact_sheet, paired_sheet


def plain(count: int, height: int, width: int, level: int) -> np.ndarray:
    return np.full((count, height, width, 3), level, dtype=np.uint8)


def test_small_images_are_enlarged_pixel_by_pixel() -> None:
    image = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
    sheet = np.asarray(contact_sheet([("Prior", image)]))
    part = sheet[MARGIN_PX : MARGIN_PX + 64, -MARGIN_PX - 64 : -MARGIN_PX]
    np.testing.assert_array_equal(part, image[0].repeat(2, axis=0).repeat(2, axis=1))


def test_rows_lie_under_each_other_with_the_background_between_them() -> None:
    sheet = np.asarray(contact_sheet([("Prior", plain(3, 64, 64, 0)), ("Target", plain(3, 64, 64, 255))]))
    column = sheet[:, -MARGIN_PX - 1, 0]
    assert column[MARGIN_PX : MARGIN_PX + 64].tolist() == [0] * 64
    assert column[MARGIN_PX + 64 : 2 * MARGIN_PX + 64].tolist() == [BACKGROUND[0]] * MARGIN_PX
    assert column[2 * MARGIN_PX + 64 : 2 * MARGIN_PX + 128].tolist() == [255] * 64
    assert sheet.shape[0] == 3 * MARGIN_PX + 128


def test_more_images_than_columns_continue_below() -> None:
    narrow, wide = (contact_sheet([("Prior", plain(5, 64, 64, 0))], columns=columns) for columns in (4, 5))
    assert narrow.height - wide.height == 64 + GAP_PX
    assert wide.width - narrow.width == 64 + GAP_PX


def test_wide_images_are_reduced_with_their_aspect() -> None:
    sheet = np.asarray(contact_sheet([("Target", plain(1, 188, 620, 0))]))
    assert sheet.shape[0] == 94 + 2 * MARGIN_PX
    assert (sheet[MARGIN_PX + 5, -MARGIN_PX - LARGEST_PX : -MARGIN_PX] == 0).all()


def test_wide_images_stand_in_as_many_columns_as_fit() -> None:
    sheet = contact_sheet([("Target", plain(9, 188, 620, 0))])
    assert sheet.width == contact_sheet([("Target", plain(9, 188, 620, 0))], columns=4).width
    assert contact_sheet([("Target", plain(40, 32, 32, 0))]).width == (
        contact_sheet([("Target", plain(40, 32, 32, 0))], columns=16).width
    )


def test_pairs_stand_under_each_other_in_two_groups() -> None:
    before, after = (np.concatenate([plain(1, 188, 620, 10 * i + j) for i in range(16)]) for j in (0, 5))
    sheet = np.asarray(paired_sheet([("Prior", before), ("Learned", after)]))
    lines = [MARGIN_PX + 20 + line * (94 + MARGIN_PX) for line in range(4)]
    first = sheet.shape[1] - MARGIN_PX - 4 * LARGEST_PX - 3 * GAP_PX
    assert sheet[lines, first + 5, 0].tolist() == [0, 5, 40, 45]
    assert sheet[lines, -MARGIN_PX - 5, 0].tolist() == [30, 35, 70, 75]
    assert sheet.shape[0] == 4 * 94 + 5 * MARGIN_PX, "the other eight are left out"


def test_labels_stand_at_the_left_of_their_rows_and_make_room_for_the_longest() -> None:
    images = plain(1, 64, 64, 0)
    short, long = contact_sheet([("A", images)]), contact_sheet([("A", images), ("A much longer label", images)])
    assert long.width > short.width + 100
    label = np.asarray(short)[:, : short.width - 64 - MARGIN_PX]
    assert (label < 128).any()


def test_a_row_without_images_keeps_its_label() -> None:
    sheet = contact_sheet([("Prior", plain(2, 32, 32, 0)), ("Learned", plain(0, 32, 32, 0))])
    assert sheet.height == 2 * 64 + 3 * MARGIN_PX


@pytest.mark.parametrize(
    ("rows", "columns", "message"),
    [
        ([], 16, "a contact sheet of 0 rows and 16 columns; it needs at least one of each"),
        ([("Prior", plain(1, 8, 8, 0))], 0, "a contact sheet of 1 rows and 0 columns; it needs at least one of each"),
        (
            [("Prior", np.zeros((1, 3, 8, 8), dtype=np.float32))],
            16,
            "the images of row 'Prior' are float32 [1, 3, 8, 8]; uint8 [N, H, W, 3] is needed",
        ),
    ],
)
def test_what_is_no_row_of_images_is_named(rows: list, columns: int, message: str) -> None:
    with pytest.raises(ValueError) as raised:  # noqa: PT011
        contact_sheet(rows, columns)
    assert str(raised.value) == message
