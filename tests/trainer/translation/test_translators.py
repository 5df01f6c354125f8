"""Methods of translation: results, files, and mistakes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from trainer.errors import InputError
from trainer.translation import METHODS, Buffers, Origin, Renders, Translator, method_of, open_translator
from trainer.translation.cut import batch_of

RNG = np.random.default_rng(0)
PHOTOGRAPHS = RNG.integers(120, 256, (6, 32, 40, 3), dtype=np.uint8)
IMAGES = RNG.integers(0, 160, (5, 32, 40, 3), dtype=np.uint8)
MASKS = RNG.integers(0, 3, (5, 32, 40))
DEPTH = np.where(MASKS > 0, 2.0, np.inf).astype(np.float32)
RENDERS = Renders(IMAGES, [Buffers(mask, depth) for mask, depth in zip(MASKS, DEPTH, strict=True)], ("cat", "dog"))
#: Settings that make a fit take no time.
QUICK: dict[str, dict[str, object]] = {
    "color": {},
    "fourier": {"beta": 0.05},
    "cut": {"steps": 2, "width": 4, "blocks": 1, "judge_width": 4, "patches": 8},
}


def fitted(method: str, seed: int = 0, **settings: object) -> Translator:
    return method_of(method).fit(RENDERS, PHOTOGRAPHS, seed, {**QUICK[method], **settings})


@pytest.fixture(scope="module", params=list(METHODS))
def translator(request: pytest.FixtureRequest) -> Translator:
    return fitted(request.param)


def test_a_file_holds_all_of_a_translator(translator: Translator, tmp_path: Path) -> None:
    translator.classes, translator.origin = ("cat", "dog"), Origin("the prior of pets", "photos", 6, 3)
    translator.save(tmp_path / "model")
    again = open_translator(tmp_path / "model")
    assert (again.classes, again.origin) == (translator.classes, translator.origin)
    assert again.fingerprint == translator.fingerprint
    assert translator.fingerprint in again.description
    assert "6 photographs" in again.description
    for image, buffers in zip(IMAGES, RENDERS.buffers, strict=True):
        np.testing.assert_array_equal(again.apply(image, buffers), translator.apply(image, buffers))


def test_the_same_seed_gives_the_same_model(translator: Translator) -> None:
    state = torch.get_rng_state()
    again = fitted(translator.method)
    again.classes, again.origin = translator.classes, translator.origin
    assert again.fingerprint == translator.fingerprint
    assert torch.equal(torch.get_rng_state(), state), "the global generator was used"


def test_another_seed_gives_another_model() -> None:
    assert fitted("cut", seed=1).fingerprint != fitted("cut", seed=2).fingerprint


def test_images_of_any_size_keep_it(translator: Translator) -> None:
    for shape in ((32, 40, 3), (19, 23, 3), (64, 33, 3)):
        image = RNG.integers(0, 256, shape, dtype=np.uint8)
        found = translator.apply(image)
        assert (found.shape, found.dtype) == (shape, np.uint8)
        np.testing.assert_array_equal(translator.apply(image), found)


@pytest.mark.parametrize("matching", ["transport", "moments"])
def test_colours_become_those_of_the_photographs(matching: str) -> None:
    translator = fitted("color", matching=matching)
    found = np.stack([translator.apply(image) for image in IMAGES])
    assert np.abs(found.mean((0, 1, 2)) - PHOTOGRAPHS.mean((0, 1, 2))).max() < 6
    assert np.abs(IMAGES.mean((0, 1, 2)) - PHOTOGRAPHS.mean((0, 1, 2))).min() > 90


def test_fourier_takes_the_mean_of_one_of_the_photographs() -> None:
    photographs = np.stack([np.full((32, 40, 3), value, np.uint8) for value in (90, 120, 150)])
    translator = method_of("fourier").fit(RENDERS, photographs, 0, {"beta": 0})
    means = [translator.apply(image // 4 + 100).mean() for image in IMAGES]
    assert {round(mean) for mean in means} <= {90, 120, 150}
    assert len({round(mean) for mean in means}) > 1, "every image took the same photograph"


def test_an_untrained_network_leaves_matched_colours_alone() -> None:
    translator = fitted("cut", steps=1, learning_rate=1e-12)
    colours = fitted("color")
    for image, buffers in zip(IMAGES, RENDERS.buffers, strict=True):
        difference = translator.apply(image, buffers).astype(int) - colours.apply(image)
        assert np.abs(difference).max() <= 1


def test_the_network_sees_the_buffers_of_a_render() -> None:
    translator = fitted("cut", steps=3, learning_rate=0.05, unguided=0)
    guided, other = (translator.apply(IMAGES[0], Buffers(mask)) for mask in (MASKS[0], MASKS[1]))
    assert (guided != other).any()


def test_a_batch_has_about_as_many_pixels_as_stated() -> None:
    assert batch_of(128, 256, 32_768) == (128, 256, 1)
    assert batch_of(188, 620, 32_768) == (96, 328, 1)
    assert batch_of(64, 64, 32_768) == (64, 64, 8)
    assert batch_of(147, 112, 32_768) == (144, 112, 2)
    assert batch_of(1001, 2001, 0) == (1000, 2000, 1)


@pytest.mark.parametrize(
    ("method", "settings", "message"),
    [
        ("color", {"matching": "magic"}, "matching is 'magic': input should be 'transport' or 'moments'"),
        ("fourier", {"beta": 0.7}, "beta is 0.7: input should be less than 0.5"),
        ("cut", {"stepz": 5}, "stepz: unknown key; did you mean 'steps'?"),
        ("cut", {"steps": 0}, "steps is 0: input should be greater than or equal to 1"),
    ],
)
def test_wrong_settings(method: str, settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as error:
        method_of(method).fit(RENDERS, PHOTOGRAPHS, 0, settings)
    assert str(error.value).startswith(message)


def test_too_few_photographs_for_a_network() -> None:
    with pytest.raises(InputError, match="3 photographs are too few for method cut; at least 4 are needed"):
        method_of("cut").fit(RENDERS, PHOTOGRAPHS[:3], 0, QUICK["cut"])


def test_an_image_too_small_for_the_frequencies() -> None:
    with pytest.raises(
        InputError, match="an image of 3 x 3 px is too small for 1 periods; give images of at least 4 px"
    ):
        fitted("fourier").apply(np.zeros((3, 3, 3), np.uint8))


def test_files_that_are_no_models(tmp_path: Path) -> None:
    path = tmp_path / "model"
    with pytest.raises(InputError, match="there is no such model; `metasim translate fit` makes one"):
        open_translator(path)
    path.write_bytes(b"nothing")
    with pytest.raises(InputError, match="is damaged"):
        open_translator(path)
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(InputError, match="is not a translation model"):
        open_translator(path)
    save_file({"x": torch.zeros(1)}, path, {"metasim": '{"format": "metasim-translator", "version": 99}'})
    with pytest.raises(InputError, match="has version 99; this metasim reads version 1: fit the model again"):
        open_translator(path)
    save_file(
        {"x": torch.zeros(1)}, path, {"metasim": '{"format": "metasim-translator", "version": 1, "method": "color"}'}
    )
    with pytest.raises(InputError, match="is damaged"):
        open_translator(path)


def test_an_unknown_method() -> None:
    with pytest.raises(InputError, match="method 'munit' is unknown; allowed: color, fourier, cut"):
        method_of("munit")
