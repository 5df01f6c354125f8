"""Children in a row along a line: the lanes, kerbs and pavements of Structured Domain Randomization's context splines
(Prakash et al. 2019, arXiv 1810.10093, section 3).

The line starts at its node's origin along +x and bends with a constant curvature. Each child stands in a frame of its
own on the line, which turns with it, so that x along the line, y to its left and yaw relative to it are the child's own
attributes, mutable or not. The frame is a node without content, of the kind `PLACE`; where it stands is drawn with the
scene's structure and stays.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from metasim.v1 import scene_pb2 as pb

from trainer.grammar.distributions import Constant, Distribution, Uniform
from trainer.grammar.nodes import Along, AttributeSpec, NodeKind

#: Name of the kind of node that places on lines have.
PLACE = "place"


@dataclass(frozen=True)
class Row:
    """A row that has been drawn.

    Attributes:
        taken: positions of the places that are taken, in units of length along the line.
        keep: the probability that a place is taken.
        spacings: the distances from place to place.
    """

    taken: tuple[float, ...]
    keep: float
    spacings: tuple[float, ...]


def draw_row(along: Along, rng: np.random.Generator) -> Row:
    """Draw the places of a row."""
    taken, spacings = [], []
    keep = along.keep.sample(rng)
    at = along.start.sample(rng)
    while at <= along.end:
        if rng.random() < keep:
            taken.append(at)
        spacings.append(along.spacing.sample(rng))
        at += spacings[-1]
    return Row(tuple(taken), keep, tuple(spacings))


def pose(along: Along, at: float, curvature: float) -> dict[str, float]:
    """Return x, y, z and yaw (in degrees, -180 to 180) of a place on a line."""
    angle = at * curvature
    if curvature == 0:
        x, y = at, along.y
    else:
        x = math.sin(angle) * (1 / curvature - along.y)
        y = (1 - math.cos(angle)) / curvature + along.y * math.cos(angle)
    yaw = (math.degrees(angle) + along.yaw + 180) % 360 - 180
    return {"x": x, "y": y, "z": along.z, "yaw": yaw}


def most_places(along: Along) -> int:
    """Return the largest number of places."""
    least = along.spacing_edges[0] if along.spacing_edges else along.spacing.support[0]
    return max(0, math.floor((along.end - along.start.support[0]) / least) + 1)


def place_kind(entries: Sequence[Along], unit: str) -> NodeKind:
    """Return the kind of the places on lines. Its ranges hold all places, so that G_θ sees their positions."""
    reach = max(max(abs(along.end), abs(along.start.support[0])) + abs(along.y) for along in entries)
    high = max(abs(along.z) for along in entries)

    def spec(name: str, wire: "pb.Attribute.ValueType", most: float, unit: str = unit) -> AttributeSpec:
        distribution: Distribution = Uniform(-most, most) if most > 0 else Constant(0.0)
        angle = name == "yaw"
        return AttributeSpec(name, wire, -most, most, unit, angle, mutable=False, step=None, distribution=distribution)

    return NodeKind(
        PLACE,
        "",
        None,
        (
            spec("x", pb.ATTRIBUTE_X, reach),
            spec("y", pb.ATTRIBUTE_Y, reach),
            spec("z", pb.ATTRIBUTE_Z, high),
            spec("yaw", pb.ATTRIBUTE_YAW, 180.0, "deg"),
        ),
    )
