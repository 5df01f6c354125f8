"""Audits: how well the regions of probes stand for the whole frame."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from metasim.v1 import render_pb2 as pb

from trainer.rendering.agreement import Agreement

#: A warning is due if the cosine is below this bound, or the ratio of norms farther from 1 than that.
LEAST_COSINE = 0.99
LARGEST_RATIO_ERROR = 0.02


@dataclass(frozen=True)
class AuditSummary:
    """The audits since the last summary; the whole frame is the reference.

    Attributes:
        total: over all columns.
        attributes: by "kind.name".
    """

    total: Agreement
    attributes: Mapping[str, Agreement]

    @property
    def worst(self) -> str:
        """The attribute whose regions miss the largest part."""
        return max(self.attributes, key=lambda name: _missed(self.attributes[name]))

    @property
    def warning(self) -> str | None:
        """One line if regions miss too much, else None."""
        if self.total.within(LEAST_COSINE, LARGEST_RATIO_ERROR):
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
    """Collects audits by attribute."""

    _attributes: dict[str, Agreement] = field(default_factory=dict)

    def add(self, attribute: str, audit: pb.Audit) -> None:
        """Add the audit of one column of "kind.name"."""
        found = self._attributes.setdefault(attribute, Agreement())
        found.add_sums(audit.region_norm**2, audit.frame_norm**2, audit.product)

    def take(self) -> AuditSummary | None:
        """Return the summary since the last call; None if nothing was audited."""
        attributes, self._attributes = self._attributes, {}
        if not attributes:
            return None
        total = Agreement()
        for part in attributes.values():
            total.add_sums(part.square, part.reference_square, part.product, part.count)
        return AuditSummary(total, attributes)


def _missed(item: Agreement) -> float:
    return max(1 - item.cosine, abs(item.norm_ratio - 1))
