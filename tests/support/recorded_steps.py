"""A Progress that records its steps."""

from collections.abc import Iterable

from trainer.progress import Silent, Step, StepHandle


class RecordedSteps(Silent):
    """Keeps the names of the planned steps and of those that began."""

    def __init__(self) -> None:
        self.planned: list[str] = []
        self.begun: list[str] = []

    def plan(self, steps: Iterable[Step]) -> None:
        """Keep the names."""
        self.planned = [step.name for step in steps]

    def step(self, name: str) -> StepHandle:
        """Keep the name."""
        self.begun.append(name)
        return StepHandle()
