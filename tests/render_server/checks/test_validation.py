"""Every rule of the wire contract is held, and the error names the field."""

import math
from collections.abc import Callable

import pytest
from google.protobuf.message import DecodeError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from metasim.v1 import render_pb2 as pb
from metasim.v1 import scene_pb2
from support.malformed import MALFORMED, Malformed
from support.tasks import sprite_task

from render_server.checks.validation import required_assets, validate
from render_server.errors import InvalidTask
from render_server.limits import LimitExceeded, Limits

NAN = math.nan


def refusal(task: pb.RenderTask) -> str | None:
    """The text of the error, or None if the task is accepted. Any other exception is a failure."""
    try:
        validate(task, Limits())
    except InvalidTask as error:
        return str(error)
    return None


def test_a_good_task_passes() -> None:
    validate(sprite_task(), Limits())


@pytest.mark.parametrize("case", MALFORMED, ids=lambda case: case.name)
def test_a_malformed_task_is_refused_by_field(case: Malformed) -> None:
    with pytest.raises(InvalidTask) as caught:
        validate(case.task(), Limits())
    text = str(caught.value)
    assert text.startswith(case.field), text
    assert case.says in text
    assert "\n" not in text
    assert len(text) < 600


@pytest.mark.parametrize(
    ("limits", "field"),
    [
        (Limits(nodes=2), "scene.nodes is 3 long; this worker takes at most 2"),
        (Limits(pixels=1000), "settings.width_px is 32 (times height_px 32); this worker takes at most 1000 pixels"),
        (Limits(columns=5), "columns is 6 long; this worker takes at most 5"),
    ],
)
def test_sizes_are_limited(limits: Limits, field: str) -> None:
    with pytest.raises(LimitExceeded) as caught:
        validate(sprite_task(), limits)
    assert str(caught.value) == field


def test_samples_are_limited() -> None:
    task = sprite_task()
    task.settings.samples = 65
    validate(task, Limits(samples=65))
    with pytest.raises(LimitExceeded, match=r"settings\.samples is 65; this worker takes at most 64"):
        validate(task, Limits(samples=64))


def test_a_long_chain_of_parents_is_no_cycle() -> None:
    task = sprite_task(columns=False)
    for i in range(2000):
        task.scene.nodes.add(id=f"n{i}", parent=f"n{i + 1}" if i < 1999 else "")
    validate(task, Limits())
    task.scene.nodes[-1].parent = "n0"
    with pytest.raises(InvalidTask, match=r"scene.nodes\[\d+\].parent is 'n\d+'; parents must not form a cycle"):
        validate(task, Limits())


def test_required_assets_names_each_once_in_order() -> None:
    task = sprite_task()
    first = task.scene.nodes[2].sprite.asset
    mesh = scene_pb2.Mesh(asset=scene_pb2.MeshAsset(hash="b" * 64), material=scene_pb2.Material(texture="c" * 64))
    task.scene.nodes.add(id="mesh", mesh=mesh)
    task.scene.nodes.add(id="again", sprite=scene_pb2.Sprite(asset=first))
    task.scene.nodes.add(id="cube", mesh=scene_pb2.Mesh(primitive=scene_pb2.PRIMITIVE_CUBE))
    assert required_assets(task) == [first, "b" * 64, "c" * 64]


def _cut(data: bytes, start: int, length: int, insert: bytes) -> bytes:
    start %= len(data)
    return data[:start] + insert + data[start + length :]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    cuts=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 12), st.binary(max_size=12)), min_size=1, max_size=4)
)
def test_any_bytes_are_refused_or_accepted(cuts: list[tuple[int, int, bytes]]) -> None:
    data = sprite_task().SerializeToString()
    for start, length, insert in cuts:
        data = _cut(data, start, length, insert)
    try:
        task = pb.RenderTask.FromString(data)
    except DecodeError:
        return
    error = refusal(task)
    if error is None:
        required_assets(task)
    else:
        assert "\n" not in error
        assert len(error) < 2000


NUMBERS = st.one_of(st.sampled_from([NAN, math.inf, -math.inf, 0.0, -1.0, 1e300]), st.floats())


def _set_number(task: pb.RenderTask, path: str, value: float) -> None:
    message = task
    *parents, field = path.split(".")
    for part in parents:
        name, _, index = part.partition("[")
        message = getattr(message, name)
        if index:
            message = message[int(index[:-1])]
    setattr(message, field, value)


@settings(max_examples=150, deadline=None)
@given(
    path=st.sampled_from(
        [
            "scene.nodes[0].camera.orthographic.height_m",
            "scene.nodes[0].camera.near_m",
            "scene.nodes[2].transform.x_m",
            "scene.nodes[2].transform.scale",
            "scene.nodes[2].sprite.width_m",
            "scene.nodes[2].sprite.tint.red",
            "scene.background.blue",
            "settings.filter_width_px",
            "columns[0].step",
            "columns[2].minimum",
            "timeout_s",
        ]
    ),
    value=NUMBERS,
)
def test_what_is_accepted_is_finite(path: str, value: float) -> None:
    task = sprite_task()
    _set_number(task, path, value)
    error = refusal(task)
    if error is None:
        assert math.isfinite(value)
    else:
        assert path.partition(".")[0].partition("[")[0] in error


def _touch(change: Callable[[pb.RenderTask], object]) -> pb.RenderTask:
    task = sprite_task()
    change(task)
    return task


@pytest.mark.parametrize(
    "task",
    [
        _touch(lambda t: t.ClearField("outputs")),
        _touch(lambda t: t.ClearField("columns")),
        _touch(lambda t: t.outputs.append(pb.OUTPUT_BOXES)),
        _touch(lambda t: t.scene.nodes[2].ClearField("class_name")),
        _touch(lambda t: t.scene.nodes[2].ClearField("transform")),
        _touch(lambda t: t.scene.nodes[2].sprite.tint.CopyFrom(scene_pb2.Color())),
        _touch(lambda t: setattr(t.columns[2], "maximum", 180.0)),
        _touch(lambda t: setattr(t, "id", "x" * 256)),
    ],
)
def test_optional_fields_are_optional(task: pb.RenderTask) -> None:
    validate(task, Limits())
