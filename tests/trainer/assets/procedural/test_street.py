"""Things of streets: each stands on the ground, is as large as its like in the world, and is the same every time."""

import json
import struct

import numpy as np
import pytest

from trainer.assets.procedural import street
from trainer.assets.procedural.street_roads import BENDS, KERB_M, PROFILES, place_on_arc, road


def triangles_and_corners(data: bytes) -> tuple[int, np.ndarray, np.ndarray]:
    """Number of triangles, and the lowest and highest corner in the scene's frame, of a GLB file."""
    length = struct.unpack_from("<I", data, 12)[0]
    document = json.loads(data[20 : 20 + length])
    accessors = document["accessors"]
    count, low, high = 0, np.full(3, np.inf), np.full(3, -np.inf)
    for primitive in document["meshes"][0]["primitives"]:
        count += accessors[primitive["indices"]]["count"] // 3
        position = accessors[primitive["attributes"]["POSITION"]]
        low, high = np.minimum(low, position["min"]), np.maximum(high, position["max"])
    # In the file y is up and z points to our -y.
    return count, np.array([low[0], -high[2], low[1]]), np.array([high[0], -low[2], high[1]])


#: Least and most length (x), width (y) and height of a family's items, in m, and most triangles.
SIZES = {
    "CARS": ((3.8, 5.3), (1.65, 1.95), (1.4, 1.8), 1500),
    "VANS_AND_TRANSPORTERS": ((5.0, 6.0), (1.9, 2.05), (2.0, 2.5), 1500),
    "TRUCKS": ((6, 10), (2.4, 2.55), (3.0, 3.8), 1500),
    "PEOPLE": ((0.25, 1.0), (0.4, 0.75), (1.45, 2.0), 800),
    "HOUSES": ((6, 21), (8, 14), (4.5, 22), 1500),
    "TREES": ((0.5, 9), (0.5, 9), (0.6, 16), 1500),
    "TRAFFIC_SIGNS": ((0.05, 0.3), (0.25, 1), (2.5, 3.2), 600),
    "LAMPS": ((0.1, 0.4), (0.8, 2.8), (4.9, 8.7), 600),
}


@pytest.mark.parametrize("name", SIZES)
def test_items_stand_on_the_ground_in_their_own_size(name):
    family = getattr(street, name)
    *sizes, most = SIZES[name]
    for index in range(0, family.count, max(1, family.count // 7)):
        count, low, high = triangles_and_corners(family.make(index))
        assert low[2] == pytest.approx(0, abs=0.005), (name, index)
        assert 40 < count <= most, (name, index)
        for (least, largest), extent in zip(sizes, high - low, strict=True):
            assert least <= extent <= largest, (name, index, extent)


def test_vehicles_are_centred_and_houses_stand_behind_the_line():
    for family in (street.CARS, street.VANS_AND_TRANSPORTERS, street.TRUCKS):
        _, low, high = triangles_and_corners(family.make(0))
        np.testing.assert_allclose((low + high)[:2] / 2, 0, atol=0.02)
    _, low, high = triangles_and_corners(street.HOUSES.make(0))
    assert -0.6 < low[1] < 0
    assert high[1] > 8


@pytest.mark.parametrize("name", SIZES)
def test_an_item_is_a_function_of_its_index(name):
    family = getattr(street, name)
    assert family.make(family.count - 1) == family.make(family.count - 1)
    names = [family.item_name(index) for index in range(family.count)]
    assert len(set(names)) == family.count
    assert all(names[index].startswith(family.label(index)) for index in range(family.count))


def test_labels_are_kinds_of_cars():
    labels = {street.CARS.label(index) for index in range(street.CARS.count)}
    assert labels == {"hatchback", "sedan", "estate", "suv", "minivan", "pickup"}
    # Every body comes in every paint.
    assert len({street.CARS.make(index) for index in range(street.CARS.count)}) == street.CARS.count


@pytest.mark.parametrize("curvature", [0.0, 1 / 90, -1 / 250])
def test_arcs(curvature):
    s, y = np.array([0.0, 0.0, 10.0, 10.0]), np.array([0.0, 3.0, 0.0, 3.0])
    places = place_on_arc(s, y, curvature)
    np.testing.assert_allclose(places[:2], [[0, 0], [0, 3]], atol=1e-12)
    # The left edge stays 3 m from the middle, at a right angle to the way.
    heading = 10 * curvature
    np.testing.assert_allclose(places[3] - places[2], [-3 * np.sin(heading), 3 * np.cos(heading)], atol=1e-9)
    # The middle is 10 m long: half of it is a chord of the arc.
    chord = 10.0 if curvature == 0 else 2 / abs(curvature) * np.sin(10 * abs(curvature) / 2)
    assert np.linalg.norm(places[2] - places[0]) == pytest.approx(chord)


def test_roads_have_a_profile_and_a_bend():
    labels = [street.ROADS.label(index) for index in range(street.ROADS.count)]
    assert labels[:2] == ["residential-straight", "residential-left"]
    assert len(set(labels)) == len(PROFILES) * len(BENDS) == 20
    for index in range(0, len(labels), 3):
        count, low, high = triangles_and_corners(street.ROADS.make(index))
        assert count < 2500
        assert low[2] == pytest.approx(0)
        # Pavements lie a kerb higher than the road; rural roads have none.
        assert high[2] == pytest.approx(0.006 if labels[index].startswith("rural") else KERB_M)
        assert low[0] < -15
        assert high[0] > 80


def test_normals_of_roads_point_upwards():
    for profile in PROFILES.values():
        for curvature in BENDS.values():
            for shape, _ in road(profile, curvature):
                corners = shape.points[shape.triangles]
                facing = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
                assert (facing[:, 2] >= 0).all()
                assert (np.einsum("ij,ij->i", facing, shape.normals[shape.triangles[:, 0]]) > 0).all()
