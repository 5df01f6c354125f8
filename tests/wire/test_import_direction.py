"""Imports go one way: a package may import only packages that stand before it in this list."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
#: The packages and top-level modules of each half, from the lowest layer to the highest.
LAYERS = {
    "trainer": [
        *(
            "errors",
            "settings",
            "randomness",
            "progress",
            "assets",
            "grammar",
            "pool",
            "model",
            "rendering",
            "datasets",
        ),
        *("datasets", "metrics", "experiments", "features", "tasks", "inference", "refinement", "runs"),
        *("train", "evaluate", "generate", "bench", "checks", "cli"),
    ],
}


def upward_imports(root: Path, half: str, layers: list[str]) -> list[str]:
    """Return "module imports module" for each import that does not point to a lower layer."""
    found = []
    for path in sorted((root / half).rglob("*.py")):
        module = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
        if module == half:
            continue
        for imported in _imports(path, half):
            importer, other = module.split(".")[1], imported.split(".")[1]
            if importer != other and layers.index(other) >= layers.index(importer):
                found.append(f"{module} imports {imported}")
    return found


def _imports(path: Path, half: str) -> list[str]:
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            inner = [f"{node.module}.{alias.name}" for alias in node.names] if node.module == half else [node.module]
            names += [name for name in inner if name.startswith(f"{half}.")]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names if alias.name.startswith(f"{half}.")]
    return names


@pytest.mark.parametrize("half", LAYERS)
def test_imports_point_to_lower_layers(half: str) -> None:
    assert upward_imports(ROOT, half, LAYERS[half]) == []


@pytest.mark.parametrize("half", LAYERS)
def test_every_package_has_a_layer(half: str) -> None:
    present = {
        path.stem for path in (ROOT / half).iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()
    }
    assert present - {"__init__", "__pycache__"} == set(LAYERS[half])


def test_an_upward_import_is_found(tmp_path: Path) -> None:
    (tmp_path / "half").mkdir()
    (tmp_path / "half/low.py").write_text("def late():\n    from half.high import thing\n")
    (tmp_path / "half/high.py").write_text("from half import low\n")
    assert upward_imports(tmp_path, "half", ["low", "high"]) == ["half.low imports half.high"]
