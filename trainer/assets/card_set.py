"""Cards: thin rectangles with a picture on each side, such as playing cards, signs and pages."""

import io
from functools import cached_property, lru_cache

import numpy as np
from metasim.v1 import scene_pb2 as pb
from PIL import Image

from trainer.assets.asset_sets import AssetSet, Label
from trainer.assets.image_assets import png_bytes
from trainer.assets.procedural.blocks import Point, panel
from trainer.assets.procedural.glb_writer import Surface, glb_bytes
from trainer.assets.procedural.shape import Shape, joined

#: Thickness in units of length; the attribute `height` multiplies it.
THICKNESS = 1e-3
#: Linear light of the edges, and of a back without a picture: white paper.
_PAPER = (0.85, 0.85, 0.85)
#: Cards that are kept; others are made again when they are asked for.
_KEPT = 256


class CardSet(AssetSet):
    """Every front with every back, as GLB: item `front * backs + back`.

    A card is 1 x 1 in the xy plane about the origin. The front faces +z and stands upright on y; the back reads upright
    after a half turn about y. Labels are those of the fronts or, where these have none, of the backs.
    """

    def __init__(self, name: str, fronts: AssetSet, backs: AssetSet | None, roughness: float = 0.5) -> None:
        """
        Args:
            backs: None: the backs are white.
        """
        super().__init__(name)
        self._fronts, self._backs, self._roughness = fronts, backs, roughness
        self._made = lru_cache(maxsize=_KEPT)(self._make)
        self.licence = fronts.licence

    @property
    def backs(self) -> int:
        """The number of backs."""
        return 1 if self._backs is None else len(self._backs)

    def __len__(self) -> int:
        return len(self._fronts) * self.backs

    def data(self, index: int) -> bytes:
        return self._made(index)

    def label(self, index: int) -> Label:
        front, back = divmod(index, self.backs)
        if self._fronts.labels or self._backs is None:
            return self._fronts.label(front)
        return self._backs.label(back)

    def item_name(self, index: int) -> str | None:
        front, back = divmod(index, self.backs)
        name = self._fronts.item_name(front) or str(front)
        return name if self.backs == 1 or self._backs is None else f"{name}+{self._backs.item_name(back) or back}"

    def source(self, index: int) -> str:
        front, back = divmod(index, self.backs)
        rest = "" if self._backs is None else f" with {self._backs.source(back)} as its back"
        return f"the card of {self._fronts.source(front)}{rest}"

    def mesh_format(self, index: int) -> "pb.MeshFormat.ValueType":
        del index
        return pb.MESH_FORMAT_GLB

    @cached_property
    def labels(self) -> tuple[int | str, ...]:
        return self._fronts.labels or (self._backs.labels if self._backs is not None else ())

    def _make(self, index: int) -> bytes:
        front, back = divmod(index, self.backs)
        front_surface, front_clear = self._surface(self._fronts.png(front))
        back_surface, back_clear = (
            (Surface(color=_PAPER, roughness=self._roughness), False)
            if self._backs is None
            else self._surface(self._backs.png(back))
        )
        high = THICKNESS / 2
        corners = [(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)]
        mirrored = [(-x, y) for x, y in corners]
        parts = [
            (panel([(x, y, high) for x, y in corners]), front_surface),
            (panel([(x, y, -high) for x, y in mirrored]), back_surface),
        ]
        if not front_clear and not back_clear:
            parts.append((_edges(corners, high), Surface(color=_PAPER, roughness=self._roughness)))
        return glb_bytes(parts)

    def _surface(self, png: bytes) -> tuple[Surface, bool]:
        """Return the surface of a side, and whether parts of it are transparent."""
        opened = Image.open(io.BytesIO(png))
        image = opened.convert("RGBA" if opened.has_transparency_data else "RGB")
        clear = image.mode == "RGBA" and bool((np.asarray(image)[..., 3] < 255).any())
        texture = png_bytes(image if clear else image.convert("RGB"))
        return Surface(texture=texture, roughness=self._roughness, alpha_mode="MASK" if clear else "OPAQUE"), clear


def _edges(corners: list[tuple[float, float]], high: float) -> Shape:
    """Return the four narrow sides; a card with transparent parts, such as round corners, has none."""
    sides: list[list[Point]] = []
    for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True):
        sides.append([(x0, y0, -high), (x1, y1, -high), (x1, y1, high), (x0, y0, high)])
    return joined([panel(side) for side in sides])
