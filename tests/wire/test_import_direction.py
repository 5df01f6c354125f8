"""Imports go one way: to packages of lower layers, and never in a circle. A module's name tells it from all others."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
#: The packages and top-level modules of each half, from the lowest layer to the highest.
LAYERS = {
    "trainer": [
        *(
            "errors",
            "environment",
            "randomness",
            "progress",
            "device",
            "assets",
            "grammar",
            "pool",
            "model",
            "rendering",
            "datasets",
        ),
        *("datasets", "metrics", "experiments", "features", "tasks", "translation", "inference", "refinement", "runs"),
        *("train", "evaluate", "generate", "translate", "bench", "checks", "cli"),
    ],
    "render_server": [
        *("errors", "devices", "limits", "log_format", "counters", "features", "scene", "jacobian", "checks"),
        *("engines", "processes", "service", "server", "cli"),
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


def import_circle(root: Path, half: str) -> list[str]:
    """Return the modules of an import circle of a half, the first one again at the end; empty if there is none.

    Imports inside of functions and under TYPE_CHECKING count as well.
    """
    modules = {
        ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): path
        for path in sorted((root / half).rglob("*.py"))
    }
    graph = {name: sorted(_imported_modules(path, modules) - {name}) for name, path in modules.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def _imported_modules(path: Path, modules: dict[str, Path]) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in modules else node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found & set(modules)


@pytest.mark.parametrize("half", ["trainer", "render_server"])
def test_no_module_is_in_an_import_circle(half: str) -> None:
    assert import_circle(ROOT, half) == []


def test_a_circle_through_a_function_is_found(tmp_path: Path) -> None:
    (tmp_path / "half").mkdir()
    (tmp_path / "half/one.py").write_text("from half import two\n")
    (tmp_path / "half/two.py").write_text("def late():\n    from half.one import thing\n")
    assert sorted(set(import_circle(tmp_path, "half"))) == ["half.one", "half.two"]
