"""The grammars and experiments that ship, without reading them."""

from pathlib import Path

from trainer.settings import checkout


def shipped_files() -> dict[str, Path]:
    """Their files by name."""
    root = checkout()
    folder = root / "grammars" if root else Path(__file__).resolve().parent / "grammars"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"), key=lambda path: path.stem)}
