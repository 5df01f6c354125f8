"""An engine with a camera response: applies the response to another engine's results."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from metasim.tensors import tensor_from_proto, tensor_to_proto
from metasim.v1 import render_pb2 as pb
from metasim.v1 import scene_pb2

from render_server.engines.camera_response import CameraResponse, Sensor
from render_server.engines.engine import Engine
from render_server.engines.frame import quantise, wants_image
from render_server.features import refuse_missing
from render_server.jacobian.column_results import ColumnResults
from render_server.jacobian.probes import Probe, plan_probes
from render_server.jacobian.regions import Window
from render_server.scene.scene_graph import RESPONSE_FIELDS, SceneGraph

#: Default step of a column to each side, in the attribute's unit.
STEPS: Mapping[int, float] = {
    scene_pb2.ATTRIBUTE_EXPOSURE: 0.01,
    scene_pb2.ATTRIBUTE_TEMPERATURE: 20.0,
    scene_pb2.ATTRIBUTE_TINT: 0.01,
    scene_pb2.ATTRIBUTE_CONTRAST: 0.01,
    scene_pb2.ATTRIBUTE_SATURATION: 0.01,
    scene_pb2.ATTRIBUTE_VIGNETTING: 0.01,
    scene_pb2.ATTRIBUTE_BLUR: 0.02,
    scene_pb2.ATTRIBUTE_SHOT_NOISE: 0.002,
    scene_pb2.ATTRIBUTE_READ_NOISE: 0.002,
    scene_pb2.ATTRIBUTE_JPEG_QUALITY: 1.0,
}
_IMAGES = (pb.OUTPUT_IMAGE_U8, pb.OUTPUT_IMAGE_F32)


class RespondingEngine:
    """Renders with another engine and applies the response of the scene's camera.

    A task without a response and without derivatives of one is passed on unchanged.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def name(self) -> str:
        """See `Engine.name`."""
        return self._engine.name

    @property
    def version(self) -> str:
        """See `Engine.version`."""
        return self._engine.version

    @property
    def device(self) -> str:
        """See `Engine.device`."""
        return self._engine.device

    @property
    def device_name(self) -> str:
        """See `Engine.device_name`."""
        return self._engine.device_name

    def render(self, task: pb.RenderTask, assets: Mapping[str, Path]) -> pb.RenderResult:
        """See `Engine.render`."""
        refuse_missing(task, self.name)
        camera = next((node for node in task.scene.nodes if node.HasField("camera")), None)
        if camera is None:
            return self._engine.render(task, assets)
        response = CameraResponse.from_proto(camera.camera.response)
        own = [number for number, column in enumerate(task.columns) if _of_response(column, camera)]
        if response.neutral and not own:
            return self._engine.render(task, assets)
        result = self._engine.render(_without_response(task, camera.id, own), assets)
        layers = {layer.output: layer for layer in result.layers}
        sensor = Sensor(
            task.settings.width_px,
            task.settings.height_px,
            task.seed,
            linear=task.settings.view_transform != pb.VIEW_TRANSFORM_RAW,
        )
        if pb.OUTPUT_IMAGE_F32 not in layers:
            return result
        rendered = tensor_from_proto(layers[pb.OUTPUT_IMAGE_F32].tensor)
        taken = sensor.image(rendered, response)
        del result.layers[:]
        for output in task.outputs:
            if output == pb.OUTPUT_IMAGE_U8:
                result.layers.add(output=output).tensor.CopyFrom(tensor_to_proto(quantise(taken)))
            elif output == pb.OUTPUT_IMAGE_F32:
                result.layers.add(output=output).tensor.CopyFrom(tensor_to_proto(taken))
            elif output in layers:
                result.layers.add().CopyFrom(layers[output])
        columns = _columns(task, list(result.columns), own, sensor, rendered, response)
        del result.columns[:]
        result.columns.extend(columns)
        return result


def _of_response(column: pb.Column, camera: scene_pb2.Node) -> bool:
    return column.node == camera.id and column.attribute in RESPONSE_FIELDS


def _without_response(task: pb.RenderTask, camera: str, own: list[int]) -> pb.RenderTask:
    """Return the inner engine's task: the rendered image in floats, and the differences of the scene's columns."""
    inner = pb.RenderTask()
    inner.CopyFrom(task)
    for node in inner.scene.nodes:
        if node.id == camera:
            node.camera.ClearField("response")
    inner.ClearField("image_gradient")
    del inner.columns[:]
    inner.columns.extend(column for number, column in enumerate(task.columns) if number not in own)
    outputs = [output for output in task.outputs if output not in _IMAGES]
    del inner.outputs[:]
    inner.outputs.extend([*outputs, pb.OUTPUT_IMAGE_F32] if wants_image(task.outputs) or task.columns else outputs)
    return inner


def _columns(
    task: pb.RenderTask,
    rendered_columns: list[pb.ColumnResult],
    own: list[int],
    sensor: Sensor,
    rendered: np.ndarray,
    response: CameraResponse,
) -> list[pb.ColumnResult]:
    """Return the columns of the taken image, in the task's order."""
    results = ColumnResults(task)
    others = [number for number in range(len(task.columns)) if number not in own]
    for number, column in zip(others, rendered_columns, strict=True):
        region = column.region
        left, top, width, height = map(int, (region.x_px, region.y_px, region.width_px, region.height_px))
        window = Window(left, top, left + width, top + height)
        difference = tensor_from_proto(column.difference)
        if window.pixels:
            window, difference = sensor.difference(rendered, difference, window, response)
        results.add(
            Probe(number, None, None, column.span),
            difference.astype(np.float32),
            left_px=window.left,
            top_px=window.top,
            samples=column.samples,
        )
        if column.HasField("audit"):
            results.in_order()[number].audit.CopyFrom(column.audit)
    responses = pb.RenderTask()
    responses.CopyFrom(task)
    del responses.columns[:]
    responses.columns.extend(task.columns[number] for number in own)
    graph = SceneGraph(task.scene)
    for number, probe in zip(own, plan_probes(graph, responses, lambda _, attribute: STEPS[attribute]), strict=True):
        begin, end = (
            sensor.values(rendered, _response_of(side or graph), sensor.frame) for side in (probe.begin, probe.end)
        )
        results.add(Probe(number, None, None, probe.span), end - begin)
    return results.in_order()


def _response_of(graph: SceneGraph) -> CameraResponse:
    return CameraResponse.from_proto(graph.nodes[graph.camera].camera.response)
