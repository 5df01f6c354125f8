"""The renderer R: scenes in, images out, and, where gradients are asked for, how the images change."""

from trainer.rendering.audits import Audits, AuditSummary
from trainer.rendering.columns import Column
from trainer.rendering.probing import Probing
from trainer.rendering.renderer import Frame, Renderer

__all__ = ["AuditSummary", "Audits", "Column", "Frame", "Probing", "Renderer"]
