"""Benchmarks on several devices, one after the other, in one run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from trainer.errors import InputError


@dataclass(frozen=True)
class OnDevices:
    """The figures of each device, and why some devices were not measured."""

    #: By device, in the order in which they were asked for.
    results: Mapping[str, dict[str, Any]]
    #: Why a device was not measured.
    missing: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """Return the result of the one device that was asked for; of several, `devices` and `missing`."""
        if len(self.results) == 1 and not self.missing:
            return next(iter(self.results.values()))
        return {"devices": dict(self.results), "missing": dict(self.missing)}


def on_each_device(devices: str, measure: Callable[[str], dict[str, Any]]) -> OnDevices:
    """Measure on each device; those that this machine lacks are left out.

    Args:
        devices: names, separated by commas.
        measure: returns the figures of a device.

    Raises:
        InputError: no name is given, or none of the devices can be measured.
    """
    names = list(dict.fromkeys(name.strip() for name in devices.split(",") if name.strip()))
    if not names:
        raise InputError("--device names no device; write for example --device cpu,cuda")
    results, missing = {}, {}
    for name in names:
        try:
            results[name] = measure(name)
        except InputError as error:
            if len(names) == 1:
                raise
            missing[name] = str(error)
    if not results:
        raise InputError("; ".join(f"{name}: {reason}" for name, reason in missing.items()))
    return OnDevices(results, missing)
