"""Features of scenes, and the engines that can draw them."""

from collections.abc import Mapping, Sequence

from metasim.v1 import render_pb2 as pb

_SCENES_WITH_DEPTH = (pb.FEATURE_MESHES, pb.FEATURE_LIGHTS, pb.FEATURE_PERSPECTIVE, pb.FEATURE_TILTED_SPRITES)

#: Features of each engine, by its name.
FEATURES: Mapping[str, Sequence["pb.Feature.ValueType"]] = {
    "blender": (*_SCENES_WITH_DEPTH, pb.FEATURE_APPEARANCE),
    "raster": (pb.FEATURE_APPEARANCE,),
    "fake": _SCENES_WITH_DEPTH,
}
