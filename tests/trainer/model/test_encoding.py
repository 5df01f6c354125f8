from pathlib import Path

import numpy as np
import pytest
import torch
from support.crafted import moving
from support.grammars import FLAT, write_sprites

from trainer.grammar import Grammar, load_grammar
from trainer.model.encoding import BOTTOM_UP, TOP_DOWN, Encoding, KeepInside, with_values
from trainer.model.transformer import DistributionTransformer

NESTED = (
    FLAT
    + """\
  road:
    class: road
    sprite: shapes
    width: 30
    height: 8
    yaw: {uniform: [-180, 180], mutable: true}
    children: [{kind: car, count: {integers: [0, 3]}}]
  car:
    class: car
    sprite: shapes
    width: 4
    height: 2
    x: {uniform: [-10, 10], mutable: true, range: [-12, 12]}
    pitch: {uniform: [-5, 5]}
scene: [camera, road]
"""
)


@pytest.fixture
def grammar(tmp_path: Path) -> Grammar:
    return load_grammar(write_sprites(tmp_path, NESTED))


def scenes_of(grammar: Grammar, count: int, seed: int = 0) -> list:
    rng = np.random.default_rng(seed)
    return [grammar.sample(rng) for _ in range(count)]


def test_scenes_come_back_from_their_codes(grammar: Grammar) -> None:
    encoding, scenes = Encoding(grammar), scenes_of(grammar, 50)
    batch = encoding.encode(scenes)

    decoded = with_values(scenes, encoding.decode(batch.nodes, batch))

    for before, after in zip(scenes, decoded, strict=True):
        assert after.values() == pytest.approx(before.values(), abs=1e-3)


def test_angles_are_a_cosine_and_a_sine_so_nothing_happens_at_half_a_turn(grammar: Grammar) -> None:
    encoding = Encoding(grammar)
    scene = next(scene for scene in scenes_of(grammar, 50) if len(scene.mutable) == 1)
    slot = encoding.slots["yaw"]

    codes = [
        encoding.encode([scene.with_values(np.array([yaw]))]).nodes[1, slot.start : slot.stop]
        for yaw in (179.9, -179.9)
    ]

    assert slot.width == 2
    assert torch.allclose(codes[0], codes[1], atol=0.01)


def test_every_edge_goes_down_and_up_with_its_own_relation(grammar: Grammar) -> None:
    scenes = scenes_of(grammar, 10)
    batch = Encoding(grammar).encode(scenes)

    down = batch.edges[:, batch.relations == TOP_DOWN].T.tolist()
    up = batch.edges[:, batch.relations == BOTTOM_UP].T.tolist()
    first, expected = 0, []
    for scene in scenes:
        expected += [[first + node.parent, first + i] for i, node in enumerate(scene.nodes) if node.parent is not None]
        first += len(scene.nodes)
    assert expected
    assert down == expected
    assert up == [[child, parent] for parent, child in expected]


def test_top_down_and_bottom_up_weights_see_different_edges(grammar: Grammar) -> None:
    """The published code's graph is undirected, so both kinds of weights work on the same messages."""
    encoding = Encoding(grammar)
    scene = max(scenes_of(grammar, 20), key=lambda scene: len(scene.nodes))
    batch = encoding.encode([scene])
    transformer = DistributionTransformer(encoding, torch.Generator().manual_seed(0))
    with torch.no_grad():
        for messages in transformer.rounds:
            messages.weight[BOTTOM_UP] = 0

    def change(of: int, at: int) -> float:
        """How much the codes of one node depend on those of another."""
        nodes = batch.nodes.clone().requires_grad_()
        changed = type(batch)(**{**batch.__dict__, "nodes": nodes})
        transformer.reconstruct(changed).numeric[at].sum().backward()
        return float(nodes.grad[of].abs().sum())

    road, car = 1, 2
    assert change(of=road, at=car) > 0
    assert change(of=car, at=road) == 0


def test_only_mutable_attributes_of_each_kind_change(grammar: Grammar) -> None:
    """Mutability belongs to an attribute of a kind: the road's yaw, the car's x, and nothing of the camera."""
    encoding, scenes = Encoding(grammar), scenes_of(grammar, 20)
    assert [(kind, spec.name) for kind, spec in encoding.mutable] == [("car", "x"), ("road", "yaw")]
    batch = encoding.encode(scenes)
    transformer = DistributionTransformer(encoding, torch.Generator().manual_seed(0))
    with torch.no_grad():
        values = transformer(batch)

    changed = with_values(scenes, values)

    assert len(values) == sum(1 + (len(scene.nodes) - 2) for scene in scenes)
    for before, after in zip(scenes, changed, strict=True):
        for old, new in zip(before.nodes, after.nodes, strict=True):
            mutable = {"car": "x", "road": "yaw"}.get(old.kind)
            assert (old.id, old.parent, old.asset, old.class_name) == (new.id, new.parent, new.asset, new.class_name)
            assert {name for name in old.values if old.values[name] != new.values[name]} <= {mutable}


def test_values_stay_inside_their_range(grammar: Grammar) -> None:
    encoding, scenes = Encoding(grammar), scenes_of(grammar, 20)
    batch = encoding.encode(scenes)

    values = encoding.decode(batch.nodes * 50, batch)

    x = values[batch.places == 0]
    assert float(x.abs().max()) == 12
    with_values(scenes, values)


@pytest.mark.parametrize(
    ("x", "gradient", "passes"),
    [(0.5, 1.0, True), (2.0, 1.0, True), (2.0, -1.0, False), (-1.0, 1.0, False), (-1.0, -1.0, True)],
)
def test_outside_of_its_range_a_value_can_only_come_back(x: float, gradient: float, passes: bool) -> None:
    value = torch.tensor([x], requires_grad=True)

    (KeepInside.apply(value, 0.0, 1.0) * gradient).sum().backward()

    assert value.grad.item() == (gradient if passes else 0.0)


def test_known_weights_move_all_nodes_of_a_kind(grammar: Grammar) -> None:
    encoding, scenes = Encoding(grammar), scenes_of(grammar, 30)
    batch = encoding.encode(scenes)
    places = {f"{kind}.{spec.name}": place for place, (kind, spec) in enumerate(encoding.mutable)}
    transformer = moving(encoding, {"car.x": 1.5, "road.yaw": 100.0})

    with torch.no_grad():
        difference = transformer(batch) - batch.values

    inside = (batch.values + 1.5 <= 12)[batch.places == places["car.x"]]
    assert torch.allclose(difference[batch.places == places["car.x"]][inside], torch.tensor(1.5), atol=1e-3)
    turned = difference[batch.places == places["road.yaw"]] - 100
    assert torch.allclose((turned + 180) % 360 - 180, torch.tensor(0.0), atol=1e-3)


def test_the_weights_come_from_the_generator_alone(grammar: Grammar) -> None:
    encoding = Encoding(grammar)
    torch.manual_seed(5)
    before = torch.random.get_rng_state()

    first = DistributionTransformer(encoding, torch.Generator().manual_seed(3)).state_dict()
    second = DistributionTransformer(encoding, torch.Generator().manual_seed(3)).state_dict()

    assert all(torch.equal(first[name], second[name]) for name in first)
    assert torch.equal(torch.random.get_rng_state(), before)
