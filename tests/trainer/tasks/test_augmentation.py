"""Varied images keep their boxes on their objects."""

import pytest
import torch

from trainer.tasks.augmentation import photographed, varied, zoomed


def blocks(count: int) -> tuple[torch.Tensor, list]:
    images = torch.zeros(count, 3, 48, 64)
    shown = []
    for image in images:
        image[:, 12:28, 20:44] = 1.0
        shown.append(([(20.0, 12.0, 44.0, 28.0)], [1], []))
    return images, shown


def test_boxes_follow_the_pixels() -> None:
    images, shown = zoomed(*blocks(200), 0.4, torch.Generator().manual_seed(0))
    widths = []
    for image, (boxes, classes, ignored) in zip(images, shown, strict=True):
        (box,) = [*boxes, *ignored]
        assert classes == [1] * len(boxes)
        rows, columns = ((image[0] > 0.5).any(dim).nonzero().flatten() for dim in (1, 0))
        assert (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1) == pytest.approx(box, abs=1.01)
        widths.append(box[2] - box[0])
    assert min(widths) == pytest.approx(24 / 1.4, abs=0.5)
    assert max(widths) == pytest.approx(24 * 1.4, abs=0.5)


def test_boxes_that_are_mostly_cut_off_are_ignored() -> None:
    image = torch.zeros(100, 3, 48, 64)
    shown = [([(0.0, 0.0, 8.0, 8.0)], [0], [(56.0, 40.0, 64.0, 48.0)])] * 100
    _, cut = zoomed(image, shown, 0.5, torch.Generator().manual_seed(0))
    kept, ignored = [len(boxes) for boxes, _, _ in cut], [len(each) for _, _, each in cut]
    assert set(kept) == {0, 1}
    assert set(ignored) == {0, 1, 2}
    for boxes, _, rest in cut:
        for left, top, right, bottom in (*boxes, *rest):
            assert 0 <= left < right <= 64
            assert 0 <= top < bottom <= 48


def test_colours_vary_by_channel_only_where_asked() -> None:
    grey = torch.full((50, 3, 4, 4), 0.6)
    same = varied(grey, 0.2, 0.0, torch.Generator().manual_seed(0))
    assert torch.equal(same[:, 0], same[:, 1])
    other = varied(grey, 0.0, 0.2, torch.Generator().manual_seed(0))
    assert float((other[:, 0] - other[:, 1]).abs().max()) > 0.01
    assert float((other - grey).abs().max()) <= 0.1 * 0.2 + 1e-6


def test_photographed_images_differ_by_their_camera_alone() -> None:
    images = torch.full((6, 20, 16, 3), 120, dtype=torch.uint8)
    one, other = (photographed(images, torch.Generator().manual_seed(seed)) for seed in (0, 0))
    assert torch.equal(one, other)
    assert one.dtype == torch.uint8
    assert one.shape == images.shape
    assert len({round(float(each.float().mean())) for each in one}) > 3
