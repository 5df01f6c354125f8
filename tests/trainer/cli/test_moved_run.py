"""A run whose experiment is edited, or that is moved to where its files are not."""

import shutil
from collections.abc import Callable
from pathlib import Path

from support.grammars import SPRITES, write_sprites

WORLD = SPRITES + "target: {count: 8, overrides: {thing.yaw: {normal: [90, 10]}}}\nengine: raster\n"
SHORT = (
    "training.epochs=1 training.steps=1 training.batch=2 training.features=random "
    "training.pretraining_steps=2 training.start=prior "
    "training.monitor_scenes=8"
)


def test_a_run_goes_on_from_its_copy_of_the_grammar(tmp_path: Path, metasim: Callable, endpoint: str) -> None:
    (tmp_path / "project").mkdir()
    world = write_sprites(tmp_path / "project", WORLD)
    trained = metasim(f"train project/world.yaml {SHORT} --out runs/a --renderer {endpoint}")
    assert trained.status == 0, trained.err
    generate = f"generate --count 4 --format imagefolder --renderer {endpoint}"
    assert metasim(f"{generate} runs/a --out first").status == 0

    world.write_text(WORLD.replace("x: {uniform: [-4, 4]", "x: {uniform: [-9, 9]"))
    edited = metasim(f"{generate} runs/a --out edited")
    assert edited.status == 0, edited.err
    assert (
        f"note: {world} has changed since runs/a was made; the run uses its copy, runs/a/inputs/world.yaml"
        in edited.err
    )

    shutil.move(tmp_path / "runs/a", tmp_path / "moved")
    shutil.move(tmp_path / "project/shapes", tmp_path / "moved/inputs/shapes")
    shutil.rmtree(tmp_path / "project")
    moved = metasim(f"{generate} moved --out moved-data")
    assert moved.status == 0, moved.err
    pictures = [sorted((tmp_path / out).rglob("*.png")) for out in ("first", "edited", "moved-data")]
    assert len(pictures[0]) >= 4
    contents = [[path.read_bytes() for path in each] for each in pictures]
    assert contents[0] == contents[1] == contents[2]
