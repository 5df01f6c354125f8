"""Scenes rendered while they are used."""

import itertools
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from support.grammars import SPRITES, write_sprites
from support.servers import server
from torch.utils.data import DataLoader

import trainer.runs.streaming
from trainer.datasets.writers.sample import Need
from trainer.errors import InputError
from trainer.generate import GenerateOptions, generate
from trainer.pool import PoolOptions
from trainer.pool.status import pool_status
from trainer.runs.sample_stream import ahead, blocks_ahead
from trainer.runs.streaming import RenderedScenes

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with server("--engine", "raster", "--workers", "1") as running:
        yield running.address


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> str:
    text = SPRITES.replace("    class: thing\n", "    class: '{label}'\n")
    path = write_sprites(tmp_path_factory.mktemp("world"), text)
    for shape in list((path.parent / "shapes").iterdir()):
        folder = path.parent / "shapes" / f"kind-{shape.stem}"
        folder.mkdir()
        shape.rename(folder / shape.name)
    return str(path)


def test_a_data_loader_gets_the_scenes_that_generate_writes(world: str, endpoint: str, tmp_path: Path) -> None:
    scenes = RenderedScenes(world, count=7, seed=4, block=3, pool=PoolOptions(endpoint))
    assert scenes.classes == ("kind-disc", "kind-square", "kind-star")
    batches = list(DataLoader(scenes, batch_size=4))
    assert [tuple(images.shape) for images, _ in batches] == [(4, 3, 32, 32), (3, 3, 32, 32)]
    images = torch.cat([images for images, _ in batches])
    labels = torch.cat([labels for _, labels in batches])
    generate(GenerateOptions(world, 7, tmp_path / "data", seed=4, pool=PoolOptions(endpoint)))
    for index in range(7):
        pixels = np.asarray(Image.open(tmp_path / "data" / "images" / f"{index:07d}.png"))
        np.testing.assert_array_equal(images[index].permute(1, 2, 0).numpy(), pixels)
        assert (
            f'"label": "{scenes.classes[labels[index]]}"'
            in ((tmp_path / "data" / "metadata.jsonl").read_text().splitlines()[index])
        )


def test_shards_share_the_blocks_and_streams_need_not_end(world: str, endpoint: str) -> None:
    def first_pixels(count: int | None, shard: tuple[int, int]) -> Iterator[bytes]:
        stream = RenderedScenes(
            world,
            count=count,
            shard=shard,
            block=2,
            item=lambda sample: sample.image.tobytes(),
            pool=PoolOptions(endpoint),
        )
        return iter(stream)

    whole = list(first_pixels(7, (0, 1)))
    assert len(set(whole)) == 7
    assert list(first_pixels(7, (0, 2))) == [*whole[0:2], *whole[4:6]]
    assert list(first_pixels(7, (1, 2))) == [*whole[2:4], *whole[6:7]]
    endless = first_pixels(None, (0, 1))
    assert list(itertools.islice(endless, 7)) == whole
    endless.close()  # type: ignore[attr-defined]


def test_a_stream_renders_what_is_needed(world: str, endpoint: str) -> None:
    def shapes(sample: object) -> tuple[object, object]:
        return sample.masks["class"].shape, sample.depth  # type: ignore[attr-defined]

    [found] = RenderedScenes(world, count=1, needs=Need.MASKS, item=shapes, pool=PoolOptions(endpoint))
    assert found == ((32, 32), None)


def test_mistakes(world: str, endpoint: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^shard is \(2, 2\); of n processes it must be \(r, n\)"):
        RenderedScenes(world, shard=(2, 2))
    with pytest.raises(InputError, match=r"^block is 0 and count None; block must be at least 1"):
        RenderedScenes(world, block=0)
    text = SPRITES.replace("scene: [camera, thing]", "scene: [camera, {kind: thing, count: 2}]")
    several = str(write_sprites(tmp_path, text))
    with pytest.raises(InputError, match=r"a scene of world does not have exactly one object with a class; pass item="):
        list(RenderedScenes(several, count=1, pool=PoolOptions(endpoint)))


def test_worker_processes_of_a_data_loader_share_the_blocks(
    world: str, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pixels(scenes: RenderedScenes) -> list[bytes]:
        return [image.numpy().tobytes() for image, _ in scenes]

    pool = PoolOptions(endpoint)
    whole = pixels(RenderedScenes(world, count=12, block=2, pool=pool))
    found = []
    for number in range(2):
        info = SimpleNamespace(num_workers=2, id=number)
        monkeypatch.setattr(trainer.runs.streaming, "get_worker_info", lambda info=info: info)
        sent = pickle.loads(pickle.dumps(RenderedScenes(world, count=12, block=2, shard=(1, 2), pool=pool)))  # noqa: S301
        found.append(pixels(sent))
    # Six blocks; of four consumers, these are the third and the fourth.
    assert found == [whole[4:6], whole[6:8]]


def test_forks_of_a_process_with_a_pool_are_refused(world: str, monkeypatch: pytest.MonkeyPatch) -> None:
    info = SimpleNamespace(num_workers=2, id=0)
    monkeypatch.setattr(trainer.runs.streaming, "get_worker_info", lambda: info)
    monkeypatch.setattr(trainer.runs.streaming, "shared_loop_is_inherited", lambda: True)
    with pytest.raises(InputError, match=r'does not support; give the DataLoader multiprocessing_context="spawn"$'):
        iter(RenderedScenes(world, count=1, pool=PoolOptions("localhost:1")))


def test_a_fork_inherits_the_loop_without_its_thread() -> None:
    script = (
        "import os\n"
        "from trainer.pool.event_loop import shared_loop, shared_loop_is_inherited as inherited\n"
        "before = inherited(); shared_loop(); child = os.fork()\n"
        "if not child: os._exit(int(inherited()))\n"
        "print(before, inherited(), os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout == "False False 1\n"


def test_a_cache_renders_an_epoch_once(world: str, endpoint: str, tmp_path: Path) -> None:
    def epoch(seed: int = 0) -> list[bytes]:
        scenes = RenderedScenes(
            world, count=10, block=4, seed=seed, images="webp", cache=tmp_path / "cache", pool=PoolOptions(endpoint)
        )
        return [image.numpy().tobytes() for image, _ in scenes]

    def rendered() -> int:
        [worker] = pool_status(endpoint, watch_s=0)
        return worker.tasks_done

    plain = [image.numpy().tobytes() for image, _ in RenderedScenes(world, count=10, pool=PoolOptions(endpoint))]
    begun = rendered()
    assert epoch() == plain
    assert rendered() == begun + 10
    assert epoch() == plain
    assert rendered() == begun + 10
    assert epoch(seed=1) != plain
    assert rendered() == begun + 20


def test_whoever_uses_the_items_sets_the_pace() -> None:
    begun: list[int] = []
    finished = threading.Semaphore(0)

    def render(indices: range) -> list[int]:
        begun.append(indices.start)
        finished.release()
        return list(indices)

    items = ahead(render, (range(start, start + 4) for start in itertools.count(0, 4)), lambda: 3)
    assert next(items) == 0
    for _ in range(4):
        finished.acquire()
    assert sorted(begun) == [0, 4, 8, 12]
    assert list(itertools.islice(items, 4)) == [1, 2, 3, 4]
    finished.acquire()
    assert sorted(begun) == [0, 4, 8, 12, 16]
    items.close()  # type: ignore[attr-defined]


def test_more_processes_have_more_blocks_under_way() -> None:
    def blocks(processes: int, size: int) -> int:
        return blocks_ahead(SimpleNamespace(stats=SimpleNamespace(processes_up=processes)), size)  # type: ignore[arg-type]

    assert [blocks(1, 64), blocks(200, 256), blocks(200, 18), blocks(10_000, 1)] == [2, 4, 45, 64]


def test_workers_of_the_data_loader_are_refused(world: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer.runs.streaming, "get_worker_info", lambda: SimpleNamespace(num_workers=2))
    with pytest.raises(InputError, match=r"with num_workers=2: the pool's processes render already; use num_workers=0"):
        iter(RenderedScenes(world, count=1))
