"""The renderer R as one differentiable operation: scenes to images, with derivatives measured by the workers."""

from trainer.rendering.audits import Audits, AuditSummary
from trainer.rendering.columns import Column
from trainer.rendering.probing import Probing
from trainer.rendering.renderer import Frame, Renderer

__all__ = ["AuditSummary", "Audits", "Column", "Frame", "Probing", "Renderer"]
