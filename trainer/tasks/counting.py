"""Counting: the number of objects of each class in an image, scored by the mean absolute error."""

from collections.abc import Sequence

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from trainer.tasks.cells import CellNet, CellTask
from trainer.tasks.task import MeanResults

#: Mean error over the classes, the primary score.
MAE = "MAE"


class Counting(CellTask):
    """Predicts an image's counts as the sum of its cells' densities; trained by the Poisson likelihood."""

    name = "counting"

    @property
    def count_classes(self) -> Sequence[str]:
        """See `CountsObjects.count_classes`."""
        return self.settings.classes

    def counts(self, model: CellNet, images: np.ndarray) -> np.ndarray:
        """See `CountsObjects.counts`."""
        return self.predict(model, images)

    def label_counts(self, labels: Sequence[np.ndarray]) -> np.ndarray:
        """See `CountsObjects.label_counts`."""
        return np.stack(labels).astype(np.float64)

    def pooled(self, values: Tensor) -> Tensor:
        """Return the counts [N, classes]."""
        return F.softplus(values).sum(dim=(2, 3))

    def loss(self, pooled: Tensor, labels: Tensor) -> Tensor:
        """Return the negative log-likelihood of Poisson distributions with these means."""
        return F.poisson_nll_loss(pooled, labels.float(), log_input=False)

    def first_value(self, mean: np.ndarray, cells: int) -> np.ndarray:
        """Return the value whose softplus is the mean density."""
        return np.log(np.expm1(np.maximum(mean, 1e-2) / cells))

    def results(self, predicted: np.ndarray, labels: np.ndarray) -> MeanResults:
        """Return the absolute errors of each class and their mean, in objects."""
        wrong = np.abs(predicted - labels)
        classes = self.settings.classes
        by_class = {f"{MAE} {name}": wrong[:, index] for index, name in enumerate(classes)} if len(classes) > 1 else {}
        return MeanResults(MAE, {MAE: wrong.mean(axis=1), **by_class}, errors=True)


open_network = Counting.for_classes
