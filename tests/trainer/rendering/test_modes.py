"""Jacobian and vector-Jacobian products are the same gradient; shards and workers do not show in it."""

from collections.abc import Iterator

import grpc
import pytest
import torch
from metasim.v1 import render_pb2 as pb
from support.scripted import scripted, slots
from support.servers import server
from support.worlds import gradient, sampled

from render_server.engines.fake import FakeEngine
from trainer.grammar import Grammar
from trainer.pool import RenderPool
from trainer.rendering import Probing, Renderer

DIFFERENCES = ("central", "forward")


@pytest.mark.parametrize("difference", DIFFERENCES)
@pytest.mark.parametrize("engine", ["fake", "raster", pytest.param("blender", marks=pytest.mark.blender)])
def test_both_modes_agree(engine: str, difference: str, request: pytest.FixtureRequest) -> None:
    renderer: Renderer = request.getfixturevalue(engine)
    scenes = sampled(request.getfixturevalue("cubes" if engine == "blender" else "blobs"), 2)

    jacobian, vjp = (
        gradient(renderer, scenes, Probing(mode=mode, difference=difference), seed=3) for mode in ("jacobian", "vjp")
    )

    assert jacobian.abs().min() > 0
    assert ((jacobian - vjp).norm() / jacobian.norm()).item() < 1e-3


@pytest.mark.parametrize("mode", ["jacobian", "vjp"])
@pytest.mark.parametrize("engine", ["fake_cubes", pytest.param("blender", marks=pytest.mark.blender)])
def test_shards_do_not_show(engine: str, mode: str, cubes: Grammar, request: pytest.FixtureRequest) -> None:
    renderer: Renderer = request.getfixturevalue(engine)
    scenes = sampled(cubes, 2)
    for difference in ("central", "forward"):
        gradients = [
            gradient(renderer, scenes, Probing(mode=mode, difference=difference, shards=shards, audit=0.5))
            for shards in (1, 2, 5)
        ]

        assert torch.equal(gradients[0], gradients[1])
        assert torch.equal(gradients[0], gradients[2])


@pytest.mark.parametrize("mode", ["jacobian", "vjp"])
def test_the_order_of_replies_does_not_show(cubes: Grammar, fake_cubes: Renderer, mode: str) -> None:
    scenes, engine = sampled(cubes, 3), FakeEngine()

    def backwards(requests: Iterator[pb.RenderRequest], context: grpc.ServicerContext) -> Iterator[pb.RenderReply]:
        del context
        yield slots(100)
        held: list[pb.RenderTask] = []
        for request in requests:
            if request.HasField("task"):
                held.append(request.task)
            if len(held) == 3 * (1 if not held[-1].columns else 2):
                yield from (pb.RenderReply(result=engine.render(task, {})) for task in reversed(held))
                held = []

    probing = Probing(mode=mode, shards=2)
    with scripted(backwards) as address, RenderPool(address, assets=cubes.assets) as pool:
        assert torch.equal(gradient(Renderer(pool, cubes), scenes, probing), gradient(fake_cubes, scenes, probing))


def test_flat_scenes_are_not_split(blobs: Grammar, fake: Renderer) -> None:
    before = fake.pool.stats.tasks_done
    gradient(fake, sampled(blobs, 3), Probing(mode="jacobian", shards=5))
    assert fake.pool.stats.tasks_done == before + 3


def test_a_worker_that_dies_does_not_show(cubes: Grammar, fake_cubes: Renderer) -> None:
    scenes, probing = sampled(cubes, 3), Probing(shards=2)
    lost = []

    def dies(requests: Iterator[pb.RenderRequest], context: grpc.ServicerContext) -> Iterator[pb.RenderReply]:
        yield slots(4)
        lost.append(next(requests).task.id)
        context.abort(grpc.StatusCode.INTERNAL, "out of memory")

    with (
        server("--engine", "fake", "--workers", "1") as running,
        scripted(dies) as address,
        RenderPool(f"{running.address},{address}", assets=cubes.assets) as pool,
    ):
        found = gradient(Renderer(pool, cubes), scenes, probing)
        while not lost:  # The other worker was faster.
            found = gradient(Renderer(pool, cubes), scenes, probing)

    assert torch.equal(found, gradient(fake_cubes, scenes, probing))


def test_products_are_not_asked_for_where_the_gradient_is_zero(blobs: Grammar, fake: Renderer) -> None:
    scenes, weights = sampled(blobs, 3), torch.zeros(3, 3, 24, 32)
    weights[1] = 1
    before = fake.pool.stats.tasks_done

    found = gradient(fake, scenes, Probing(mode="vjp"), weights=weights).reshape(3, 8)

    assert fake.pool.stats.tasks_done == before + 4
    assert torch.equal(found[::2], torch.zeros(2, 8))
    assert found[1].abs().max() > 0


def test_a_gradient_that_is_not_finite_stays_so(blobs: Grammar, fake: Renderer) -> None:
    weights = torch.ones(2, 3, 24, 32)
    weights[0, 0, 0, 0] = torch.inf

    found = gradient(fake, sampled(blobs, 2), Probing(mode="vjp"), weights=weights).reshape(2, 8)

    assert found[0].isnan().all()
    assert found[1].isfinite().all()


def test_answers_of_products_are_small(blobs: Grammar) -> None:
    """At most 100 bytes per column."""
    sizes = []

    class Spy(RenderPool):
        def render(self, tasks: list[pb.RenderTask]) -> list[pb.RenderResult]:  # type: ignore[override]
            results = super().render(tasks)
            sizes.extend(column.ByteSize() for result in results for column in result.columns)
            return results

    with server("--engine", "fake", "--workers", "1") as running, Spy(running.address, assets=blobs.assets) as pool:
        gradient(Renderer(pool, blobs), sampled(blobs, 1), Probing(mode="vjp"))

    assert len(sizes) == 8
    assert max(sizes) <= 100
