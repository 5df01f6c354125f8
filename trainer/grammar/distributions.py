"""Distributions of one number, sampled with a NumPy generator that is passed in.

Continuous ones have a density, discrete ones a mass. Those on the circle are in degrees and live on [low, low + 360).
Each kind but von Mises' takes the same random numbers for a draw whatever its parameters are, so that worlds that
differ in these alone can be compared scene by scene (common random numbers; Glasserman & Yao, 1992).
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import ClassVar

import numpy as np

from trainer.grammar.attribute_table import FULL_TURN

_STANDARD = NormalDist()


def wrap(degrees: float, low: float = -180.0) -> float:
    """Return the same direction in [low, low + 360)."""
    wrapped = low + (degrees - low) % FULL_TURN
    return low if wrapped >= low + FULL_TURN else wrapped  # -1e-17 % 360 is 360


class Distribution(ABC):
    """A distribution of one real number."""

    #: Whether it has a mass (points) and no density.
    discrete: ClassVar[bool] = False

    @abstractmethod
    def sample(self, rng: np.random.Generator) -> float:
        """Return one draw."""

    @abstractmethod
    def log_prob(self, values: np.ndarray) -> np.ndarray:
        """Return the logarithm of the density (per unit; per degree on the circle) or of the mass, elementwise."""

    @property
    @abstractmethod
    def mean(self) -> float:
        """The mean; on the circle its direction, in degrees."""

    @property
    @abstractmethod
    def std(self) -> float:
        """The standard deviation; on the circle sqrt(-2 ln R) in degrees, R the length of the mean resultant."""

    @property
    @abstractmethod
    def support(self) -> tuple[float, float]:
        """Smallest and largest value, inclusive."""

    def resultant(self) -> complex:
        """Return E[exp(i x)] with x in degrees, the first trigonometric moment."""
        # A density that has no closed form is integrated; the supports in question are a few turns at most.
        low, high = self.support
        grid = np.linspace(low, high, 20001)
        weights = np.exp(self.log_prob(grid)) * np.exp(1j * np.deg2rad(grid))
        return complex(np.trapezoid(weights, grid) if hasattr(np, "trapezoid") else np.trapz(weights, grid))


@dataclass(frozen=True)
class Constant(Distribution):
    """Always `value`."""

    value: float
    discrete = True

    def sample(self, rng: np.random.Generator) -> float:  # noqa: ARG002  nothing is drawn
        return self.value

    def log_prob(self, values: np.ndarray) -> np.ndarray:
        return np.where(np.asarray(values) == self.value, 0.0, -np.inf)

    @property
    def mean(self) -> float:
        return self.value

    @property
    def std(self) -> float:
        return 0.0

    @property
    def support(self) -> tuple[float, float]:
        return self.value, self.value

    def resultant(self) -> complex:
        return complex(np.exp(1j * math.radians(self.value)))


@dataclass(frozen=True)
class Uniform(Distribution):
    """Density 1 / (high - low) on [low, high)."""

    low: float
    high: float

    def sample(self, rng: np.random.Generator) -> float:
        return self.low + (self.high - self.low) * rng.random()

    def log_prob(self, values: np.ndarray) -> np.ndarray:
        values = np.asarray(values)
        return np.where((values >= self.low) & (values <= self.high), -math.log(self.high - self.low), -np.inf)

    @property
    def mean(self) -> float:
        return (self.low + self.high) / 2

    @property
    def std(self) -> float:
        return (self.high - self.low) / math.sqrt(12)

    @property
    def support(self) -> tuple[float, float]:
        return self.low, self.high

    def resultant(self) -> complex:
        half = math.radians(self.high - self.low) / 2
        return complex(np.exp(1j * math.radians(self.mean))) * math.sin(half) / half


@dataclass(frozen=True)
class Normal(Distribution):
    """The normal distribution, unbounded."""

    mu: float
    sigma: float

    def sample(self, rng: np.random.Generator) -> float:
        return self.mu + self.sigma * _normal_quantile(rng.random())

    def log_prob(self, values: np.ndarray) -> np.ndarray:
        z = (np.asarray(values) - self.mu) / self.sigma
        return -0.5 * z * z - math.log(self.sigma * math.sqrt(2 * math.pi))

    @property
    def mean(self) -> float:
        return self.mu

    @property
    def std(self) -> float:
        return self.sigma

    @property
    def support(self) -> tuple[float, float]:
        return -math.inf, math.inf

    def resultant(self) -> complex:
        return complex(np.exp(1j * math.radians(self.mu) - math.radians(self.sigma) ** 2 / 2))


@dataclass(frozen=True)
class TruncatedNormal(Distribution):
    """Normal(mu, sigma) on the condition that it lies in [low, high], which contains mu. A bound may be infinite."""

    mu: float
    sigma: float
    low: float
    high: float

    def sample(self, rng: np.random.Generator) -> float:
        value = self.mu + self.sigma * _normal_quantile(_STANDARD.cdf(self._a) + self._kept * rng.random())
        return min(max(value, self.low), self.high)  # Rounding may lead out.

    def log_prob(self, values: np.ndarray) -> np.ndarray:
        values = np.asarray(values)
        inside = (values >= self.low) & (values <= self.high)
        return np.where(inside, Normal(self.mu, self.sigma).log_prob(values) - math.log(self._kept), -np.inf)

    @property
    def mean(self) -> float:
        return self.mu + self.sigma * (_STANDARD.pdf(self._a) - _STANDARD.pdf(self._b)) / self._kept

    @property
    def std(self) -> float:
        a, b, kept, density = self._a, self._b, self._kept, _STANDARD.pdf
        edges = (a * density(a) if math.isfinite(a) else 0.0) - (b * density(b) if math.isfinite(b) else 0.0)
        return self.sigma * math.sqrt(max(0.0, 1 + edges / kept - ((density(a) - density(b)) / kept) ** 2))

    @property
    def support(self) -> tuple[float, float]:
        return self.low, self.high

    @property
    def _a(self) -> float:
        return (self.low - self.mu) / self.sigma

    @property
    def _b(self) -> float:
        return (self.high - self.mu) / self.sigma

    @property
    def _kept(self) -> float:
        return _STANDARD.cdf(self._b) - _STANDARD.cdf(self._a)


def _normal_quantile(p: float) -> float:
    """Return a quantile of the standard normal; for p = 0 and 1 the most extreme one that can be drawn."""
    least = 2.0**-54
    return _STANDARD.inv_cdf(min(max(p, least), 1 - 2 * least))


@dataclass(frozen=True)
class Categorical(Distribution):
    """values[i] with probability probabilities[i]."""

    values: tuple[float, ...]
    probabilities: tuple[float, ...]
    discrete = True

    def sample(self, rng: np.random.Generator) -> float:
        return self.values[draw_index(rng, self.probabilities)]

    def log_prob(self, values: np.ndarray) -> np.ndarray:
        mass = np.zeros(np.shape(values))
        for value, probability in zip(self.values, self.probabilities, strict=True):
            mass = mass + probability * (np.asarray(values) == value)
        with np.errstate(divide="ignore"):
            return np.log(mass)

    @property
    def mean(self) -> float:
        return float(np.dot(self.values, self.probabilities))

    @property
    def std(self) -> float:
        return math.sqrt(float(np.dot((np.asarray(self.values) - self.mean) ** 2, self.probabilities)))

    @property
    def support(self) -> tuple[float, float]:
        return min(self.values), max(self.values)

    def resultant(self) -> complex:
        return complex(np.dot(np.exp(1j * np.deg2rad(self.values)), self.probabilities))


@dataclass(frozen=True)
class VonMises(Distribution):
    """Density exp(kappa cos(x - mu)) / (2 pi I0(kappa)) per radian, on [low, low + 360) degrees."""

    mu: float
    kappa: float
    low: float = -180.0

    def sample(self, rng: np.random.Generator) -> float:
        return wrap(math.degrees(rng.vonmises(math.radians(self.mu), self.kappa)), self.low)

    def log_prob(self, values: np.ndarray) -> np.ndarray:
        # I0 scaled by exp(-kappa) does not overflow: with cos - 1 the exponent is never positive.
        cosine = np.cos(np.deg2rad(np.asarray(values) - self.mu)) - 1
        return self.kappa * cosine - math.log(FULL_TURN * self._scaled_bessel(0))

    @property
    def mean(self) -> float:
        return wrap(self.mu, self.low)

    @property
    def std(self) -> float:
        return math.degrees(math.sqrt(-2 * math.log(abs(self.resultant()))))

    @property
    def support(self) -> tuple[float, float]:
        return self.low, self.low + FULL_TURN

    def resultant(self) -> complex:
        ratio = self._scaled_bessel(1) / self._scaled_bessel(0)
        return ratio * complex(np.exp(1j * math.radians(self.mu)))

    def _scaled_bessel(self, order: int) -> float:
        # exp(-kappa) I_n(kappa): the periodic integral by the trapezoidal rule, exact to rounding for this many points.
        angle = np.arange(8192) * (2 * math.pi / 8192)
        return float(np.mean(np.exp(self.kappa * (np.cos(angle) - 1)) * np.cos(order * angle)))


@dataclass(frozen=True)
class Wrapped(Distribution):
    """`base`, a distribution on the line, wound around the circle: sum over k of its density at x + 360 k."""

    base: Distribution
    low: float = -180.0

    @property
    def discrete(self) -> bool:  # type: ignore[override]  # as its base is
        return self.base.discrete

    def sample(self, rng: np.random.Generator) -> float:
        return wrap(self.base.sample(rng), self.low)

    def log_prob(self, values: np.ndarray) -> np.ndarray:
        values = np.asarray(values, dtype=np.float64)
        low, high = self.base.support
        if not math.isfinite(high - low):
            low, high = self.base.mean - 12 * self.base.std, self.base.mean + 12 * self.base.std
        first = math.floor((low - self.low) / FULL_TURN)
        last = math.floor((high - self.low) / FULL_TURN)
        turns = [self.base.log_prob(values + FULL_TURN * k) for k in range(first, last + 1)]
        inside = (values >= self.low) & (values <= self.low + FULL_TURN)
        return np.where(inside, np.logaddexp.reduce(turns, axis=0), -np.inf)

    @property
    def mean(self) -> float:
        resultant = self.base.resultant()
        return wrap(math.degrees(math.atan2(resultant.imag, resultant.real)), self.low)

    @property
    def std(self) -> float:
        length = min(1.0, abs(self.base.resultant()))
        return math.degrees(math.sqrt(-2 * math.log(length))) if length > 0 else math.inf

    @property
    def support(self) -> tuple[float, float]:
        return self.low, self.low + FULL_TURN

    def resultant(self) -> complex:
        return self.base.resultant()


@dataclass(frozen=True)
class Mixture(Distribution):
    """components[i] with probability weights[i]; all of them discrete, or none."""

    components: tuple[Distribution, ...]
    weights: tuple[float, ...]
    low: float | None = None  # Of the circle; None: on the line

    @property
    def discrete(self) -> bool:  # type: ignore[override]  # as its components are
        return self.components[0].discrete

    def sample(self, rng: np.random.Generator) -> float:
        return self.components[draw_index(rng, self.weights)].sample(rng)

    def log_prob(self, values: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore"):
            parts = [
                np.log(weight) + component.log_prob(values)
                for weight, component in zip(self.weights, self.components, strict=True)
            ]
        return np.logaddexp.reduce(parts, axis=0)

    @property
    def mean(self) -> float:
        if self.low is not None:
            resultant = self.resultant()
            return wrap(math.degrees(math.atan2(resultant.imag, resultant.real)), self.low)
        return float(np.dot([component.mean for component in self.components], self.weights))

    @property
    def std(self) -> float:
        if self.low is not None:
            length = min(1.0, abs(self.resultant()))
            return math.degrees(math.sqrt(-2 * math.log(length))) if length > 0 else math.inf
        second = np.dot([c.std**2 + c.mean**2 for c in self.components], self.weights)
        return math.sqrt(max(0.0, float(second) - self.mean**2))

    @property
    def support(self) -> tuple[float, float]:
        bounds = [component.support for component in self.components]
        return min(low for low, _ in bounds), max(high for _, high in bounds)

    def resultant(self) -> complex:
        return complex(np.dot([component.resultant() for component in self.components], self.weights))


def draw_index(rng: np.random.Generator, probabilities: Sequence[float]) -> int:
    """Draw an index with the given probabilities, which sum to one."""
    left = rng.random()
    for index, probability in enumerate(probabilities):
        left -= probability
        if left < 0:
            return index
    # Rounding left a sliver above the sum: the last index that has a probability at all.
    return max(index for index, probability in enumerate(probabilities) if probability > 0)
