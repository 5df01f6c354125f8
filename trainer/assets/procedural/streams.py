"""Random streams of the families: an item depends on its family's stream and on its index alone."""

from enum import IntEnum


class AerialStream(IntEnum):
    """Random streams of the aerial textures. The values determine the textures: never change or reuse one."""

    CARS = 1
    TREES = 2
    HOUSES = 3
    GRASSES = 4
    ROADS = 5


class StreetStream(IntEnum):
    """Random streams of the street's meshes. The values determine the meshes: never change or reuse one."""

    PEOPLE = 1
    HOUSES = 2
    TREES = 3
