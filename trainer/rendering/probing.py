"""Options for the derivative of the renderer."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from metasim.v1 import render_pb2 as pb

from trainer.errors import InputError
from trainer.grammar.document import nearest, shown

Mode = Literal["auto", "jacobian", "vjp"]
Difference = Literal["central", "forward"]
Method = Literal["exact", "screen", "auto"]

_DIFFERENCES: Mapping[str, "pb.Difference.ValueType"] = {
    "central": pb.DIFFERENCE_CENTRAL,
    "forward": pb.DIFFERENCE_FORWARD,
}

#: Fraction of the columns that `auto` measures exactly, those with the largest effect.
EXACT_SHARE = 0.04

#: Largest size of all differences of a batch, with every pixel changed, for which `auto` returns them.
MOST_BYTES = 64 << 20

#: Bytes of a pixel of a difference: three channels in half precision.
_PIXEL_BYTES = 6


@dataclass(frozen=True)
class Probing:
    """How the columns of the Jacobian are measured. The options trade cost against error; see `docs/jacobian.md`.

    Attributes:
        mode: "jacobian": workers return the differences of the images, in the same task as the image, and the trainer
            multiplies them with ∂loss/∂image. "vjp": the trainer sends ∂loss/∂image in a second task, and a worker
            returns a number per column, at most 100 bytes; it builds each scene twice. "auto": see `keeps_differences`.
        difference: "central": two renders a column. "forward": one render a column, and an error of first order in the
            step.
        samples: per pixel of the probes; None: as the image.
        audit: fraction of the columns that are also rendered as whole frames, which measures what regions neglect.
        shards: tasks that the columns of a scene are split over; "auto": as many as workers are idle without. Results
            are the same for any number. Each task builds its scene again, and with "forward" renders it once more.
            Flat scenes are not split.
        method: "exact": columns are differences of renders. "screen": a worker derives the columns of poses and of the
            camera from the buffers of one frame, and measures the others; approximate, at a small fraction of the cost.
            "auto": the same, and the columns of the largest effects are exact, `EXACT_SHARE` of them. Both imply mode
            "vjp", and a scene is not split into shards.
        full_frame: render the whole frame for every column instead of the region that can change. Slow; for checks.
    """

    mode: Mode = "auto"
    difference: Difference = "central"
    samples: int | None = None
    audit: float = 0.0
    shards: int | Literal["auto"] = "auto"
    method: Method = "exact"
    full_frame: bool = False

    def __post_init__(self) -> None:
        for name, allowed in (
            ("mode", get_args(Mode)),
            ("difference", get_args(Difference)),
            ("method", get_args(Method)),
        ):
            if getattr(self, name) not in allowed:
                raise self._error(name, f"allowed: {', '.join(allowed)}")
        if self.mode == "jacobian" and self.method != "exact":
            raise self._error("method", "with mode=jacobian it must be exact; choose mode=vjp or mode=auto")
        if not _is_number(self.audit) or not 0 <= self.audit <= 1:
            raise self._error("audit", "it must lie from 0 to 1")
        if self.samples is not None and not (_is_whole(self.samples) and self.samples >= 1):
            raise self._error("samples", "it must be a whole number from 1, or left out for those of the image")
        if self.shards != "auto" and not (_is_whole(self.shards) and self.shards >= 1):
            raise self._error("shards", "it must be a whole number from 1, or auto")
        if not isinstance(self.full_frame, bool):
            raise self._error("full_frame", "it must be true or false")

    @classmethod
    def parse(cls, values: object, section: str) -> "Probing":
        """Return the options in a mapping of a file or of the command line.

        Args:
            section: name of the mapping, for error messages.

        Raises:
            InputError: a key is unknown or a value is wrong; one line.
        """
        if not isinstance(values, Mapping):
            raise InputError(f"{section} is {shown(values)}; write for example {section}.mode=vjp")
        known = [field.name for field in dataclasses.fields(cls)]
        for key in values:
            if key not in known:
                raise InputError(f"{section}.{key}: unknown key; {nearest(key, known)}")
        try:
            return cls(**values)
        except ValueError as error:
            raise InputError(f"{section}.{error}") from None

    def wire(self, columns: int = 0) -> pb.ProbeSettings:
        """Return the settings that go with a task of that number of columns."""
        settings = pb.ProbeSettings(
            difference=_DIFFERENCES[self.difference], full_frame=self.full_frame, samples=self.samples or 0
        )
        if self.method != "exact":
            settings.method = pb.PROBE_METHOD_SCREEN_SPACE
            settings.exact_columns = math.ceil(EXACT_SHARE * columns) if self.method == "auto" else 0
        return settings

    def keeps_differences(self, settings: pb.RenderSettings, columns: Sequence[int]) -> bool:
        """Return whether workers return a batch's differences, instead of products with ∂loss/∂image.

        `auto` compares the size of the differences, with every pixel changed, with `MOST_BYTES`: 2.6 MiB for 64 digits
        of 32 x 32 with 7 columns each, but 1.9 GiB for 16 streets of 620 x 188 with 180 columns each. Sizes do not
        depend on timing, so a run can be repeated.

        Args:
            columns: number of columns of each scene.
        """
        if self.method != "exact":
            return False
        if self.mode != "auto":
            return self.mode == "jacobian"
        return sum(columns) * settings.width_px * settings.height_px * _PIXEL_BYTES <= MOST_BYTES

    def shards_of(self, columns: int, *, scenes: int, processes: int) -> int:
        """Return the number of tasks, at least 1, for a scene with this many columns in a batch of `scenes`."""
        if self.method != "exact":
            return 1
        wanted = -(-processes // max(1, scenes)) if self.shards == "auto" else self.shards
        return max(1, min(wanted, columns))

    def _error(self, name: str, allowed: str) -> ValueError:
        return ValueError(f"{name} is {shown(getattr(self, name))}; {allowed}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
