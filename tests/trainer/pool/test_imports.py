"""The modules of the pool import each other in one direction."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import trainer.pool

FOLDER = Path(trainer.pool.__file__).parent


def test_there_is_no_import_circle() -> None:
    graph = {}
    for path in FOLDER.glob("[!_]*.py"):
        imports = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
        names = [str(node.module).removeprefix("trainer.pool.") for node in imports]
        graph[path.stem] = {name for name in names if (FOLDER / f"{name}.py").is_file()}
    assert set(TopologicalSorter(graph).static_order()) == set(graph)
