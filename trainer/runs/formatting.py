"""Figures as text, for the report and the terminal alike."""

import math

#: A space at which a line is not broken.
NO_BREAK = "\N{NO-BREAK SPACE}"


def short(value: float) -> str:
    """Return a number with at most four digits and a typographic minus sign; a dash if it is not finite."""
    if not math.isfinite(value):
        return "–"
    if value != 0 and not 1e-3 <= abs(value) < 1e5:
        mantissa, exponent = f"{value:.1e}".split("e")
        text = f"{mantissa.removesuffix('.0')}e{int(exponent)}"
    else:
        digits = 0 if abs(value) >= 1000 else max(0, 3 - len(str(int(abs(value)))) + (abs(value) < 1))
        text = f"{value:.{digits}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
    return text.replace("-", "−")


def plus_minus(mean: float, spread: float) -> str:
    """Return a mean and its spread, rounded to the spread's second digit, or third if its first digit is 1."""
    if not (math.isfinite(mean) and math.isfinite(spread) and spread > 0):
        return f"{short(mean)} ± {short(spread)}"
    digits = min(max(0, 1 - math.floor(math.log10(spread / 2))), 6)
    rounded = round(mean, digits) + 0.0  # No negative zero
    return f"{rounded:.{digits}f} ± {spread:.{digits}f}".replace("-", "−")


def signed_percent(fraction: float) -> str:
    """Return a fraction in percent with its sign: `+12 %`."""
    return f"{100 * fraction:+.0f} %".replace("-", "−")


def score(value: float, *, errors: bool = False) -> str:
    """Return a score, in percent if it lies between 0 and 1 and is no error with its own unit."""
    return f"{100 * value:.1f}{NO_BREAK}%" if 0 <= value <= 1 and not errors else short(value)


def score_spread(mean: float, deviation: float | None, *, errors: bool = False) -> str:
    """Return a score with its standard deviation, if there is one."""
    text = score(mean, errors=errors)
    return text if deviation is None else f"{text} ± {score(deviation, errors=errors)}"


def count(number: int, noun: str) -> str:
    """Return a number with its noun: `1 epoch`, `2 epochs`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def with_unit(value: float, unit: str) -> str:
    """Return a number with its unit: `1.5 px`, `90°`, `0.3` for the unit 1."""
    return short(value) + unit_suffix(unit)


def unit_suffix(unit: str) -> str:
    """Return the suffix of a number in this unit."""
    return {"deg": "°", "1": ""}.get(unit, f" {unit}")
