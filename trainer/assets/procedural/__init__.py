"""Procedural assets: families of textures and meshes. Each item is a pure function of its index.

A grammar names a family as `procedural: NAME` in its asset sets. The module of a family is imported when it is opened.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType

from metasim.v1 import scene_pb2 as pb


@dataclass(frozen=True)
class Family:
    """A family of items 0 to count - 1. Each item is made on demand."""

    count: int
    #: The bytes of a PNG or of a mesh file: always the same for the same index, on every machine.
    make: Callable[[int], bytes]
    #: An item's label, and what it is called; None: the family has no labels, or no names.
    label: Callable[[int], str] | None = None
    item_name: Callable[[int], str] | None = None
    #: The format of meshes; None for images.
    mesh_format: "pb.MeshFormat.ValueType | None" = None


def _in(module: str, name: str) -> Callable[[], Family]:
    """Return the family that a module registers as `name`."""

    def open_family() -> Family:
        family: Family = getattr(import_module(module), name)
        return family

    return open_family


#: What opens a family, by its name in grammars.
FAMILIES: Mapping[str, Callable[[], Family]] = MappingProxyType(
    {
        "aerial-cars": _in("trainer.assets.procedural.aerial", "CARS"),
        "aerial-trees": _in("trainer.assets.procedural.aerial", "TREES"),
        "aerial-houses": _in("trainer.assets.procedural.aerial", "HOUSES"),
        "aerial-grasses": _in("trainer.assets.procedural.aerial", "GRASSES"),
        "aerial-roads": _in("trainer.assets.procedural.aerial", "ROADS"),
        "household": _in("trainer.assets.procedural.household", "HOUSEHOLD"),
        "household-tables": _in("trainer.assets.procedural.household_surfaces", "TABLES"),
        "household-walls": _in("trainer.assets.procedural.household_surfaces", "WALLS"),
        "workshop-places": _in("trainer.assets.procedural.workshop", "PLACES"),
        "workshop-boards": _in("trainer.assets.procedural.workshop", "BOARDS"),
        "light-patches": _in("trainer.assets.procedural.workshop", "PATCHES"),
        "euro-coins": _in("trainer.assets.procedural.coins", "COINS"),
        "coin-grounds": _in("trainer.assets.procedural.coins", "GROUNDS"),
        "blood-cells": _in("trainer.assets.procedural.cells", "CELLS"),
        "street-cars": _in("trainer.assets.procedural.street", "CARS"),
        "street-vans": _in("trainer.assets.procedural.street", "VANS_AND_TRANSPORTERS"),
        "street-trucks": _in("trainer.assets.procedural.street", "TRUCKS"),
        "street-people": _in("trainer.assets.procedural.street", "PEOPLE"),
        "street-houses": _in("trainer.assets.procedural.street", "HOUSES"),
        "street-trees": _in("trainer.assets.procedural.street", "TREES"),
        "street-signs": _in("trainer.assets.procedural.street", "TRAFFIC_SIGNS"),
        "street-lamps": _in("trainer.assets.procedural.street", "LAMPS"),
        "street-roads": _in("trainer.assets.procedural.street", "ROADS"),
    }
)
