"""The pinhole image behind a lens."""

import numpy as np
import pytest
from metasim.v1 import scene_pb2

from render_server.engines.lens import LensMap, pinhole_frame
from render_server.jacobian.regions import Window
from render_server.scene.geometry import camera_view
from render_server.scene.scene_graph import SceneGraph

WIDTH, HEIGHT = 60, 40


def graph(k1: float) -> SceneGraph:
    camera = scene_pb2.Camera(perspective=scene_pb2.Perspective(vertical_fov_deg=50))
    camera.perspective.lens.k1 = k1
    return SceneGraph(scene_pb2.Scene(nodes=[scene_pb2.Node(id="camera", camera=camera)]))


@pytest.mark.parametrize("k1", [0.0, -0.15, 0.1])
def test_both_sides_of_a_probe_have_the_pinhole_image_of_the_unperturbed_scene(k1: float) -> None:
    """Sampling noise depends on the place in the whole image; it cancels where that is the same."""
    frame = pinhole_frame(camera_view(graph(k1), WIDTH, HEIGHT))
    assert frame is not None
    sides = [LensMap(camera_view(graph(k1 + step), WIDTH, HEIGHT), "camera", frame) for step in (-0.02, 0.02)]
    views = [side.pinhole for side in sides]
    assert [(view.width_px, view.height_px) for view in views] == [(frame[2] - frame[0], frame[3] - frame[1])] * 2
    assert views[0].center == views[1].center == (-frame[0] / views[0].width_px, -frame[1] / views[0].height_px)


def test_a_lens_that_sees_more_than_the_frame_gets_its_own() -> None:
    view = camera_view(graph(-0.1), WIDTH, HEIGHT)
    alone, beside = (LensMap(view, "camera", frame).pinhole for frame in (None, (-31, -40, 50, 40)))
    assert alone.width_px > 62
    assert (beside.width_px, beside.height_px, beside.center) == (alone.width_px, alone.height_px, alone.center)


def test_the_image_does_not_depend_on_the_frame() -> None:
    view = camera_view(graph(-0.1), WIDTH, HEIGHT)
    alone, framed = LensMap(view, "camera"), LensMap(view, "camera", pinhole_frame(view))

    def seen(lens: LensMap) -> np.ndarray:
        """An image of the pixels' distances from the optical axis."""
        width, height = lens.pinhole.width_px, lens.pinhole.height_px
        x = np.arange(width) + 0.5 - lens.pinhole.center[0] * width
        y = np.arange(height) + 0.5 - lens.pinhole.center[1] * height
        everything = np.stack(np.broadcast_arrays(x, y[:, None], 0.0), axis=2).astype(np.float32)
        whole = Window(0, 0, WIDTH, HEIGHT)
        return lens.image(everything[lens.source(whole).slices], whole)

    np.testing.assert_allclose(seen(framed), seen(alone), atol=1e-4)
