"""The project's own assets as files: what a folder of them gives is what the family gives."""

from pathlib import Path

import pytest

from trainer.assets.folder_set import MeshFolder
from trainer.assets.procedural import FAMILIES
from trainer.assets.procedural.export import write_family
from trainer.errors import InputError


def test_meshes_by_label(tmp_path: Path) -> None:
    written = write_family("household", tmp_path / "models", ["mug", "box"])
    assert sorted(path.relative_to(tmp_path / "models").parts[0] for path in written) == ["box", "mug"]
    models = MeshFolder("models", tmp_path / "models")
    family = FAMILIES["household"]()
    assert models.labels == ("box", "mug")
    labels = [family.label(index) for index in range(family.count)] if family.label else []
    assert models.data(1) == family.make(labels.index("mug"))


def test_images_without_labels(tmp_path: Path) -> None:
    written = write_family("aerial-roads", tmp_path / "roads")
    assert [path.name for path in written] == ["0000.png", "0001.png", "0002.png", "0003.png"]


@pytest.mark.parametrize(
    ("name", "labels", "line"),
    [
        ("househould", (), "family 'househould' is unknown; allowed: aerial-cars, "),
        ("household", ("jug",), "label 'jug' of household is unknown; allowed: bottle, box, mug, tool, toy"),
        ("aerial-roads", ("a",), "label 'a' of aerial-roads is unknown; its items have no labels"),
        ("household", (), "taken exists, and nothing is ever overwritten: choose another --out"),
    ],
)
def test_mistakes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, labels: tuple[str, ...], line: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("taken").mkdir()
    with pytest.raises(InputError) as raised:
        write_family(name, Path("taken"), labels)
    assert str(raised.value).startswith(line)
    assert list(Path("taken").iterdir()) == []
