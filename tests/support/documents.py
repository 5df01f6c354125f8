"""The project's documents as tests read them."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "grammars" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@dataclass(frozen=True)
class Snippet:
    """A fenced block."""

    document: Path
    line: int
    #: What follows the opening fence: `python`, `yaml my-world.yaml`.
    info: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.document.name}:{self.line}"


def commands(document: Path) -> list[tuple[int, str]]:
    """(line, command) of each `metasim ...` that stands in a block of its own, without comment and environment."""
    found, begun = [], ""
    for number, part in enumerate(document.read_text(encoding="utf-8").splitlines(), 1):
        line = begun + (part.strip() if begun else part)
        begun = line[:-1] if line.endswith(" \\") else ""
        match = None if begun else re.match(r"^(?:    )?(?:[A-Z_]+=\S+ )?(metasim (?:[a-z]|--).*?)(?:  +#.*)?$", line)
        if match:
            found.append((number, match[1]))
    return found


def snippets(document: Path, language: str) -> list[Snippet]:
    """The blocks of a language, in their order."""
    text = document.read_text(encoding="utf-8")
    found = re.finditer(rf"^```({language}\b[^\n]*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [Snippet(document, text.count("\n", 0, match.start()) + 1, match[1], match[2]) for match in found]
