"""Validation of a task by the rules of scene.proto and render.proto, and by a worker's limits."""

from collections.abc import Mapping

from metasim.image_files import MOST_QUALITY, MOST_SIDE_PX
from metasim.v1 import render_pb2 as pb
from metasim.v1 import scene_pb2

from render_server.checks import field_checks as check
from render_server.checks.scene_validation import ancestry, validate_scene
from render_server.errors import InvalidTask
from render_server.jacobian.probes import check_columns
from render_server.limits import LimitExceeded, Limits
from render_server.scene.scene_graph import SceneGraph

#: Outputs that can be returned as image files.
_MASKS = (pb.OUTPUT_INSTANCE_MASK, pb.OUTPUT_CLASS_MASK)

#: Largest width of the filter, in pixels.
MAX_FILTER_WIDTH_PX = 4


def validate(task: pb.RenderTask, limits: Limits) -> None:
    """Check everything about a task that needs no rendering.

    Raises:
        InvalidTask: the first field that is wrong; one line with its path, its value and what is allowed.
        LimitExceeded: (an InvalidTask) the field is well-formed but more than `limits` allow.
    """
    check.identifier("id", task.id)
    _validate_settings(task.settings, limits)
    _validate_outputs(task)
    _validate_encodings(task)
    if not 0 <= task.timeout_s <= check.MAX_MAGNITUDE:
        raise InvalidTask(
            "timeout_s", task.timeout_s, "it must be finite and >= 0; 0 stands for the worker's own limit"
        )
    index = validate_scene(task.scene, limits)
    if task.settings.view_transform == pb.VIEW_TRANSFORM_RAW:
        _require_sprites_alone(task.scene)
    if task.probes.difference:
        check.known("probes.difference", task.probes.difference, pb.Difference.DESCRIPTOR)
    if task.probes.method:
        check.known("probes.method", task.probes.method, pb.ProbeMethod.DESCRIPTOR)
    if task.probes.samples > limits.samples:
        raise LimitExceeded("probes.samples", task.probes.samples, f"this worker takes at most {limits.samples}")
    if task.settings.denoise and task.columns:
        raise InvalidTask("settings.denoise", "true", "it must be false in tasks with columns: probes are not denoised")
    if task.HasField("image_gradient"):
        _validate_gradient(task)
    if task.columns:
        _validate_columns(task, index, limits)


def required_assets(task: pb.RenderTask) -> list[str]:
    """Return the content hashes that a valid task names, each once, in the order of the nodes."""
    hashes: dict[str, None] = {}
    for node in task.scene.nodes:
        content = node.WhichOneof("content")
        if content == "sprite":
            hashes[node.sprite.asset] = None
        elif content == "mesh":
            if node.mesh.HasField("asset"):
                hashes[node.mesh.asset.hash] = None
            material = node.mesh.material
            maps = (material.texture, material.normal_texture, material.roughness_texture, material.metallic_texture)
            hashes |= dict.fromkeys(each for each in maps if each)
        elif content == "light" and node.light.HasField("environment"):
            hashes[node.light.environment.asset] = None
    return list(hashes)


def _validate_settings(settings: pb.RenderSettings, limits: Limits) -> None:
    for field in ("width_px", "height_px", "samples"):
        value = getattr(settings, field)
        if value < 1:
            raise InvalidTask(f"settings.{field}", value, "it must be at least 1")
    pixels = settings.width_px * settings.height_px
    if pixels > limits.pixels:
        size = f"{settings.width_px} (times height_px {settings.height_px})"
        raise LimitExceeded("settings.width_px", size, f"this worker takes at most {limits.pixels} pixels")
    if settings.samples > limits.samples:
        raise LimitExceeded("settings.samples", settings.samples, f"this worker takes at most {limits.samples}")
    if settings.max_bounces > limits.bounces:
        raise LimitExceeded("settings.max_bounces", settings.max_bounces, f"this worker takes at most {limits.bounces}")
    check.within(settings, "settings", "filter_width_px", 0, MAX_FILTER_WIDTH_PX)
    check.known("settings.view_transform", settings.view_transform, pb.ViewTransform.DESCRIPTOR)


def _validate_outputs(task: pb.RenderTask) -> None:
    if not task.outputs and not task.columns:
        raise InvalidTask("outputs", "empty", "without columns, at least one output must be asked for")
    seen: set[int] = set()
    for i, output in enumerate(task.outputs):
        check.known(f"outputs[{i}]", output, pb.Output.DESCRIPTOR)
        if output in seen:
            raise InvalidTask(f"outputs[{i}]", pb.Output.Name(output), "it is there already; no value may occur twice")
        seen.add(output)


def _validate_encodings(task: pb.RenderTask) -> None:
    seen: set[int] = set()
    for i, encoding in enumerate(task.encodings):
        path = f"encodings[{i}]"
        check.known(f"{path}.output", encoding.output, pb.Output.DESCRIPTOR)
        name = pb.Output.Name(encoding.output)
        if encoding.output not in (pb.OUTPUT_IMAGE_U8, *_MASKS):
            raise InvalidTask(f"{path}.output", name, "only OUTPUT_IMAGE_U8 and masks are returned as image files")
        if encoding.output not in task.outputs:
            raise InvalidTask(f"{path}.output", name, "it must be one of the task's outputs")
        if encoding.output in seen:
            raise InvalidTask(f"{path}.output", name, "it is there already; no output may occur twice")
        seen.add(encoding.output)
        check.known(f"{path}.format", encoding.format, pb.ImageFormat.DESCRIPTOR)
        if encoding.output in _MASKS and encoding.format != pb.IMAGE_FORMAT_PNG:
            shown = pb.ImageFormat.Name(encoding.format)
            raise InvalidTask(f"{path}.format", shown, "masks are returned as IMAGE_FORMAT_PNG")
        most = 0 if encoding.format == pb.IMAGE_FORMAT_PNG else MOST_QUALITY
        if encoding.quality > most:
            raise InvalidTask(f"{path}.quality", encoding.quality, f"it must be at most {most} for this format")
        side, longest = MOST_SIDE_PX.get(encoding.format), max(task.settings.width_px, task.settings.height_px)
        if side is not None and longest > side:
            shown = pb.ImageFormat.Name(encoding.format)
            raise InvalidTask(f"{path}.format", shown, f"its sides are at most {side} pixels; one has {longest}")


def _validate_columns(task: pb.RenderTask, index: Mapping[str, int], limits: Limits) -> None:
    if len(task.columns) > limits.columns:
        raise LimitExceeded("columns", f"{len(task.columns)} long", f"this worker takes at most {limits.columns}")
    graph = SceneGraph(task.scene)
    above_camera = {task.scene.nodes[i].id for i in ancestry(task.scene, index, graph.camera)}
    first: dict[tuple[str, int], int] = {}
    for i, column in enumerate(task.columns):
        path = f"columns[{i}]"
        check.one_of(f"{path}.node", column.node, index, "the id of a node of the scene")
        check.known(f"{path}.attribute", column.attribute, scene_pb2.Attribute.DESCRIPTOR)
        name = scene_pb2.Attribute.Name(column.attribute)
        before = first.setdefault((column.node, column.attribute), i)
        if before != i:
            raise InvalidTask(f"{path}.attribute", name, f"columns[{before}] probes it on this node already")
        if column.attribute == scene_pb2.ATTRIBUTE_SCALE and column.node in above_camera:
            raise InvalidTask(f"{path}.attribute", name, "the scale of a camera and of its ancestors must stay 1")
        check.not_negative(column, path, "step")
        check.finite(column, path, "minimum", "maximum")
    check_columns(graph, task.columns)


def _validate_gradient(task: pb.RenderTask) -> None:
    if not task.columns:
        raise InvalidTask("image_gradient", "present", "it needs columns to multiply it with")
    shape, expected = list(task.image_gradient.shape), [task.settings.height_px, task.settings.width_px, 3]
    if shape != expected:
        raise InvalidTask("image_gradient.shape", shape, f"it must be {expected}: height, width, 3")


def _require_sprites_alone(scene: scene_pb2.Scene) -> None:
    for i, node in enumerate(scene.nodes):
        content = node.WhichOneof("content")
        if content in ("mesh", "light"):
            raise InvalidTask(
                f"scene.nodes[{i}].{content}",
                "present",
                "VIEW_TRANSFORM_RAW is for scenes of sprites only; use VIEW_TRANSFORM_STANDARD",
            )
