"""Asset sets of procedural families."""

from functools import cached_property, lru_cache

from metasim.v1 import scene_pb2 as pb

from trainer.assets.asset_sets import AssetSet, Label
from trainer.assets.procedural import Family

#: Items that are kept; others are made again when they are asked for.
KEPT = 1024


class ProceduralSet(AssetSet):
    """The items of a family, each made at its first use."""

    def __init__(self, name: str, family: Family) -> None:
        super().__init__(name)
        self._family = family
        self._made = lru_cache(maxsize=KEPT)(family.make)

    def __len__(self) -> int:
        return self._family.count

    def data(self, index: int) -> bytes:
        return self._made(index)

    def label(self, index: int) -> Label:
        return None if self._family.label is None else self._family.label(index)

    def item_name(self, index: int) -> str | None:
        return None if self._family.item_name is None else self._family.item_name(index)

    def mesh_format(self, index: int) -> "pb.MeshFormat.ValueType | None":
        del index
        return self._family.mesh_format

    @cached_property
    def labels(self) -> tuple[int | str, ...]:
        label = self._family.label
        return () if label is None else tuple(sorted({label(index) for index in range(len(self))}))
