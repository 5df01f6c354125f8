"""Every Python snippet of the documents runs as it stands there, each by itself."""

import gc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.digits import write_digits
from support.documents import DOCUMENTS, Snippet, snippets
from support.grammars import write_sprites
from support.moving_run import moving_run

from trainer.generate import GenerateOptions, generate
from trainer.pool import PoolOptions

SNIPPETS = [snippet for document in DOCUMENTS for snippet in snippets(document, "python")]

#: What stands in the documents, and what is run instead: less of the same.
SHORTER = {
    '{"training.epochs": 8}': "SHORT",
    "count=10_000": "count=6",
    '"runs/mnist-rot", count': '"runs/mnist-rot", pool=RASTER, count',
}
SHORT = {
    "training.epochs": 1,
    "training.steps": 1,
    "training.batch": 2,
    "training.target_images": 8,
    "training.pretraining_steps": 2,
    "training.inference": {"rounds": 1, "simulations": 64, "epochs": [1], "transport_passes": 1},
    "training.monitor_scenes": 8,
}
LABEL = "Car 0.00 0 -1.57 10 20 60 50 1.5 1.6 4.0 1.0 1.65 20.0 -1.52\n"
CAMERA = "P2: 700 0 600 0 0 700 180 0 0 0 1 0\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the snippets find what they name."""
    folder = tmp_path_factory.mktemp("snippets")
    write_digits(folder / "digits")
    (folder / "world").mkdir()
    world = write_sprites(folder / "world")
    for name in ("disc", "square", "star"):
        Image.new("RGBA", (4, 4), "white").save(folder / "world" / "shapes" / f"{name}.png")
    kinds = {"turned": "imagefolder", "preview": "coco", "things": "coco", "shards": "webdataset", "rows": "parquet"}
    for name, kind in kinds.items():
        generate(GenerateOptions(str(world), 2, folder / name, kind, pool=PoolOptions(engine="raster", workers=1)))
    for path in (folder / "shards").glob("*.tar"):
        path.rename(folder / "preview" / path.name)
    for name, text in (("label_2", LABEL), ("calib", CAMERA)):
        (folder / "street" / "training" / name).mkdir(parents=True)
        (folder / "street" / "training" / name / "000000.txt").write_text(text)
    (folder / "photos").mkdir()
    Image.fromarray(np.zeros((9, 12, 3), dtype=np.uint8)).save(folder / "photos" / "one.jpg")
    return folder


def test_there_are_snippets() -> None:
    assert {snippet.document.name for snippet in SNIPPETS} >= {"datasets.md", "library.md"}
    assert {old for old in SHORTER if any(old in snippet.text for snippet in SNIPPETS)} == set(SHORTER)


@pytest.mark.filterwarnings("ignore:unclosed file.*shard:ResourceWarning")  # webdataset leaves shards open
@pytest.mark.parametrize("snippet", SNIPPETS, ids=[snippet.place for snippet in SNIPPETS])
def test_it_runs(snippet: Snippet, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("METASIM_MNIST", str(folder / "digits"))
    if '"runs/mnist-rot"' in snippet.text:
        moving_run(folder / "runs" / "mnist-rot", "mnist-rot", {})
    text = snippet.text
    for old, new in SHORTER.items():
        text = text.replace(old, new)
    exec(
        compile(text, snippet.place, "exec"),
        {"__name__": "__main__", "SHORT": SHORT, "RASTER": PoolOptions(engine="raster", workers=1)},
    )
    gc.collect()


def test_the_example_of_the_library_is_short() -> None:
    example = next(snippet for snippet in SNIPPETS if snippet.document.name == "library.md")
    lines = [line for line in example.text.splitlines() if line.strip() and not line.startswith(("from", "import"))]
    assert len(lines) <= 20
