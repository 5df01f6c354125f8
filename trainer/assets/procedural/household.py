"""The family `procedural: household`: five objects for a table."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from metasim.v1 import scene_pb2 as pb

from trainer.assets.procedural import Family
from trainer.assets.procedural.glb_writer import glb_bytes
from trainer.assets.procedural.household_models import Parts, bottle, cereal_box, drill, duck, mug

#: Models by label.
MODELS: Mapping[str, Callable[[], Parts]] = MappingProxyType(
    {"box": cereal_box, "mug": mug, "bottle": bottle, "toy": duck, "tool": drill}
)
_LABELS = tuple(MODELS)


#: The models, each with a label of its own. Metres, standing on z = 0, the front to -y.
HOUSEHOLD = Family(
    count=len(_LABELS),
    make=lambda index: glb_bytes(MODELS[_LABELS[index]]()),
    label=lambda index: _LABELS[index],
    item_name=lambda index: _LABELS[index],
    mesh_format=pb.MESH_FORMAT_GLB,
)
