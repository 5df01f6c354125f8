"""The random camera and Fourier domain adaptation."""

import numpy as np

from trainer.features.appearance import PhotographicAppearance, RandomCamera, fourier_adapted

NEUTRAL = RandomCamera(
    gamma=(1, 1), gain=(1, 1), offset=(0, 0), balance=(1, 1), blur_px=(0, 0), noise=(0, 0), jpeg_quality=(99, 100)
)


def images(count: int = 4, height: int = 16, width: int = 24) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def test_the_same_generator_gives_the_same_images() -> None:
    one, other = (RandomCamera().apply(images(), np.random.default_rng(5)) for _ in range(2))
    assert (one == other).all()
    assert (one != images()).any()


def test_an_image_does_not_depend_on_the_others() -> None:
    # The seeds of the first images are the same however many follow.
    few, many = (RandomCamera().apply(images(n), np.random.default_rng(5)) for n in (2, 4))
    assert (few == many[:2]).all()


def test_a_share_passes_unchanged() -> None:
    same = (RandomCamera(unchanged=1.0).apply(images(), np.random.default_rng(0)) == images()).all()
    assert same


def test_a_neutral_camera_changes_nothing_but_by_jpeg() -> None:
    flat = np.full((20, 16, 16, 3), 90, dtype=np.uint8)
    assert np.abs(NEUTRAL.apply(flat, np.random.default_rng(0)).astype(int) - 90).max() <= 1


def test_gain_and_offset_act_on_display_values() -> None:
    camera = RandomCamera(
        gamma=(1, 1), gain=(0.5, 0.5), offset=(0.2, 0.2), balance=(1, 1), blur_px=(0, 0), noise=(0, 0), unchanged=0
    )
    flat = np.full((8, 16, 16, 3), 100, dtype=np.uint8)
    assert np.abs(camera.apply(flat, np.random.default_rng(0)).astype(int) - 101).max() <= 2


def test_adaptation_takes_the_target_mean_and_keeps_the_phase() -> None:
    flat_target = np.full((1, 16, 24, 3), 200, dtype=np.uint8)
    low_contrast = (images(3) // 8 + 50).astype(np.uint8)
    adapted = fourier_adapted(low_contrast, flat_target, np.random.default_rng(0), betas=(0.01,))
    assert np.abs(adapted.mean((1, 2)) - 200).max() < 1
    # Only the mean's amplitude changed, so the content is the same but for a constant.
    difference = adapted.astype(float) - low_contrast
    assert np.ptp(difference - difference.mean((1, 2), keepdims=True)) <= 2


def test_adaptation_to_itself_changes_nothing() -> None:
    one = images(1)
    assert np.abs(fourier_adapted(one, one, np.random.default_rng(0)).astype(int) - one).max() <= 1


def test_a_camera_of_known_colours_leaves_brightness_and_balance() -> None:
    flat = np.tile(np.array([90, 120, 150], dtype=np.uint8), (40, 16, 16, 1))

    def means(camera: RandomCamera) -> np.ndarray:
        return camera.apply(flat, np.random.default_rng(0)).astype(float).mean((1, 2))

    known, any_camera = means(RandomCamera().of_known_colours()), means(RandomCamera())
    assert np.abs(known - [90, 120, 150]).max() < 32
    assert known.std(0).max() < 0.5 * any_camera.std(0).min()


def test_a_share_of_the_images_takes_over_low_frequencies_of_photographs() -> None:
    bright = np.full((1, 16, 24, 3), 200, dtype=np.uint8)
    dark = (images(40) // 8 + 50).astype(np.uint8)
    found = [PhotographicAppearance(NEUTRAL, bright)(dark, np.random.default_rng(5)) for _ in range(2)]
    assert (found[0] == found[1]).all()
    adapted = found[0].mean((1, 2, 3)) > 180
    assert 10 < adapted.sum() < 30
    assert np.abs(found[0][~adapted].astype(int) - dark[~adapted]).mean() < 4
