"""Checks of the structure of kinds: no cycles, exactly one camera."""

from collections.abc import Callable, Mapping, Sequence

from trainer.grammar.document import Document, KeyPath
from trainer.grammar.nodes import Camera, Children, Light, Mesh, NodeKind

_SOLID = {Mesh: "mesh", Light: "light"}


def check_cycles(document: Document, kinds: Mapping[str, NodeKind]) -> None:
    """
    Raises:
        GrammarError: a kind is its own descendant.
    """
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            loop = (*path[path.index(name) :], name)
            raise document.error(
                ("nodes", loop[-2], "children"), f"the kinds {' > '.join(loop)} form a cycle", show_value=False
            )
        if name in done:
            return
        for entry in kinds[name].children:
            for child in entry.kinds:
                visit(child, (*path, name))
        done.add(name)

    for name in kinds:
        visit(name, ())


def check_flat(document: Document, kinds: Mapping[str, NodeKind], keys: KeyPath) -> None:
    """
    Raises:
        GrammarError: a kind is a mesh or a light, which what stands at `keys` does not go with.
    """
    for name, kind in kinds.items():
        if isinstance(kind.content, Mesh | Light):
            raise document.error(keys, f"it renders sprites only, and {name} is a {_SOLID[type(kind.content)]}")


def check_cameras(document: Document, kinds: Mapping[str, NodeKind], roots: tuple[Children, ...]) -> None:
    """
    Raises:
        GrammarError: not every scene has exactly one camera, or a camera can have a scaled ancestor.
    """

    def is_camera(kind: NodeKind) -> bool:
        return isinstance(kind.content, Camera)

    least, most = node_bounds(kinds, roots, is_camera)
    if (least, most) != (1, 1):
        found = f"{least}" if least == most else f"{least} to {most}"
        raise document.error(
            ("scene",), f"scenes have {found} cameras; every scene needs exactly one", show_value=False
        )
    for name, kind in kinds.items():
        holds_camera = is_camera(kind) or node_bounds(kinds, kind.children, is_camera)[1]
        if holds_camera and any(spec.name == "scale" for spec in kind.specs):
            raise document.error(("nodes", name, "scale"), "cameras and the nodes above them cannot be scaled")


def node_bounds(
    kinds: Mapping[str, NodeKind], children: Sequence[Children], counted: Callable[[NodeKind], bool]
) -> tuple[int, int]:
    """Return the least and the greatest number of nodes at and below `children` whose kind is `counted`."""
    counts: dict[str, tuple[int, int]] = {}

    def of_entries(entries: Sequence[Children]) -> tuple[int, int]:
        least = most = 0
        for entry in entries:
            low, high = entry.count.support
            each = [of_kind(name) for name in entry.kinds]
            least += int(low) * min(least_each for least_each, _ in each)
            most += int(high) * max(most_each for _, most_each in each)
        return least, most

    def of_kind(name: str) -> tuple[int, int]:
        if name not in counts:
            own = int(counted(kinds[name]))
            least, most = of_entries(kinds[name].children)
            counts[name] = least + own, most + own
        return counts[name]

    return of_entries(children)
