"""Builds distributions from the schema's, and checks them against the range of their attribute."""

import math
from collections.abc import Mapping

from trainer.grammar.attribute_table import FULL_TURN
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
    wrap,
)
from trainer.grammar.document import Document, KeyPath
from trainer.grammar.schema_sections import DISTRIBUTIONS, Component, CountSection, DistributionSection, NumberSection

#: How far from one the sum of probabilities may be; more than rounding of three decimals is a mistake.
SUM_TOLERANCE = 1e-6
_SMALLEST_PIECE = 1e-6


def build_distribution(
    section: DistributionSection, document: Document, keys: KeyPath, low: float, high: float, *, circle: bool
) -> Distribution:
    """Return the distribution of an attribute.

    Args:
        keys: where the section stands in the document.
        low, high: range of the attribute.
        circle: whether that range is a whole turn, on which values wrap.

    Raises:
        GrammarError: the distribution reaches out of the range, or is empty, or makes no sense there.
    """
    kind = next(name for name in DISTRIBUTIONS if getattr(section, name) is not None)
    return _Builder(document, low, high, circle).build(kind, section, keys)


def build_count(section: CountSection, document: Document, keys: KeyPath) -> Distribution:
    """Return the distribution of a count: whole numbers from 0 on.

    Raises:
        GrammarError: the distribution is continuous, or yields a number that is no count.
    """
    kind = next(name for name in DISTRIBUTIONS if getattr(section, name) is not None)
    at = (*keys, kind)
    if kind not in ("constant", "integers", "categorical", "poisson"):
        raise document.error(at, "a count is a whole number, or one of integers, categorical, poisson")
    distribution = _Builder(document, 0, math.inf, circle=False).build(kind, section, keys)
    values = distribution.values if isinstance(distribution, Categorical) else (distribution.mean,)
    if any(value != int(value) for value in values):
        raise document.error(_existing(document, at), "counts must be whole numbers")
    return distribution


def build_number(section: NumberSection, document: Document, keys: KeyPath, low: float, high: float) -> Distribution:
    """Return the distribution of a number that is not an attribute.

    Raises:
        GrammarError: as `build_distribution`.
    """
    return build_distribution(section, document, keys, low, high, circle=False)


def check_sum(probabilities: Mapping[object, float], document: Document, keys: KeyPath) -> tuple[float, ...]:
    """Return the probabilities, normalised to remove rounding.

    Raises:
        GrammarError: they do not sum to one.
    """
    total = math.fsum(probabilities.values())
    if abs(total - 1) > SUM_TOLERANCE:
        raise document.error(keys, f"the probabilities sum to {total:g}; they must sum to 1")
    return tuple(probability / total for probability in probabilities.values())


def _existing(document: Document, keys: KeyPath) -> KeyPath:
    """Return the keys that exist in the file: without the last one if the file has a shorthand."""
    return keys if document.holds(keys) else keys[:-1]


class _Builder:
    def __init__(self, document: Document, low: float, high: float, circle: bool) -> None:
        self._document, self._low, self._high, self._circle = document, low, high, circle

    def build(self, kind: str, section: DistributionSection, keys: KeyPath) -> Distribution:
        at = _existing(self._document, (*keys, kind))
        value = getattr(section, kind)
        distribution: Distribution = getattr(self, f"_{kind}")(value, at)
        return distribution

    def _constant(self, value: float, at: KeyPath) -> Distribution:
        return Constant(self._number(value, at))

    def _uniform(self, bounds: tuple[float, float], at: KeyPath) -> Distribution:
        low, high = self._ordered(bounds, at)
        if not self._circle:
            self._number(low, (*at, 0))
            self._number(high, (*at, 1))
            return Uniform(low, high)
        if high - low > FULL_TURN:
            raise self._document.error(at, "a uniform distribution covers at most 360 degrees")
        return Wrapped(Uniform(low, high), self._low)

    def _normal(self, parameters: tuple[float, float], at: KeyPath) -> Distribution:
        mean, sigma = parameters
        mean = self._number(mean, (*at, 0), "the mean")
        if self._circle:
            return Wrapped(Normal(mean, sigma), self._low)
        if math.isinf(self._low) and math.isinf(self._high):
            return Normal(mean, sigma)
        return TruncatedNormal(mean, sigma, self._low, self._high)

    def _wrapped_normal(self, parameters: tuple[float, float], at: KeyPath) -> Distribution:
        self._need_circle(at)
        return self._normal(parameters, at)

    def _truncated_normal(self, parameters: tuple[float, float, float, float], at: KeyPath) -> Distribution:
        mean, sigma, low, high = parameters
        self._ordered((low, high), at)
        if not low <= mean <= high:
            raise self._document.error((*at, 0), f"the mean must lie between {low:g} and {high:g}, where it is cut off")
        distribution = TruncatedNormal(mean, sigma, low, high)
        if self._circle:
            if high - low > FULL_TURN:
                raise self._document.error(at, "low and high are at most 360 degrees apart")
            return Wrapped(distribution, self._low)
        self._number(low, (*at, 2))
        self._number(high, (*at, 3))
        return distribution

    def _von_mises(self, parameters: tuple[float, float], at: KeyPath) -> Distribution:
        self._need_circle(at)
        mean, kappa = parameters
        return VonMises(self._number(mean, (*at, 0), "the mean"), kappa, self._low)

    def _categorical(self, choices: list[float] | dict[float, float], at: KeyPath) -> Distribution:
        if not choices:
            raise self._document.error(at, "at least one number is needed")
        if isinstance(choices, list):
            weights: dict[float, float] = {}
            for index, value in enumerate(choices):
                number = self._number(value, (*at, index))
                weights[number] = weights.get(number, 0.0) + 1 / len(choices)
        else:
            weights = {}
            for value, weight in choices.items():
                number = self._number(value, at, f"the number {value:g}")
                weights[number] = weights.get(number, 0.0) + weight
        # Sorted: the order of keys in the file decides nothing.
        ordered: dict[object, float] = {value: weights[value] for value in sorted(weights)}
        return self._discrete(dict(zip(sorted(weights), check_sum(ordered, self._document, at), strict=True)))

    def _integers(self, bounds: tuple[int, int], at: KeyPath) -> Distribution:
        low, high = bounds
        if low > high:
            raise self._document.error(at, "the first number must not be above the second")
        if high - low >= 10_000:
            raise self._document.error(at, "at most 10000 numbers are allowed")
        self._number(float(low), (*at, 0))
        self._number(float(high), (*at, 1))
        return self._discrete({float(value): 1 / (high - low + 1) for value in range(low, high + 1)})

    def _poisson(self, parameters: tuple[float, int], at: KeyPath) -> Distribution:
        rate, most = parameters
        self._number(0.0, at, "its smallest value, 0,")
        self._number(float(most), (*at, 1))
        logs = [count * math.log(rate) - math.lgamma(count + 1) for count in range(most + 1)]
        peak = max(logs)
        masses = [math.exp(log - peak) for log in logs]
        total = math.fsum(masses)
        return self._discrete({float(count): mass / total for count, mass in enumerate(masses)})

    def _discrete(self, masses: Mapping[float, float]) -> Distribution:
        distribution = Categorical(tuple(masses), tuple(masses.values()))
        return Wrapped(distribution, self._low) if self._circle else distribution

    def _mixture(self, parts: list[Component], at: KeyPath) -> Distribution:
        if not parts:
            raise self._document.error(at, "at least one part is needed")
        components = []
        for index, part in enumerate(parts):
            kind = next(name for name in DISTRIBUTIONS if getattr(part, name) is not None)
            components.append(self.build(kind, part, (*at, index)))
        if len({component.discrete for component in components}) > 1:
            raise self._document.error(
                at, "parts that yield single numbers and parts that have a density cannot be mixed", show_value=False
            )
        weights = check_sum({index: part.weight for index, part in enumerate(parts)}, self._document, at)
        return Mixture(tuple(components), weights, self._low if self._circle else None)

    def _number(self, value: float, at: KeyPath, what: str = "it") -> float:
        """Return the number, wrapped on a circle or else checked against the range."""
        if self._circle and abs(value) <= FULL_TURN:
            return wrap(value, self._low)
        low, high = (-FULL_TURN, FULL_TURN) if self._circle else (self._low, self._high)
        if not low <= value <= high:
            raise self._document.error(at, f"{what} must lie {between(low, high)}")
        return float(value)

    def _ordered(self, bounds: tuple[float, float], at: KeyPath) -> tuple[float, float]:
        low, high = bounds if len(bounds) == 2 else bounds[-2:]
        if high - low < _SMALLEST_PIECE:
            raise self._document.error(at, "low must be below high")
        return low, high

    def _need_circle(self, at: KeyPath) -> None:
        if not self._circle:
            raise self._document.error(
                at, "only an angle whose range is the whole circle wraps; use normal or truncated_normal"
            )


def between(low: float, high: float) -> str:
    """Return `between 0 and 1`, or `at or above 0`."""
    if math.isinf(high):
        return f"at or above {low:g}"
    return f"at or below {high:g}" if math.isinf(low) else f"between {low:g} and {high:g}"
