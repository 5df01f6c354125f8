"""Features read object by object: a detector says where, and a small network reads each region, brought to one size.

A network over the whole image (`trainer.features.dense`) must learn anew for each size at which perspective shows a
thing how it is turned and where it stands. So, as in the detectors of two stages (Ren et al., Faster R-CNN, 2015;
RoIAlign: He et al., Mask R-CNN, 2017), boxes are found first, and what they hold is then read at one size: which kind
it is, and its attributes. All else (the camera, the sun) is read off the whole image as before; what that says helps to
read the regions.

An image's features are the means of what is read of its objects, of each kind, weighted by how sure it is that they are
of that kind; and the means of the squares, which tell of spreads. All are deviations from the middle of what was
learned: next to large constants, as the cosine of an angle that hardly varies, kernels would see nothing else. Boxes
are fixed when gradients flow: these go through the pixels in the regions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.features import to_tensor
from trainer.features.dense import DenseFeatures, label_cells
from trainer.features.descent import Course, descend
from trainer.features.detector import Detector, detection_loss, make_targets, peaks
from trainer.features.objects import LEAST_HEIGHT_PX, OVERLAP, Objects, RegionLabels, label_objects, matched
from trainer.features.pyramid import resized
from trainer.features.readout import Readout
from trainer.grammar import SceneGraph
from trainer.progress import Advance, ignore

#: Height and width in pixels to which regions are brought, and what they show, in heights of the box.
REGION_PX = 26, 56
REGION_HEIGHTS = 1.8, 3.9
#: Boxes that are less sure than this to hold an object are not looked at.
SURE = 0.3
#: Boxes that are learned from are moved and scaled at random by up to this part of their height.
JITTER = 0.06
#: Of the three networks: images or regions in a batch, the learning rate's peak, and passes over the regions.
WHOLE_BATCH = 16
DETECTOR_WIDTH, DETECTOR_BATCH, DETECTOR_RATE = 16, 8, 2e-3
BATCH, LEARNING_RATE, PASSES = 32, 2e-3, 12
#: Features, in half widths of the window that was learned in, and their squares are no larger.
REACH = 3.0
#: Keeps images in which next to nothing is seen near zero.
_LITTLE = 0.05


@dataclass(frozen=True)
class Sightings:
    """What was read of the objects that were seen in images: n of them.

    Attributes:
        images: int64 [n], the image of each.
        boxes: float32 [n, 4], in pixels.
        kinds: float32 [n, K + 1], how probable each kind is, and last that it is none.
        values: float32 [n, D], in the columns of all kinds.
    """

    images: Tensor
    boxes: Tensor
    kinds: Tensor
    values: Tensor


class RegionFeatures(nn.Module):
    """Maps images to what a `Readout` says of their scenes, and to the mean squares of that."""

    name = "regions"
    layers = None
    middle: Tensor

    def __init__(
        self, column_kinds: Sequence[int], size: tuple[int, int], generator: torch.Generator, regions: Sequence[int]
    ) -> None:
        """
        Args:
            column_kinds: of each feature the number of the kind that it tells of.
            size: height and width of the images, in pixels.
            regions: numbers of the kinds that are read in regions.
        """
        super().__init__()
        self.column_kinds, self.size, self.regions = list(column_kinds), size, sorted(regions)
        self._columns = [i for i, kind in enumerate(self.column_kinds) if kind in self.regions]
        self.whole = DenseFeatures(self.column_kinds, size, generator)
        self.detector = Detector(DETECTOR_WIDTH, generator)
        channels = (3, 24, 32, 48, 64)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
            blocks: list[nn.Module] = []
            for inputs, outputs, stride in zip(channels, channels[1:], (2, 2, 1, 2), strict=False):
                blocks += [nn.Conv2d(inputs, outputs, 3, stride, padding=1), nn.GroupNorm(4, outputs), nn.ReLU()]
            self.trunk = nn.Sequential(*blocks, nn.Flatten())
            flat = self.trunk(torch.zeros(1, 3, *REGION_PX)).numel()
            self.together = nn.Sequential(nn.Linear(flat + 3 + len(self.column_kinds), 96), nn.ReLU())
            self.kinds = nn.Linear(96, len(self.regions) + 1)
            self.values = nn.Linear(96, len(self._columns))
            nn.init.zeros_(self.values.bias)
        #: Of what was learned from last, in a readout's numbers.
        self.register_buffer("middle", torch.zeros(len(self.column_kinds)))

    def plan(self) -> dict[str, object]:
        """What it is made from, as JSON."""
        return {"name": self.name, "columns": self.column_kinds, "size": list(self.size), "regions": self.regions}

    def forward(self, images: Tensor) -> Tensor:
        """Features [N, D + columns of regions] of images [N, 3, H, W], of the network's size or in higher resolution.

        All are deviations from the middle of what was learned, so that an object that is not seen makes no difference:
        first what `said` says, then the mean squares in regions. Beyond `REACH` nothing was learned, and they are cut.
        """
        said, squares = self._gathered(resized(images, self.size))
        return torch.cat([said, squares], 1).clamp(-REACH, REACH)

    def said(self, images: np.ndarray, batch: int = 64) -> Tensor:
        """The means, as a `Readout` gives them, that are read of 8-bit images [N, H, W, 3]: [N, D]."""
        with torch.no_grad():
            parts = (images[first : first + batch] for first in range(0, len(images), batch))
            return torch.cat([self.middle + self._gathered(resized(to_tensor(part), self.size))[0] for part in parts])

    def _gathered(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Deviations from the middle: of the means [N, D], and the mean squares of those in regions [N, columns]."""
        whole = self.whole(images)
        seen = self._see(images, whole)
        weights = seen.kinds[:, [self.regions.index(self.column_kinds[i]) for i in self._columns]].detach()
        values = (seen.values - self.middle)[:, self._columns]
        sums = images.new_zeros(3, len(images), len(self._columns))
        sums = sums.index_add(1, seen.images, torch.stack([weights, weights * values, weights * values.square()]))
        mean, square = sums[1:] / (sums[0] + _LITTLE)
        return (whole - self.middle).index_copy(1, torch.tensor(self._columns), mean), square

    def look(self, images: np.ndarray, batch: int = 64) -> Sightings:
        """What is read of every object that is seen in 8-bit images [N, H, W, 3]; boxes in pixels of the network's."""
        parts = []
        with torch.no_grad():
            for first in range(0, len(images), batch):
                part = resized(to_tensor(images[first : first + batch]), self.size)
                seen = self._see(part, self.whole(part))
                parts.append(Sightings(seen.images + first, seen.boxes, seen.kinds, seen.values))
        return Sightings(*(torch.cat([getattr(p, n) for p in parts]) for n in ("images", "boxes", "kinds", "values")))

    def rescale(self, before: Readout, after: Readout) -> None:
        """What said features as one readout gives them then says them as another does."""
        factor = torch.from_numpy(before.scales / after.scales).float()
        offset = torch.from_numpy((before.offsets - after.offsets) / after.scales).float()
        self.whole.rescale(before, after)
        with torch.no_grad():
            self.values.weight *= factor[self._columns, None]
            self.values.bias.mul_(factor[self._columns]).add_(offset[self._columns])
            self.middle.mul_(factor).add_(offset)

    def label(self, readout: Readout, scenes: Sequence[SceneGraph], masks: Sequence[np.ndarray]) -> RegionLabels:
        """The labels of rendered scenes."""
        kinds = [readout.kinds[kind] for kind in self.regions]
        objects = (label_objects(readout, kinds, scene, mask) for scene, mask in zip(scenes, masks, strict=True))
        return RegionLabels(label_cells(readout, scenes, masks), tuple(objects))

    def fit(
        self,
        images: np.ndarray,
        labels: RegionLabels,
        epochs: int,
        generator: torch.Generator,
        progress: Advance = ignore,
    ) -> float:
        """Learns from 8-bit images [N, H, W, 3]; returns the last loss of the regions.

        The parameters then stay as they are: they take no gradients. What was learned before is not forgotten.

        Args:
            epochs: over the images; the detector has a quarter.
        """
        self.requires_grad_(True)
        self.middle = self._middle_of(labels)
        parts = epochs, max(1, epochs // 4), PASSES
        done = 0

        def advance(now: int, _: int) -> None:
            progress(done + now, sum(parts))

        self.whole.fit(images, labels.cells, parts[0], generator, advance, WHOLE_BATCH)
        done = parts[0]
        self._fit_detector(images, labels.objects, parts[1], generator, advance)
        done += parts[1]
        error = self._fit_regions(images, labels.objects, generator, advance)
        self.requires_grad_(False)
        return error

    def _middle_of(self, labels: RegionLabels) -> Tensor:
        """Of regions' columns the mean over objects, of others that over images."""
        middle = labels.means.mean(0)
        kinds, codes = (np.concatenate([getattr(each, name) for each in labels.objects]) for name in ("kinds", "codes"))
        for column in self._columns:
            own = kinds == self.column_kinds[column]
            if own.any():
                middle[column] = codes[own, column].mean()
        return torch.from_numpy(middle)

    def _fit_detector(
        self, images: np.ndarray, objects: Sequence[Objects], epochs: int, generator: torch.Generator, progress: Advance
    ) -> None:
        size = images.shape[1], images.shape[2]
        nowhere = torch.zeros(0, 4)

        def loss_of(index: Tensor) -> Tensor:
            targets = [make_targets(size, torch.from_numpy(objects[i].boxes), nowhere) for i in index]
            heat, edges = self.detector(to_tensor(images[index.numpy()]))
            return detection_loss(heat, edges, targets)

        course = Course(epochs, DETECTOR_BATCH, DETECTOR_RATE)
        descend(self.detector.parameters(), len(images), loss_of, course, generator, progress)

    def _fit_regions(
        self, images: np.ndarray, objects: Sequence[Objects], generator: torch.Generator, progress: Advance
    ) -> float:
        whole, at, boxes, kinds, codes = self._proposals(images, objects)
        if not len(at):
            return 0.0
        codes = codes[:, self._columns]
        own = kinds[:, None] == torch.tensor([self.regions.index(self.column_kinds[i]) for i in self._columns])
        if not self.values.bias.any():  # Nothing was learned before. So only deviations are to be learned.
            with torch.no_grad():
                self.values.bias.copy_((codes * own).sum(0) / own.sum(0).clamp(min=1))

        def loss_of(index: Tensor) -> Tensor:
            chosen = boxes[index]
            heights = (chosen[:, 3] - chosen[:, 1])[:, None]
            moved = chosen + heights * JITTER * (2 * torch.rand(chosen.shape, generator=generator) - 1)
            shown, back = at[index].unique(return_inverse=True)
            said, values = self._read(to_tensor(images[shown.numpy()]), whole[at[index]], back, moved)
            wrong = own[index] * (values - codes[index]).square()
            return F.cross_entropy(said, kinds[index]) + wrong.sum() / own[index].sum().clamp(min=1)

        parts = (self.trunk, self.together, self.kinds, self.values)
        parameters = [parameter for part in parts for parameter in part.parameters()]
        return descend(parameters, len(at), loss_of, Course(PASSES, BATCH, LEARNING_RATE), generator, progress)

    def _proposals(
        self, images: np.ndarray, objects: Sequence[Objects]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """What is learned from: the boxes that are found, so that they are as good and as bad as they will be.

        Returns:
            What each whole image says [N, D]; of each box its image [n], edges [n, 4], kind [n] by its place in
            `regions` (or how many these are, where it shows no object), and the object's codes [n, D].
        """
        wholes, places, boxes, kinds, codes = [], [], [], [], []
        nothing = len(self.regions), np.zeros(len(self.column_kinds), dtype=np.float32)
        with torch.no_grad():
            for i, own in enumerate(objects):
                image = to_tensor(images[i : i + 1])
                wholes.append(self.whole(image)[0])
                found = self._boxes(image)[0]
                best, overlap = matched(found, torch.from_numpy(own.boxes))
                boxes.append(found)
                for number, shared in zip(best.tolist(), overlap.tolist(), strict=True):
                    real = shared > OVERLAP
                    kind, code = (self.regions.index(own.kinds[number]), own.codes[number]) if real else nothing
                    places.append(i)
                    kinds.append(kind)
                    codes.append(code)
        code_rows = np.array(codes, dtype=np.float32).reshape(len(places), len(self.column_kinds))
        edges = torch.cat(boxes)
        return torch.stack(wholes), torch.tensor(places), edges, torch.tensor(kinds), torch.from_numpy(code_rows)

    def _boxes(self, images: Tensor) -> list[Tensor]:
        """Boxes [n, 4] in each image."""
        found = []
        for heat, edges in zip(*self.detector(images.detach()), strict=True):
            boxes, scores, _ = peaks(heat, edges)
            height = boxes[:, 3] - boxes[:, 1]
            found.append(boxes[(scores >= SURE) & (height >= LEAST_HEIGHT_PX / 2)])
        return found

    def _see(self, images: Tensor, whole: Tensor) -> Sightings:
        with torch.no_grad():
            found = self._boxes(images)
        at = torch.tensor([i for i, boxes in enumerate(found) for _ in range(len(boxes))], dtype=torch.int64)
        boxes = torch.cat(found) if found else torch.zeros(0, 4)
        values = images.new_zeros(len(at), len(self.column_kinds))
        if not len(at):
            return Sightings(at, boxes, images.new_zeros(0, len(self.regions) + 1), values)
        kinds, said = self._read(images, whole[at], at, boxes)
        columns = torch.tensor(self._columns)
        return Sightings(at, boxes, kinds.softmax(1), values.index_copy(1, columns, said))

    def _read(self, images: Tensor, whole: Tensor, at: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the kinds [n, K + 1] and values [n, columns of regions] of boxes in images[at]."""
        height, width = images.shape[-2:]
        middle = (boxes[:, :2] + boxes[:, 2:]) / 2
        tall = (boxes[:, 3] - boxes[:, 1]).clamp(min=1.0)
        # affine_grid's coordinates go from -1 to 1 across the image.
        theta = boxes.new_zeros(len(boxes), 2, 3)
        theta[:, 0, 0], theta[:, 0, 2] = REGION_HEIGHTS[1] * tall / width, 2 * middle[:, 0] / width - 1
        theta[:, 1, 1], theta[:, 1, 2] = REGION_HEIGHTS[0] * tall / height, 2 * middle[:, 1] / height - 1
        fine = [2 * side for side in REGION_PX]
        grid = F.affine_grid(theta, [len(boxes), 3, *fine], align_corners=False)
        regions = F.avg_pool2d(F.grid_sample(images[at], grid, align_corners=False), 2)
        where = torch.stack([theta[:, 0, 2], theta[:, 1, 2], 4 * tall / height], 1)
        together = self.together(torch.cat([self.trunk((regions - 0.4) * 2), where, whole], 1))
        return self.kinds(together), self.values(together)
