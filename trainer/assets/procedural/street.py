"""The families of streets, such as `procedural: street-cars`.

Metres, standing on z = 0. Vehicles and people look along +x; houses to -y, their front on the line y = 0; signs are
read by who looks along +x, and the arms of lamps reach to +y.
"""

from collections.abc import Callable, Sequence

import numpy as np
from metasim.v1 import scene_pb2 as pb

from trainer.assets.procedural import Family
from trainer.assets.procedural.glb_writer import Surface, glb_bytes
from trainer.assets.procedural.shape import Shape
from trainer.assets.procedural.streams import StreetStream
from trainer.assets.procedural.street_cars import BODIES, PAINTS, VANS, car, pickup, truck
from trainer.assets.procedural.street_houses import DOORS, ROOFS, WALLS, House, house
from trainer.assets.procedural.street_people import HAIRS, SKINS, TOPS, TROUSERS, Person, person
from trainer.assets.procedural.street_roads import BENDS, PROFILES, road
from trainer.assets.procedural.street_signs import SIGNS, lamp, sign
from trainer.assets.procedural.street_trees import KINDS, hedge, tree

Parts = list[tuple[Shape, Surface | None]]

_CARGO = ("#e4e4e0", "#c8cdd0", "#2f5d8c", "#d0442f", "#3d6b3f")
_VAN_PAINTS = ("#f0f0ee", "#f0f0ee", "#b9bdc0", "#2c4a7a", "#d8a11d", "#8a1e22")
_TREES_OF_A_KIND = 5


def _family(labels: Sequence[str], make: Callable[[int], Parts]) -> Family:
    """Return a family of labelled items. An item's name is its label and its number within that label."""
    return Family(
        count=len(labels),
        make=lambda index: glb_bytes(make(index)),
        label=lambda index: labels[index],
        item_name=lambda index: f"{labels[index]}-{labels[:index].count(labels[index]) + 1}",
        mesh_format=pb.MESH_FORMAT_GLB,
    )


def _car(index: int) -> Parts:
    label, paint = _CARS[index], PAINTS[index % len(PAINTS)]
    return pickup(paint) if label == "pickup" else car(BODIES[label], paint)


def _truck(index: int) -> Parts:
    length, height = ((6.4, 3.1), (7.6, 3.4), (9.2, 3.7))[index % 3]
    return truck(_VAN_PAINTS[index % len(_VAN_PAINTS)], _CARGO[index % len(_CARGO)], length, height)


def _person(index: int) -> Parts:
    rng = np.random.default_rng([StreetStream.PEOPLE, index])
    return person(
        Person(
            height=float(np.clip(rng.normal(1.72, 0.09), 1.5, 1.92)),
            stride=float(rng.uniform(0.16, 0.3)) if _PEOPLE[index] == "walking" else float(rng.uniform(0, 0.05)),
            skin=str(rng.choice(SKINS)),
            hair=str(rng.choice(HAIRS)),
            top=str(rng.choice(TOPS)),
            trousers=str(rng.choice(TROUSERS)),
            coat=bool(rng.random() < 0.25),
            bag=bool(rng.random() < 0.3),
        )
    )


def _house(index: int) -> Parts:
    rng = np.random.default_rng([StreetStream.HOUSES, index])
    wall, tiles, door = (str(rng.choice(colors)) for colors in (WALLS, ROOFS, DOORS))
    if _HOUSES[index] == "block":
        size = float(rng.uniform(14, 20)), float(rng.uniform(10, 12)), int(rng.integers(3, 6))
        roof = str(rng.choice(("flat", "flat", "gable")))
    elif _HOUSES[index] == "terrace":
        size = float(rng.uniform(6, 9)), float(rng.uniform(8, 10)), int(rng.integers(2, 4))
        roof = str(rng.choice(("gable", "gable", "front-gable")))
    else:
        size = float(rng.uniform(8.5, 13)), float(rng.uniform(8, 10)), int(rng.integers(1, 3))
        roof = str(rng.choice(("gable", "front-gable", "hip")))
    return house(House(*size, roof, wall, tiles, door, chimney=bool(rng.random() < 0.7)))


def _tree(index: int) -> Parts:
    rng = np.random.default_rng([StreetStream.TREES, index])
    return hedge(rng) if _TREES[index] == "hedge" else tree(_TREES[index], rng)


_ROADS = tuple((profile, bend) for profile in PROFILES for bend in BENDS)
_CARS = tuple(label for label in (*BODIES, "pickup") for _ in PAINTS)
_VANS = tuple(label for label in VANS for _ in _VAN_PAINTS)
_PEOPLE = ("walking",) * 18 + ("standing",) * 10
_HOUSES = ("house",) * 12 + ("terrace",) * 10 + ("block",) * 8
_TREES = tuple(kind for kind in (*KINDS, "hedge") for _ in range(_TREES_OF_A_KIND))
_LAMPS = ((7.0, 1.2), (8.5, 1.8), (5.0, 0.6))

#: Body types, each in all paints.
CARS = _family(_CARS, _car)
VANS_AND_TRANSPORTERS = _family(_VANS, lambda index: car(VANS[_VANS[index]], _VAN_PAINTS[index % len(_VAN_PAINTS)]))
TRUCKS = _family(("truck",) * 12, _truck)
PEOPLE = _family(_PEOPLE, _person)
HOUSES = _family(_HOUSES, _house)
TREES = _family(_TREES, _tree)
TRAFFIC_SIGNS = _family(SIGNS, lambda index: sign(SIGNS[index]))
LAMPS = _family(("lamp",) * len(_LAMPS), lambda index: lamp(*_LAMPS[index]))
#: Each profile in each bend: "street-straight", "street-left" ...
ROADS = _family(
    [f"{profile}-{bend}" for profile, bend in _ROADS],
    lambda index: road(PROFILES[_ROADS[index][0]], BENDS[_ROADS[index][1]]),
)
