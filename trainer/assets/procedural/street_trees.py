"""Trees, bushes and hedges: on z = 0 around the z axis, metres."""

import numpy as np

from trainer.assets.procedural.blocks import block
from trainer.assets.procedural.glb_writer import Surface, linear
from trainer.assets.procedural.shape import Shape, joined
from trainer.assets.procedural.solids import ellipsoid, turned

Parts = list[tuple[Shape, Surface | None]]

#: The kinds, by how common they are along streets.
KINDS = ("broadleaf", "young", "poplar", "conifer", "bush")
LEAVES = ("#3f5a26", "#4d6a2c", "#35502a", "#5d7232", "#2f4526")
NEEDLES = ("#2b4429", "#24402f", "#35492a")
_BARK = Surface(linear("#4f4136"), roughness=0.95)


def tree(kind: str, rng: np.random.Generator) -> Parts:
    """Return a tree of a kind, with its own shape and green."""
    leaves = Surface(linear(str(rng.choice(NEEDLES if kind == "conifer" else LEAVES))), roughness=0.95)
    if kind == "conifer":
        height, radius = rng.uniform(7, 13), rng.uniform(1.5, 2.3)
        crown = []
        for level in range(4):
            low = height * (0.14 + 0.2 * level)
            wide = radius * (1 - 0.2 * level)
            cone = turned([(0.0, low + 0.25), (wide, low), (0.0, min(low + height * 0.36, height))], 11)
            crown.append(_crumpled(cone, rng, 0.1))
        return [(_trunk(0.18, height * 0.3), _BARK), (joined(crown), leaves)]
    if kind == "poplar":
        height, radius = rng.uniform(10, 15), rng.uniform(1.2, 1.7)
        crown = [
            _blob(radius * wide, height * tall, rng).moved(z=height * at)
            for wide, tall, at in ((1.0, 0.5, 0.42), (0.8, 0.4, 0.72))
        ]
        return [(_trunk(0.2, height * 0.3), _BARK), (joined(crown), leaves)]
    if kind == "bush":
        size = rng.uniform(0.9, 1.8)
        crown = [_blob(size * 0.75, size * 0.9, rng).moved(x=rng.normal(0, 0.3), y=rng.normal(0, 0.3), z=size * 0.35)]
        crown.append(_blob(size * 0.6, size * 0.7, rng).moved(x=rng.normal(0, 0.5), z=size * 0.3))
        above = [
            Shape(np.maximum(part.points, (-np.inf, -np.inf, 0.0)), part.normals, part.uvs, part.triangles)
            for part in crown
        ]
        return [(joined(above), leaves)]
    young = kind == "young"
    height = rng.uniform(4.0, 5.5) if young else rng.uniform(7, 12)
    radius = height * (rng.uniform(0.2, 0.26) if young else rng.uniform(0.26, 0.36))
    stem = height * (0.38 if young else 0.28)
    crown = [_blob(radius, height - stem, rng).moved(z=stem + (height - stem) * 0.48)]
    for _ in range(2 if young else 4):
        angle, out = rng.uniform(0, 2 * np.pi), radius * rng.uniform(0.4, 0.7)
        part = _blob(radius * rng.uniform(0.5, 0.7), (height - stem) * rng.uniform(0.4, 0.6), rng)
        crown.append(
            part.moved(out * np.cos(angle), out * np.sin(angle), stem + (height - stem) * rng.uniform(0.3, 0.65))
        )
    return [(_trunk(0.09 if young else 0.22, stem + 0.8), _BARK), (joined(crown), leaves)]


def hedge(rng: np.random.Generator) -> Parts:
    """Return five metres of hedge along x."""
    height = rng.uniform(1.0, 1.9)
    rows = [
        _crumpled(block((start, start + 1.05), (-0.4, 0.4), (0.0, height * rng.uniform(0.93, 1.0))), rng, 0.06)
        for start in np.arange(-2.5, 2.4, 1.0)
    ]
    return [(_above_ground(joined(rows)), Surface(linear(str(rng.choice(LEAVES))), roughness=0.95))]


def _above_ground(shape: Shape) -> Shape:
    points = np.maximum(shape.points, (-np.inf, -np.inf, 0.0))
    return Shape(points, shape.normals, shape.uvs, shape.triangles)


def _trunk(radius: float, height: float) -> Shape:
    return turned([(radius * 1.25, 0.0), (radius, 0.4), (radius * 0.7, height)], 7)


def _blob(radius: float, height: float, rng: np.random.Generator) -> Shape:
    return _crumpled(ellipsoid(2 * radius, 2 * radius, height, 11, 7), rng, 0.16)


def _crumpled(shape: Shape, rng: np.random.Generator, amount: float) -> Shape:
    """Return the shape, flat-shaded, with its points moved in or out by up to `amount` of their distance."""
    keys = np.round(shape.points, 5)
    places, back = np.unique(keys, axis=0, return_inverse=True)
    factors = 1 + rng.uniform(-amount, amount, len(places))
    middle = places.mean(axis=0)
    points = middle + (places - middle) * factors[:, None]
    corners = points[back.reshape(-1)][shape.triangles]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths = np.linalg.norm(normals, axis=1)
    kept = lengths > 1e-9
    normals = normals[kept] / lengths[kept, None]
    count = int(kept.sum())
    return Shape(
        corners[kept].reshape(-1, 3),
        np.repeat(normals, 3, axis=0),
        np.zeros((3 * count, 2)),
        np.arange(3 * count).reshape(-1, 3),
    )
