"""Multi-label classification of images with several objects."""

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from trainer.tasks.cells import CellTask
from trainer.tasks.task import MeanResults

#: Fraction of correct predictions over images and classes (the primary score), and fraction of images with all correct.
ACCURACY, EXACT = "accuracy", "all right"


class MultiLabel(CellTask):
    """Predicts a class if the smooth maximum of the cells' logits is positive; trained by cross-entropy."""

    name = "multi-label classification"

    def pooled(self, values: Tensor) -> Tensor:
        """Return the logits [N, classes]."""
        return values.flatten(2).logsumexp(dim=2)

    def loss(self, pooled: Tensor, labels: Tensor) -> Tensor:
        """Return the binary cross-entropy."""
        return F.binary_cross_entropy_with_logits(pooled, (labels > 0).float())

    def first_value(self, mean: np.ndarray, cells: int) -> np.ndarray:
        """Return the value at which each class has probability 1/2."""
        return np.full(mean.shape, -np.log(cells))

    def results(self, predicted: np.ndarray, labels: np.ndarray) -> MeanResults:
        """Return the fractions of correct predictions: over all classes, per class, and with all classes correct."""
        right = (predicted > 0) == (labels > 0)
        classes = self.settings.classes
        by_class = {name: right[:, index] for index, name in enumerate(classes)} if len(classes) > 1 else {}
        return MeanResults(ACCURACY, {ACCURACY: right.mean(axis=1), EXACT: right.all(axis=1), **by_class})


open_network = MultiLabel.for_classes
