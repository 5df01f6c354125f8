"""Productions of a grammar whose probabilities can be learned: how many nodes, of which kinds, and how rows are filled.

Each is categorical, with the grammar's probabilities as prior (the production probabilities of Devaranjan et al.,
Meta-Sim2, ECCV 2020). A count has a category for each number, a kind one for each option. The spacing and the keep of a
row are histograms: a category for each of several bins of equal width, uniform within a bin. The productions of
`scene` belong to the scene, those of a kind's `children` to each node of the kind, so what stands below a scenario
depends on the scenario.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from trainer.errors import InputError
from trainer.grammar.distributions import Categorical, Distribution, Mixture, Uniform
from trainer.grammar.document import Document, KeyPath
from trainer.grammar.nodes import Children, NodeKind

#: The owner of the root nodes, as in paths of the file.
SCENE = "scene"
#: The parts of an entry of `scene` or `children`.
COUNT, KIND, SPACING, KEEP = "count", "kind", "along.spacing", "along.keep"
#: Bins of the histograms of rows.
BINS = 10
#: Largest number of values of a mutable count.
MOST_VALUES = 200


@dataclass(frozen=True)
class Production:
    """A part of an entry of `scene` or `children` whose probabilities can be learned.

    Attributes:
        owner: the kind whose child the entry is; `scene` for root nodes.
        entry: index of the entry in its list.
        part: `count`, `kind`, `along.spacing` or `along.keep`.
        categories: names of the categories: numbers, kinds, or ranges.
        probabilities: of the categories; they sum to one.
        numbers: the numbers of a count, the centres of a histogram's bins; empty for kinds.
    """

    owner: str
    entry: int
    part: str
    categories: tuple[str, ...]
    probabilities: tuple[float, ...]
    numbers: tuple[float, ...] = ()

    @property
    def name(self) -> str:
        """The path of what it stands for in the file: `scene.1.count`, `road.children.0.kind`."""
        return production_name(self.owner, self.entry, self.part)

    def moments(self, probabilities: Sequence[float]) -> tuple[float, float] | None:
        """Return mean and standard deviation of the numbers; None for kinds."""
        if not self.numbers:
            return None
        mean = float(np.dot(self.numbers, probabilities))
        return mean, float(np.sqrt(np.dot((np.array(self.numbers) - mean) ** 2, probabilities)))


def production_name(owner: str, entry: int, part: str) -> str:
    """Return the path of a part of an entry in the file."""
    return f"{SCENE}.{entry}.{part}" if owner == SCENE else f"{owner}.children.{entry}.{part}"


@dataclass(frozen=True)
class Structure:
    """Probabilities of the mutable productions of a grammar, by the names of the productions."""

    probabilities: Mapping[str, tuple[float, ...]]

    @classmethod
    def uniform(cls, productions: Iterable[Production]) -> "Structure":
        """Return equal probabilities of all categories."""
        return cls({each.name: (1 / len(each.categories),) * len(each.categories) for each in productions})

    def mixed(self, other: "Structure", share: float) -> "Structure":
        """Return a mixture, production by production, with a share of the other structure."""
        return Structure(
            {
                name: tuple(
                    (1 - share) * own + share * new for own, new in zip(row, other.probabilities[name], strict=True)
                )
                for name, row in self.probabilities.items()
            }
        )

    def check(self, productions: Sequence[Production]) -> None:
        """
        Raises:
            InputError: it is not of these productions.
        """
        sizes = {each.name: len(each.categories) for each in productions}
        own = {name: len(row) for name, row in self.probabilities.items()}
        if sizes != own:
            odd = sorted(name for name in sizes.keys() | own.keys() if sizes.get(name) != own.get(name))
            raise InputError(
                f"the structure does not fit the grammar: {', '.join(odd)} differ; the grammar has changed since"
            )

    def to_json(self) -> dict[str, Any]:
        """Return the probabilities by name, as JSON."""
        return {name: list(row) for name, row in self.probabilities.items()}

    @classmethod
    def from_json(cls, content: Mapping[str, Sequence[float]]) -> "Structure":
        """Return the structure that `to_json` has described."""
        return cls({name: tuple(row) for name, row in content.items()})

    def lines(self, productions: Iterable[Production]) -> list[str]:
        """Return a plain-text summary, a line for each production."""
        return [f"{each.name}: {self._line(each)}" for each in productions]

    def _line(self, production: Production) -> str:
        row = self.probabilities[production.name]
        moments = production.moments(row)
        if moments is not None:
            return f"{moments[0]:.3g} ± {moments[1]:.2g}"
        shares = zip(production.categories, row, strict=True)
        return ", ".join(f"{category} {100 * share:.0f} %" for category, share in shares if share > 0.005)


def productions_of(roots: Sequence[Children], kinds: Mapping[str, NodeKind]) -> tuple[Production, ...]:
    """Return the mutable productions of a grammar."""
    lists = [(SCENE, roots), *((kind.name, kind.children) for kind in kinds.values())]
    return tuple(
        production
        for owner, entries in lists
        for number, entry in enumerate(entries)
        for production in _productions_of_entry(owner, number, entry)
    )


def matching(productions: Iterable[Production], roots: Sequence[Children], kinds: Mapping[str, NodeKind]) -> Structure:
    """Return the probabilities that another grammar, such as a target's, gives to the categories of productions.

    Productions without a counterpart are left out. What the categories do not hold has no probability, so a row can
    sum to less than one.
    """
    found = {}
    for each in productions:
        entries = roots if each.owner == SCENE else kinds[each.owner].children if each.owner in kinds else ()
        if each.entry < len(entries):
            row = _probabilities_in(each, entries[each.entry])
            if row is not None:
                found[each.name] = row
    return Structure(found)


def replaced(
    roots: Sequence[Children], kinds: Mapping[str, NodeKind], structure: Structure
) -> tuple[tuple[Children, ...], dict[str, NodeKind]]:
    """Return root entries and kinds with the probabilities of a structure."""

    def entries(owner: str, before: Sequence[Children]) -> tuple[Children, ...]:
        return tuple(_with(owner, number, entry, structure) for number, entry in enumerate(before))

    changed = {
        name: replace(kind, children=entries(name, kind.children)) if kind.children else kind
        for name, kind in kinds.items()
    }
    return entries(SCENE, roots), changed


def bins(low: float, high: float) -> tuple[float, ...]:
    """Return the edges of the bins of a histogram over a range."""
    return tuple(np.linspace(low, high, BINS + 1).tolist())


def bin_of(value: float, edges: Sequence[float]) -> int:
    """Return the index of the bin that holds a value."""
    return int(np.clip(np.searchsorted(edges, value, side="right") - 1, 0, len(edges) - 2))


def check_options(
    names: Sequence[str], probabilities: Sequence[float], document: Document, keys: KeyPath, what: str
) -> None:
    """
    Raises:
        GrammarError: there are too few or too many options to learn probabilities of, or one that is never drawn.
    """
    if len(names) < 2:
        raise document.error(
            keys, f"a mutable {what} needs two options or more; add others, or leave mutable out", show_value=False
        )
    if len(names) > MOST_VALUES:
        raise document.error(keys, f"a mutable {what} has at most {MOST_VALUES} options", show_value=False)
    for name, probability in zip(names, probabilities, strict=True):
        if probability <= 0:
            raise document.error(
                keys,
                f"{name} has probability 0, so a mutable {what} never draws it; give it a small probability or "
                "leave it out",
                show_value=False,
            )


def _productions_of_entry(owner: str, number: int, entry: Children) -> Iterable[Production]:
    if entry.mutable_count and isinstance(entry.count, Categorical):
        names = tuple(f"{value:g}" for value in entry.count.values)
        yield Production(owner, number, COUNT, names, entry.count.probabilities, entry.count.values)
    if entry.mutable_kind:
        yield Production(owner, number, KIND, entry.kinds, entry.probabilities)
    if entry.along is not None:
        for part, edges, distribution in (
            (SPACING, entry.along.spacing_edges, entry.along.spacing),
            (KEEP, entry.along.keep_edges, entry.along.keep),
        ):
            if edges:
                names = tuple(f"{low:g} to {high:g}" for low, high in pairwise(edges))
                centres = tuple((low + high) / 2 for low, high in pairwise(edges))
                yield Production(owner, number, part, names, _masses(distribution, edges), centres)


def _probabilities_in(production: Production, entry: Children) -> tuple[float, ...] | None:
    """Return the probabilities of a production's categories in another grammar's entry."""
    if production.part == KIND:
        shares = dict(zip(entry.kinds, entry.probabilities, strict=True))
        return tuple(shares.get(name, 0.0) for name in production.categories)
    if production.part == COUNT:
        if entry.along is not None:
            return None
        return tuple(np.exp(entry.count.log_prob(np.array(production.numbers))).tolist())
    if entry.along is None:
        return None
    centres = np.array(production.numbers)
    half = (centres[1] - centres[0]) / 2
    edges = (*(centres - half).tolist(), float(centres[-1] + half))
    return _masses(entry.along.spacing if production.part == SPACING else entry.along.keep, edges)


def _masses(distribution: Distribution, edges: Sequence[float]) -> tuple[float, ...]:
    """Return the probability of each bin."""
    if isinstance(distribution, Mixture):
        parts = [_masses(component, edges) for component in distribution.components]
        return tuple(np.dot(distribution.weights, parts).tolist())
    if distribution.discrete:
        values = distribution.values if isinstance(distribution, Categorical) else (distribution.mean,)
        shares = distribution.probabilities if isinstance(distribution, Categorical) else (1.0,)
        masses = np.zeros(len(edges) - 1)
        for value, share in zip(values, shares, strict=True):
            masses[bin_of(value, edges)] += share
        return tuple(masses.tolist())
    if isinstance(distribution, Uniform):
        inside = np.clip(edges, distribution.low, distribution.high)
        return tuple((np.diff(inside) / (distribution.high - distribution.low)).tolist())
    fine = np.linspace(edges[:-1], edges[1:], 401, axis=1)
    density = np.exp(distribution.log_prob(fine))
    masses = ((density[:, 1:] + density[:, :-1]) / 2 * np.diff(fine, axis=1)).sum(1)
    return tuple((masses / max(masses.sum(), 1e-300)).tolist())


def _with(owner: str, number: int, entry: Children, structure: Structure) -> Children:
    def row(part: str) -> tuple[float, ...] | None:
        return structure.probabilities.get(production_name(owner, number, part))

    counts, kinds = row(COUNT), row(KIND)
    if counts is not None and isinstance(entry.count, Categorical):
        entry = replace(entry, count=Categorical(entry.count.values, counts))
    if kinds is not None:
        entry = replace(entry, probabilities=kinds)
    if entry.along is not None:
        along, spacing, keep = entry.along, row(SPACING), row(KEEP)
        if spacing is not None:
            along = replace(along, spacing=_histogram(along.spacing_edges, spacing))
        if keep is not None:
            along = replace(along, keep=_histogram(along.keep_edges, keep))
        entry = replace(entry, along=along)
    return entry


def _histogram(edges: Sequence[float], probabilities: Sequence[float]) -> Mixture:
    return Mixture(tuple(Uniform(low, high) for low, high in pairwise(edges)), tuple(probabilities))
