"""Multi-label classification: which classes an image of several objects shows."""

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from trainer.tasks.cells import CellTask
from trainer.tasks.task import MeanResults

#: The fraction of right answers over images and classes, the primary score; that of images with right answers only.
ACCURACY, EXACT = "accuracy", "all right"


class MultiLabel(CellTask):
    """An image shows a class if the smooth maximum of its cells' logits is positive; trained by cross-entropy."""

    name = "multi-label classification"

    def pooled(self, values: Tensor) -> Tensor:
        """Return the logits [N, classes]."""
        return values.flatten(2).logsumexp(dim=2)

    def loss(self, pooled: Tensor, labels: Tensor) -> Tensor:
        """Return the binary cross-entropy."""
        return F.binary_cross_entropy_with_logits(pooled, (labels > 0).float())

    def first_value(self, mean: np.ndarray, cells: int) -> np.ndarray:
        """Return the value at which classes are as likely as not."""
        return np.full(mean.shape, -np.log(cells))

    def results(self, predicted: np.ndarray, labels: np.ndarray) -> MeanResults:
        """Return the fractions of right answers: over all classes, of each class, and whether all are right."""
        right = (predicted > 0) == (labels > 0)
        classes = self.settings.classes
        by_class = {name: right[:, index] for index, name in enumerate(classes)} if len(classes) > 1 else {}
        return MeanResults(ACCURACY, {ACCURACY: right.mean(axis=1), EXACT: right.all(axis=1), **by_class})


open_network = MultiLabel.for_classes
