"""What transforms mean, in matrices that both halves share."""

import numpy as np
from metasim.transforms import world_matrices
from metasim.v1 import scene_pb2 as pb


def test_children_stand_in_their_parents_frames_in_whatever_order_they_come() -> None:
    scene = pb.Scene()
    scene.nodes.add(id="wheel", parent="car", transform=pb.Transform(x_m=1.0))
    scene.nodes.add(id="car", parent="road", transform=pb.Transform(y_m=2.0, yaw_deg=90.0, scale=3.0))
    scene.nodes.add(id="road", transform=pb.Transform(z_m=5.0, roll_deg=90.0))
    world = world_matrices(scene)
    np.testing.assert_allclose(world["wheel"] @ (0, 0, 0, 1), (0, 0, 10, 1), atol=1e-12)
    np.testing.assert_allclose(world["car"] @ (0, 0, 1, 1), (0, -3, 7, 1), atol=1e-12)
    np.testing.assert_allclose(world["road"][:3, :3], [[1, 0, 0], [0, 0, -1], [0, 1, 0]], atol=1e-12)
