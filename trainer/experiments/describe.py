"""Grammars as text: the output of `metasim grammar check` and `metasim grammar show`."""

import math
from collections.abc import Iterable, Sequence

import numpy as np

from trainer.assets.asset_sets import AssetSet
from trainer.experiments.experiment import Experiment
from trainer.grammar.attribute_table import TINY
from trainer.grammar.distributions import (
    Categorical,
    Constant,
    Distribution,
    Mixture,
    Normal,
    TruncatedNormal,
    Uniform,
    VonMises,
    Wrapped,
)
from trainer.grammar.grammar import Grammar
from trainer.grammar.nodes import (
    Along,
    AssetDraw,
    AttributeSpec,
    Camera,
    Children,
    ColorDraw,
    Content,
    Light,
    Mesh,
    NodeKind,
    Sprite,
)
from trainer.grammar.path import most_places
from trainer.grammar.productions import matching
from trainer.grammar.symmetry import ambiguities

_MOST_SHOWN = 6
_MOST_LABELS = 10
_PRIMITIVES = {1: "cube", 2: "plane", 3: "sphere"}


def check_text(experiment: Experiment) -> str:
    """Return a summary of a correct file in one line, then ambiguous angles and notes, a line each."""
    grammar = experiment.grammar
    mutable = sum(spec.mutable for _, spec in grammar.specs)
    productions = len(grammar.productions)
    items = ", ".join(f"{len(asset_set)} {name}" for name, asset_set in grammar.asset_sets.items())
    parts = [
        _counted(len(grammar.kinds), "kind of node", "kinds of nodes"),
        _counted(mutable, "mutable attribute"),
        *([_counted(productions, "mutable production")] if productions else []),
        _counted(len(grammar.classes), "class", "classes"),
        *([f"assets: {items}"] if items else []),
        "with a target" if experiment.target else "without a target",
    ]
    return "\n".join((f"{experiment.path} is right: {'; '.join(parts)}", *_remarks(experiment)))


def show_text(experiment: Experiment) -> str:
    """Return the tree of kinds with their counts, the assets, and a table of all distributions."""
    grammar = experiment.grammar
    lines = [f"{experiment.name} ({grammar.render.width_px} x {grammar.render.height_px} pixels)", "", "scene"]
    lines += _Tree(grammar).lines(grammar.roots)
    if grammar.asset_sets:
        lines += ["", "assets", *_table([_set_row(name, items) for name, items in grammar.asset_sets.items()])]
    lines += ["", *_table(_rows(experiment))]
    remarks = _remarks(experiment)
    return "\n".join((*lines, *(("", *remarks) if remarks else ())))


def _remarks(experiment: Experiment) -> tuple[str, ...]:
    return (*(ambiguity.text for ambiguity in ambiguities(experiment.grammar)), *experiment.notes)


def distribution_text(distribution: Distribution) -> str:
    """Return a distribution in a few words: `normal 0 ± 10`."""
    match distribution:
        case Constant(value):
            return f"{value:g}"
        case Uniform(low, high):
            return f"uniform {low:g} to {high:g}"
        case Normal(mu, sigma):
            return f"normal {mu:g} ± {sigma:g}"
        case TruncatedNormal(mu, sigma):
            return f"normal {mu:g} ± {sigma:g}, cut off"
        case VonMises(mu, kappa):
            return f"von Mises {mu:g}, kappa {kappa:g}"
        case Wrapped(base):
            return f"{distribution_text(base)}, wrapped"
        case Categorical(values, probabilities):
            return _choices([f"{value:g}" for value in values], probabilities)
        case Mixture(components, weights):
            return _choices([distribution_text(component) for component in components], weights)
    return type(distribution).__name__


class _Tree:
    """The lines of the tree of kinds. A kind and its children are described at its first occurrence."""

    def __init__(self, grammar: Grammar) -> None:
        self._grammar = grammar
        self._described: set[str] = set()
        #: Whose children have been listed.
        self._listed: list[NodeKind] = []

    def lines(self, entries: Sequence[Children], indent: str = "") -> list[str]:
        """Return the lines of the entries of `scene`, or of a kind's children."""
        lines = []
        for entry in entries:
            last = entry is entries[-1]
            count = distribution_text(entry.count) if entry.along is None else _row_text(entry.along)
            count += ", mutable" if entry.mutable_count else ""
            if len(entry.kinds) > 1 and self._described.issuperset(entry.kinds):
                lines.append(f"{indent}{_branch(last)} {_choices(entry.kinds, entry.probabilities)} x {count}")
                continue
            for name, probability in zip(entry.kinds, entry.probabilities, strict=True):
                end = last and name == entry.kinds[-1]
                share = "" if len(entry.kinds) == 1 else f" with probability {probability:g}"
                share += ", mutable" if entry.mutable_kind else ""
                lines.append(f"{indent}{_branch(end)} {name} x {count}{share}{self._what(name)}")
                lines += self._below(self._grammar.kinds[name], indent + ("   " if end else "│  "))
        return lines

    def _what(self, name: str) -> str:
        """Return `: mesh of cars, class car` at the first occurrence of a kind, else nothing."""
        if name in self._described:
            return ""
        self._described.add(name)
        kind = self._grammar.kinds[name]
        label = f", class {kind.class_name}" if kind.class_name else ""
        bend = ""
        if kind.curvature is not None:
            bend = f", its line bends by {distribution_text(kind.curvature)} per {self._grammar.unit}"
        return f": {_content_text(kind.content)}{label}{bend}"

    def _below(self, kind: NodeKind, indent: str) -> list[str]:
        if not kind.children:
            return []
        for other in self._listed:
            if other.children == kind.children:
                return [f"{indent}└─ the same as in {other.name}"]
        self._listed.append(kind)
        return self.lines(kind.children, indent)


def _branch(last: bool) -> str:
    return "└─" if last else "├─"


def _row_text(along: Along) -> str:
    """Return `up to 8 in a row (from uniform 9 to 40 to 110, each 12 on, y -3.5)`."""
    parts = [
        f"from {distribution_text(along.start)} to {along.end:g}, each {distribution_text(along.spacing)} on",
        *([f"taken with {distribution_text(along.keep)}"] if along.keep != Constant(1.0) else []),
        *(f"{name} {value:g}" for name, value in (("y", along.y), ("z", along.z), ("yaw", along.yaw)) if value),
    ]
    return f"up to {most_places(along)} in a row ({', '.join(parts)})"


def _set_row(name: str, items: AssetSet) -> list[str]:
    sort = items.sort
    labels = [str(label) for label in items.labels]
    more = f" and {len(labels) - _MOST_LABELS} more" if len(labels) > _MOST_LABELS else ""
    return [
        f"  {name}",
        f"{len(items)} {sort if len(items) != 1 else sort.removesuffix('es' if sort == 'meshes' else 's')}",
        f"labels {', '.join(labels[:_MOST_LABELS])}{more}" if labels else "no labels",
        items.licence or "",
    ]


def _content_text(content: Content) -> str:
    match content:
        case Sprite(asset):
            return f"sprite {_draw_text(asset)}"
        case Mesh(front=AssetDraw() as front, back=back):
            return f"card {_draw_text(front)}, back {_draw_text(back) if back else 'white'}"
        case Mesh(primitive, asset, texture, maps=maps):
            shape = _draw_text(asset) if asset else _PRIMITIVES.get(primitive or 0, "?")
            covered = "with a material" if maps else "textured"
            return f"mesh {shape}" + (f" {covered} {_draw_text(texture)}" if texture else "")
        case Camera(projection):
            return f"{projection} camera"
        case Light(kind):
            return f"{kind} light" if kind in ("point", "area") else kind
    return "frame"


def _draw_text(draw: AssetDraw) -> str:
    return f"of {draw.set}" + (" by weight" if draw.groups else "")


def _rows(experiment: Experiment) -> list[list[str]]:
    target = experiment.target.grammar if experiment.target else None
    head = ["attribute", "distribution", "mean", "std", "range", "unit", "mutable"]
    rows = [[*head, *(["target"] if target else [])]]
    aims = {(kind, spec.name): spec for kind, spec in target.specs} if target else {}
    target_draws = _draws(target) if target else {}
    for (kind, name), draw in _draws(experiment.grammar).items():
        row = [
            f"{kind}.{name}",
            _choices(draw.names, draw.probabilities),
            "",
            "",
            "",
            "",
            "yes" if draw.mutable else "",
        ]
        if target:
            aim_draw = target_draws.get((kind, name))
            row.append(_choices(aim_draw.names, aim_draw.probabilities) if aim_draw and aim_draw != draw else "")
        rows.append(row)
    for kind, spec in experiment.grammar.specs:
        row = [
            f"{kind}.{spec.name}",
            distribution_text(spec.distribution),
            f"{spec.distribution.mean:.4g}",
            f"{spec.distribution.std:.4g}",
            _range_text(spec),
            spec.unit,
            "yes" if spec.mutable or spec.is_choice else "",
        ]
        if target:
            aim = aims.get((kind, spec.name))
            changed = aim is not None and aim.distribution != spec.distribution
            row.append(distribution_text(aim.distribution) if aim and changed else "")
        rows.append(row)
    kinds = list(experiment.grammar.kinds)
    # What is drawn from names stands before a kind's numbers.
    attributes = sorted(rows[1:], key=lambda row: kinds.index(row[0].partition(".")[0]))
    return [rows[0], *_production_rows(experiment.grammar, target), *attributes]


def _production_rows(grammar: Grammar, target: Grammar | None) -> list[list[str]]:
    """Return a row of the table for each mutable production."""
    aims = matching(grammar.productions, target.roots, target.kinds).probabilities if target else {}
    rows = []
    for each in grammar.productions:
        mean, std = ("", "")
        if each.numbers:
            distribution = Categorical(each.numbers, each.probabilities)
            mean, std = f"{distribution.mean:.4g}", f"{distribution.std:.4g}"
        row = [each.name, _choices(each.categories, each.probabilities), mean, std, "", "", "yes"]
        if target:
            aim = aims.get(each.name)
            changed = aim is not None and not np.allclose(aim, each.probabilities)
            row.append(_choices(each.categories, aim) if aim is not None and changed else "")
        rows.append(row)
    return rows


def _draws(grammar: Grammar) -> dict[tuple[str, str], AssetDraw | ColorDraw]:
    """Return the weighted draws of assets, textures and colours, by kind and name."""
    found: dict[tuple[str, str], AssetDraw | ColorDraw] = {}
    for kind in grammar.kinds.values():
        content = kind.content
        draws: dict[str, AssetDraw | ColorDraw | None] = {"color": kind.color}
        if isinstance(content, Sprite):
            draws["sprite"] = content.asset
        elif isinstance(content, Mesh):
            draws |= {"mesh": content.asset, "texture": content.texture}
            draws |= {"front": content.front, "back": content.back}
        found |= {(kind.name, name): draw for name, draw in sorted(draws.items()) if draw is not None and draw.names}
    return found


def _range_text(spec: AttributeSpec) -> str:
    if math.isinf(spec.low) and math.isinf(spec.high):
        return "any"
    if math.isinf(spec.high):
        return "above 0" if spec.low == TINY else f"from {spec.low:g}"
    return f"{spec.low:g} to {spec.high:g}" + (", wraps" if spec.wraps else "")


def _table(rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _choices(names: Sequence[str], probabilities: Iterable[float]) -> str:
    shown = [f"{name} ({probability:.3g})" for name, probability in zip(names, probabilities, strict=True)]
    more = f" or {len(shown) - _MOST_SHOWN} more" if len(shown) > _MOST_SHOWN else ""
    return " or ".join(shown[:_MOST_SHOWN]) + more


def _counted(count: int, one: str, many: str | None = None) -> str:
    return f"{count} {one if count == 1 else many or one + 's'}"
