"""Features of tasks, and the engines that have them."""

from collections.abc import Iterator, Mapping, Sequence

from metasim.v1 import render_pb2 as pb

from render_server.errors import Unsupported

_SCENES_WITH_DEPTH = (pb.FEATURE_MESHES, pb.FEATURE_LIGHTS, pb.FEATURE_PERSPECTIVE, pb.FEATURE_TILTED_SPRITES)

#: Features of each engine, by its name.
FEATURES: Mapping[str, Sequence["pb.Feature.ValueType"]] = {
    "blender": (
        *_SCENES_WITH_DEPTH,
        pb.FEATURE_APPEARANCE,
        pb.FEATURE_ENVIRONMENT,
        pb.FEATURE_LENS,
        pb.FEATURE_SURFACES,
        pb.FEATURE_SETTLING,
        pb.FEATURE_DENOISING,
    ),
    "raster": (pb.FEATURE_APPEARANCE,),
    "fake": (*_SCENES_WITH_DEPTH, pb.FEATURE_ENVIRONMENT, pb.FEATURE_LENS, pb.FEATURE_SURFACES),
}
_SURFACES = (
    "metallic",
    "specular",
    "opacity",
    "normal_texture",
    "roughness_texture",
    "metallic_texture",
    "uv_scale",
)


def refuse_missing(task: pb.RenderTask, engine: str) -> None:
    """Refuse a task that asks for a feature that the engine lacks, as far as single fields tell.

    Raises:
        Unsupported: the first such field.
    """
    for field, feature in _asked(task):
        if feature not in FEATURES[engine]:
            name = pb.Feature.Name(feature).removeprefix("FEATURE_").lower()
            raise Unsupported(field, "present", f"the engine {engine} has no {name}; use a worker that has it", feature)


def _asked(task: pb.RenderTask) -> Iterator[tuple[str, "pb.Feature.ValueType"]]:
    """Yield the fields of a task that ask for features, and these."""
    if task.settings.denoise:
        yield "settings.denoise", pb.FEATURE_DENOISING
    for index, node in enumerate(task.scene.nodes):
        if node.settles:
            yield f"scene.nodes[{index}].settles", pb.FEATURE_SETTLING
        if node.camera.perspective.HasField("lens"):
            yield f"scene.nodes[{index}].camera.perspective.lens", pb.FEATURE_LENS
        if node.mesh.HasField("material"):
            for field, _ in node.mesh.material.ListFields():
                if field.name in _SURFACES:
                    yield f"scene.nodes[{index}].mesh.material.{field.name}", pb.FEATURE_SURFACES
