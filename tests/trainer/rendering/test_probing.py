"""The options of the render operation: what is allowed, what `auto` means."""

import pytest
from metasim.v1 import render_pb2 as pb

from trainer.errors import InputError
from trainer.inference.training_settings import TrainingSettings
from trainer.rendering import Probing

DIGITS = pb.RenderSettings(width_px=64, height_px=64)
STREET = pb.RenderSettings(width_px=620, height_px=188)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mode": "fast"}, "training.probing.mode is 'fast'; allowed: auto, jacobian, vjp"),
        ({"difference": 2}, "training.probing.difference is 2; allowed: central, forward"),
        ({"audit": float("nan")}, "training.probing.audit is nan; it must lie from 0 to 1"),
        ({"audit": 1.5}, "training.probing.audit is 1.5; it must lie from 0 to 1"),
        (
            {"samples": 0},
            "training.probing.samples is 0; it must be a whole number from 1, or left out for those of the image",
        ),
        ({"shards": True}, "training.probing.shards is true; it must be a whole number from 1, or auto"),
        ({"full_frame": 1}, "training.probing.full_frame is 1; it must be true or false"),
        (
            {"sample": 4},
            "training.probing.sample: unknown key; did you mean 'samples'? "
            "Known: mode, difference, samples, audit, shards, method, full_frame",
        ),
        ("vjp", "training.probing is 'vjp'; write for example training.probing.mode=vjp"),
    ],
)
def test_mistakes_are_named_in_one_line(values: object, message: str) -> None:
    with pytest.raises(InputError) as error:
        TrainingSettings.parse({"probing": values})

    assert str(error.value) == message


def test_training_takes_the_options_as_a_section() -> None:
    settings = TrainingSettings.parse({"epochs": 2, "probing": {"mode": "vjp", "samples": 4}})

    assert settings.probing == Probing(mode="vjp", samples=4)
    assert TrainingSettings.parse({}).probing == Probing()


def test_the_wire_says_how_to_probe() -> None:
    assert Probing().wire() == pb.ProbeSettings(difference=pb.DIFFERENCE_CENTRAL)
    assert Probing(difference="forward", samples=2, full_frame=True).wire() == pb.ProbeSettings(
        difference=pb.DIFFERENCE_FORWARD, samples=2, full_frame=True
    )


def test_auto_takes_small_differences_home_and_sends_gradients_of_large_frames() -> None:
    assert Probing().keeps_differences(DIGITS, [3] * 64)
    assert not Probing().keeps_differences(STREET, [180] * 16)
    assert Probing(mode="jacobian").keeps_differences(STREET, [180] * 16)
    assert not Probing(mode="vjp").keeps_differences(DIGITS, [1])


def test_columns_are_split_where_workers_would_be_idle() -> None:
    assert Probing().shards_of(180, scenes=16, processes=2) == 1
    assert Probing().shards_of(180, scenes=16, processes=33) == 3
    assert Probing().shards_of(2, scenes=1, processes=33) == 2
    assert Probing().shards_of(0, scenes=1, processes=33) == 1
    assert Probing(shards=5).shards_of(180, scenes=16, processes=1) == 5


def test_screen_space_goes_with_products_and_keeps_a_scene_in_one_task() -> None:
    probing = Probing(method="auto")
    assert not probing.keeps_differences(pb.RenderSettings(width_px=8, height_px=8), [3])
    assert probing.shards_of(100, scenes=1, processes=8) == 1
    assert probing.wire(180) == pb.ProbeSettings(
        difference=pb.DIFFERENCE_CENTRAL, method=pb.PROBE_METHOD_SCREEN_SPACE, exact_columns=8
    )
    assert Probing(method="screen").wire(180).exact_columns == 0
    assert Probing().wire(180).method == pb.PROBE_METHOD_UNSPECIFIED
    with pytest.raises(InputError, match="method is 'screen'; with mode=jacobian it must be exact"):
        Probing.parse({"mode": "jacobian", "method": "screen"}, "training.probing")
