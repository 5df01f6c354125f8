"""The estimator of kinds that may repeat: a detector finds nodes, and each detection is read separately.

The reader finds boxes first and then reads their content at a fixed size, as two-stage detectors do (Ren et al., Faster
R-CNN, 2015; RoIAlign: He et al., Mask R-CNN, 2017). Besides the region, q(attributes, context | detection) depends on
its position and on a coarse view of the whole image, for the camera and the surroundings.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.device import device_of, upload
from trainer.features import to_tensor
from trainer.features.descent import Course, descend
from trainer.features.detector import Detector, detection_loss, make_targets, peaks
from trainer.inference.objects import Detections, Objects, logit_of, matched, precision_of
from trainer.inference.posterior import HIDDEN, DensityHead, Layout, Posterior
from trainer.inference.variables import Variables
from trainer.progress import Advance, ignore

#: Channels of the detector's finest level, and cells along the longer side of the view of the whole image.
WIDTH, WHOLE_CELLS, WHOLE = 16, 8, 64
#: Side of a region in px, and the side of the image part that it shows, in square roots of the box's area.
REGION_PX, REGION_SIDES = 32, 2.0
#: Training moves boxes at random by up to this fraction of their sides.
JITTER = 0.06
#: Detections with a smaller score are dropped. The fraction of missed nodes is measured on renders.
SURE = 0.3
#: Largest number of detections in an image, and of objects that a training step reads.
MOST, READ = 60, 96


class ObjectReader(nn.Module):
    """q(attributes, context | detection) of the nodes of several kinds."""

    log_scales: Tensor
    log_temperatures: Tensor
    precision: Tensor

    def __init__(self, kinds: Sequence[Variables], size: tuple[int, int], generator: torch.Generator) -> None:
        """
        Args:
            size: height and width of the images, in pixels.
        """
        super().__init__()
        self.kinds, self.size = tuple(kinds), size
        self.layouts = [Layout((variables,)) for variables in kinds]
        self.detector = Detector(WIDTH, generator, classes=len(self.kinds))
        cells = tuple(max(1, round(WHOLE_CELLS * side / max(size))) for side in size)
        channels = (3, 24, 32, 48, 64)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
            blocks: list[nn.Module] = []
            for inputs, outputs, stride in zip(channels, channels[1:], (2, 2, 1, 2), strict=False):
                blocks += [nn.Conv2d(inputs, outputs, 3, stride, padding=1), nn.GroupNorm(4, outputs), nn.ReLU()]
            self.region = nn.Sequential(*blocks, nn.Flatten())
            flat = self.region(torch.zeros(1, 3, REGION_PX, REGION_PX)).shape[1]
            self.whole = nn.Sequential(
                nn.AdaptiveAvgPool2d(cells), nn.Flatten(), nn.Linear(WIDTH * cells[0] * cells[1], WHOLE), nn.ReLU()
            )
            self.together = nn.Sequential(nn.Linear(flat + WHOLE + WIDTH + 6, HIDDEN), nn.ReLU())
            self.points = nn.ModuleList(nn.Linear(HIDDEN, layout.codes) for layout in self.layouts)
            self.heads = nn.ModuleList(DensityHead(HIDDEN + layout.codes, layout) for layout in self.layouts)
        dimensions = max((len(layout.angles) for layout in self.layouts), default=0)
        self.register_buffer("log_scales", torch.zeros(len(self.kinds), dimensions))
        self.register_buffer("log_temperatures", torch.zeros(len(self.kinds)))
        #: a and b of `precision_of`, for each kind.
        self.register_buffer("precision", torch.tensor([[0.0, 1.0]] * len(self.kinds)))

    def fit(
        self,
        views: Sequence[np.ndarray],
        objects: Objects,
        course: Course,
        generator: torch.Generator,
        progress: Advance = ignore,
    ) -> float:
        """Train on several views of 8-bit images [N, H, W, 3]; return the last epoch's mean loss."""
        count = len(views[0])
        by_image = np.split(np.arange(len(objects.images)), np.searchsorted(objects.images, np.arange(1, count)))
        seen = [rows[objects.visible[rows]] for rows in by_image]
        hardly = [rows[objects.shown[rows] & ~objects.visible[rows]] for rows in by_image]
        boxes = torch.from_numpy(objects.boxes)
        targets = [
            make_targets(self.size, boxes[own], boxes[ignored], objects.kinds[own].tolist(), len(self.kinds))
            for own, ignored in zip(seen, hardly, strict=True)
        ]
        units, device = self._units(objects), device_of(self)

        def loss_of(index: Tensor) -> Tensor:
            chosen = views[int(torch.randint(len(views), (), generator=generator))]
            images = to_tensor(chosen[index.numpy()], device)
            features = self.detector.features(images)
            loss = detection_loss(*self.detector.maps(features), [targets[i] for i in index.tolist()])
            rows = np.concatenate([seen[i] for i in index.tolist()])
            if not len(rows):
                return loss
            at = torch.from_numpy(np.repeat(np.arange(len(index)), [len(seen[i]) for i in index.tolist()]))
            if len(rows) > READ:
                some = torch.randperm(len(rows), generator=generator)[:READ].sort().values
                rows, at = rows[some.numpy()], at[some]
            sides = (boxes[rows, 2:] - boxes[rows, :2]).repeat(1, 2)
            moved = boxes[rows] + sides * JITTER * (2 * torch.rand(sides.shape, generator=generator) - 1)
            hidden = self._read(images, features, at, moved)
            for k, layout in enumerate(self.layouts):
                own = np.flatnonzero(objects.kinds[rows] == k)
                if not len(own):
                    continue
                numbers, categories = (upload(each[rows[own]], device) for each in units[k])
                points = self.points[k](hidden[own])
                posterior = self.heads[k](torch.cat([hidden[own], points], 1).detach())
                log = posterior.log_prob(layout.angles, numbers, categories)
                part = len(own) / len(rows)
                loss = loss + part * (layout.loss(points, numbers, categories) - log.mean())
            return loss

        return descend(self.parameters(), count, loss_of, course, generator, progress)

    def calibrate(self, images: np.ndarray, objects: Objects) -> None:
        """Fit the precision of scores, and the spreads of posteriors, on held-out images."""
        detections, posteriors = self.read(images, calibrated=False)
        shows = matched(detections, objects)
        units = self._units(objects)
        for k, (layout, posterior) in enumerate(zip(self.layouts, posteriors, strict=True)):
            own = detections.kinds == k
            self.precision[k] = torch.tensor(precision_of(detections.scores[own], shows[own] >= 0))
            true = shows[own] >= 0
            if true.any():
                numbers, categories = (each[shows[own][true]] for each in units[k])
                scales, temperature, _ = posterior.of(np.flatnonzero(true)).calibration(layout, numbers, categories)
                self.log_scales[k, : len(scales)] = scales
                self.log_temperatures[k] = temperature

    def read(
        self, images: np.ndarray, *, calibrated: bool = True, batch: int = 64
    ) -> tuple[Detections, list[Posterior]]:
        """Return the detections in 8-bit images [N, H, W, 3], and their posteriors for each kind.

        Both are on the CPU.
        """
        at, kinds, boxes, scores, hidden = [], [], [], [], []
        device = device_of(self)
        with torch.no_grad():
            for first in range(0, len(images), batch):
                part = to_tensor(images[first : first + batch], device)
                features = self.detector.features(part)
                found = self._found(features)
                sure = [sure_of >= SURE for _, sure_of, _ in found]
                own = torch.cat([torch.full((int(kept.sum()),), i) for i, kept in enumerate(sure)])
                there = torch.cat([each[0][kept] for each, kept in zip(found, sure, strict=True)])
                at.append(own + first)
                boxes.append(there)
                scores.append(torch.cat([each[1][kept] for each, kept in zip(found, sure, strict=True)]))
                kinds.append(torch.cat([each[2][kept] for each, kept in zip(found, sure, strict=True)]))
                hidden.append(self._read(part, features, own, there))
            of_kind, together = torch.cat(kinds), torch.cat(hidden)
            posteriors = []
            for k in range(len(self.kinds)):
                mine = together[of_kind == k]
                posterior = self.heads[k](torch.cat([mine, self.points[k](mine)], 1))
                if calibrated:
                    scales = self.log_scales[k, : len(self.layouts[k].angles)]
                    posterior = posterior.calibrated(scales, self.log_temperatures[k])
                posteriors.append(posterior.cpu())
        arrays = (torch.cat(each).numpy() for each in (at, kinds, boxes, scores))
        return Detections(*arrays), posteriors

    def true(self, detections: Detections) -> np.ndarray:
        """Return the probability [n] that a detection shows a node of its kind that no other detection shows."""
        a, b = self.precision.cpu().numpy()[detections.kinds].T
        return np.asarray(1 / (1 + np.exp(-(a + b * logit_of(detections.scores)))), dtype=np.float64)

    def counts(self, images: np.ndarray) -> np.ndarray:
        """Return the expected number [N, K] of true detections of each kind in 8-bit images [N, H, W, 3]."""
        detections, _ = self.read(images)
        found = np.zeros((len(images), len(self.kinds)))
        np.add.at(found, (detections.images, detections.kinds), self.true(detections))
        return found

    def forward(self, images: Tensor) -> Tensor:
        """Return the sum of scores and the means of points over detections, for each kind [N, D + K]."""
        features = self.detector.features(images)
        with torch.no_grad():
            found = self._found(features)
            at = torch.cat([torch.full((len(each[1]),), i) for i, each in enumerate(found)]).to(images.device)
            boxes, scores, kinds = (torch.cat([each[place] for each in found]).to(images.device) for place in range(3))
        hidden, parts = self._read(images, features, at, boxes), []
        for k, (layout, points) in enumerate(zip(self.layouts, self.points, strict=True)):
            own = kinds == k
            weights = scores[own, None]
            sums = images.new_zeros(len(images), 1).index_add(0, at[own], weights)
            values = images.new_zeros(len(images), layout.codes)
            values = values.index_add(0, at[own], weights * points(hidden[own]))
            parts += [sums / 4, values / (sums + 0.1)]
        return torch.cat(parts, 1)

    def _found(self, features: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Return boxes, scores and kinds of the peaks in each image, on the CPU."""
        maps = (each.cpu() for each in self.detector.maps(features))
        return [peaks(heat, edges, MOST) for heat, edges in zip(*maps, strict=True)]

    def _units(self, objects: Objects) -> list[tuple[Tensor, Tensor]]:
        """Return numbers [n, d] in units and categories [n, F], in the layout of each kind."""
        return [
            (
                layout.in_units(objects.numbers[:, : len(layout.angles)]),
                torch.from_numpy(objects.categories[:, : len(layout.sizes)]),
            )
            for layout in self.layouts
        ]

    def _read(self, images: Tensor, features: Tensor, at: Tensor, boxes: Tensor) -> Tensor:
        """Return hidden features [n, HIDDEN] of boxes [n, 4] in images[at]; `at` is sorted."""
        if not len(boxes):
            return images.new_zeros(0, HIDDEN)
        height, width = images.shape[-2:]
        boxes, frame = boxes.to(images.device), torch.tensor([width, height]).to(images.device)
        middle = (boxes[:, :2] + boxes[:, 2:]) / frame - 1  # From -1 to 1 across the image
        sides = (boxes[:, 2:] - boxes[:, :2]).clamp_min(2.0)
        reach = REGION_SIDES * sides.prod(1, keepdim=True).sqrt() / frame
        theta = boxes.new_zeros(len(boxes), 2, 3)
        theta[:, 0, 0], theta[:, 1, 1] = reach.T
        theta[:, :, 2] = middle
        side = 2 * REGION_PX
        grid = F.affine_grid(theta, [len(boxes), 3, side, side], align_corners=False)
        regions: list[Tensor] = []
        here: list[Tensor] = []
        counts = torch.bincount(at, minlength=len(images)).tolist()
        for i, (count, end) in enumerate(zip(counts, np.cumsum(counts).tolist(), strict=True)):
            own = slice(end - count, end)
            if count:  # All regions of an image at once, stacked vertically.
                seen = F.grid_sample(images[i : i + 1], grid[own].reshape(1, -1, side, 2), align_corners=False)
                regions.append(seen[0].reshape(3, count, side, side).transpose(0, 1))
                points = F.grid_sample(features[i : i + 1], middle[None, own, None], align_corners=False)
                here.append(points[0, :, :, 0].T)
        shown = F.avg_pool2d(torch.cat(regions), 2)
        where = torch.cat([middle, sides / frame, (sides / 16).log()], 1)
        parts = (self.region((shown - 0.4) * 2), self.whole(features)[at], torch.cat(here), where)
        return self.together(torch.cat(parts, 1))
