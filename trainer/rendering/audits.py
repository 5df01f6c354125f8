"""What audits have found: how well regions stand for the whole frame."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from metasim.v1 import render_pb2 as pb

#: Where a warning is due: the cosine below this, or the ratio of norms farther than that from 1.
LEAST_COSINE = 0.99
LARGEST_RATIO_ERROR = 0.02

#: Stands for an attribute where all were perturbed simultaneously.
EVERY_ATTRIBUTE = "every attribute"


@dataclass
class AuditSum:
    """Sums over audited columns: squares of the region's and the frame's differences, and their products."""

    columns: int = 0
    region: float = 0.0
    frame: float = 0.0
    product: float = 0.0

    def add(self, audit: pb.Audit) -> None:
        """Counts one column."""
        self.columns += 1
        self.region += audit.region_norm**2
        self.frame += audit.frame_norm**2
        self.product += audit.product

    @property
    def cosine(self) -> float:
        """Of the angle between the regions' differences and the frames'; 1 where nothing changes at all."""
        if self.frame == 0:
            return 1.0
        return self.product / math.sqrt(self.region * self.frame) if self.region else 0.0

    @property
    def norm_ratio(self) -> float:
        """Norm of the regions' differences over that of the frames'; 1 where nothing changes at all."""
        return math.sqrt(self.region / self.frame) if self.frame else 1.0

    @property
    def within_bounds(self) -> bool:
        """Whether no warning is due."""
        return self.cosine >= LEAST_COSINE and abs(self.norm_ratio - 1) <= LARGEST_RATIO_ERROR


@dataclass(frozen=True)
class AuditSummary:
    """What audits have found since they were last asked.

    Attributes:
        total: over all columns.
        attributes: by "kind.name", or all together under `EVERY_ATTRIBUTE` where they were perturbed simultaneously.
    """

    total: AuditSum
    attributes: Mapping[str, AuditSum]

    @property
    def worst(self) -> str:
        """The attribute with the largest part of a difference that its region misses."""
        return max(self.attributes, key=lambda name: max(1 - self.attributes[name].cosine, _off(self.attributes[name])))

    @property
    def warning(self) -> str | None:
        """One line, where regions miss too much."""
        if self.total.within_bounds:
            return None
        worst = self.attributes[self.worst]
        return (
            f"regions of probes miss part of the gradient: cosine {self.total.cosine:.4f}, norm ratio "
            f"{self.total.norm_ratio:.3f} to the whole frame; worst is {self.worst} ({worst.cosine:.4f}, "
            f"{worst.norm_ratio:.3f}). training.probing.full_frame=true costs time and misses nothing; "
            "see docs/jacobian.md"
        )


@dataclass
class Audits:
    """Collects audits."""

    _attributes: dict[str, AuditSum] = field(default_factory=dict)

    def add(self, attribute: str, audit: pb.Audit) -> None:
        """Counts one column of "kind.name"."""
        self._attributes.setdefault(attribute, AuditSum()).add(audit)

    def take(self) -> AuditSummary | None:
        """What was found since the last call; None if nothing was audited."""
        attributes, self._attributes = self._attributes, {}
        if not attributes:
            return None
        sums = attributes.values()
        total = AuditSum(
            columns=sum(item.columns for item in sums),
            region=sum(item.region for item in sums),
            frame=sum(item.frame for item in sums),
            product=sum(item.product for item in sums),
        )
        return AuditSummary(total, attributes)


def _off(item: AuditSum) -> float:
    return abs(item.norm_ratio - 1)
