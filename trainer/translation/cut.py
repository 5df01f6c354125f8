"""Contrastive unpaired translation (CUT; Park et al., ECCV 2020), guided by the renderer's buffers.

The losses are those of FastCUT: least squares of a patch discriminator, and PatchNCE between a render and its
translation. Optimal transport matches colours first; the network learns the residual. Its input is a render's pixels
and buffers; PatchNCE compares only pixels.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any, Self, cast

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from trainer.errors import InputError
from trainer.randomness import Purpose, torch_generator
from trainer.tasks.task_settings import changed_settings
from trainer.translation.colour import ColourTranslator
from trainer.translation.cut_networks import Discriminator, Generator, PatchHeads, patch_nce
from trainer.translation.guidance import UNKNOWN, Buffers, channels_of, typical_depth
from trainer.translation.translator import FitInputs, Renders, Translator

#: Image sides are multiples of this in the network.
_MULTIPLE = 4
_BETAS = (0.5, 0.999)
#: Decay of the average of the generator's weights.
_DECAY = 0.995
_FEWEST = 4


@dataclass(frozen=True)
class CutSettings:
    """Settings of the method `cut`. The defaults train on two cores in less than 30 minutes."""

    #: Steps of the optimisers.
    steps: Annotated[int, Field(ge=1)] = 1200
    #: Channels of the generator at full resolution.
    width: Annotated[int, Field(ge=4)] = 16
    #: Residual blocks of the generator.
    blocks: Annotated[int, Field(ge=0)] = 4
    #: Channels of the discriminator's first layer.
    judge_width: Annotated[int, Field(ge=4)] = 24
    #: Pixels per batch: smaller images are combined, larger ones randomly cropped. 0: one whole image per batch.
    batch_px: Annotated[int, Field(ge=0)] = 32_768
    learning_rate: Annotated[float, Field(gt=0)] = 4e-4
    #: Weight of PatchNCE; the discriminator's weight is 1.
    content_weight: Annotated[float, Field(ge=0)] = 10.0
    #: Patches per image that PatchNCE compares at each level.
    patches: Annotated[int, Field(ge=2)] = 256
    #: Fraction of batches without guidance, which teach the network to translate images without masks.
    unguided: Annotated[float, Field(ge=0, le=1)] = 0.25


#: The settings on a GPU: approximately the authors' size, on whole images.
FULL_SIZE = CutSettings(
    steps=40_000, width=64, blocks=9, judge_width=64, batch_px=0, learning_rate=2e-4, content_weight=10.0
)


class CutTranslator(Translator):
    """A colour translator followed by a generator that corrects its result.

    Args:
        depth_m: see `channels_of`.
    """

    method = "cut"
    uses_buffers = True

    def __init__(
        self,
        colours: ColourTranslator,
        generator: Generator,
        classes: tuple[str, ...],
        depth_m: float,
        settings: CutSettings,
    ) -> None:
        super().__init__(classes)
        self.colours, self.generator, self.settings, self.depth_m = colours, generator.eval(), settings, depth_m
        self._device = "cpu"

    @classmethod
    def _fitted(cls, inputs: FitInputs) -> Self:
        renders, photographs, device = inputs.renders, inputs.photographs, inputs.device
        chosen = changed_settings(CutSettings() if device == "cpu" else FULL_SIZE, inputs.settings, "")
        for what, images in (("renders", renders.images), ("photographs", photographs)):
            if len(images) < _FEWEST:
                raise InputError(f"{len(images)} {what} are too few for method cut; at least {_FEWEST} are needed")
        colours = ColourTranslator.fit(renders, photographs, inputs.seed, {})
        depths = [each.depth[::4, ::4] for each in renders.buffers if each.depth is not None]
        depth_m = typical_depth(depths)
        matched = np.stack([colours.apply(image) for image in renders.images])
        training = _Training(
            replace(renders, images=matched),
            photographs,
            depth_m,
            chosen,
            torch_generator(inputs.seed, Purpose.TRANSLATION),
            device,
        )
        for step in range(chosen.steps):
            training.step(step / chosen.steps)
            if inputs.advance:
                inputs.advance(step + 1, chosen.steps)
        return cls(colours, training.averaged(), renders.classes, depth_m, chosen).to(device)

    def apply(self, image: np.ndarray, buffers: Buffers = UNKNOWN) -> np.ndarray:
        """See `Translator.apply`."""
        height, width = image.shape[:2]
        guides = channels_of(buffers, height, width, len(self.classes), self.depth_m)
        pixels = to_signed(torch.from_numpy(self.colours.apply(image))[None])
        below, right = -height % _MULTIPLE, -width % _MULTIPLE
        padded = [
            F.pad(each, (0, right, 0, below), mode="replicate").to(self._device)
            for each in (pixels, torch.from_numpy(guides)[None])
        ]
        with torch.inference_mode():
            found = self.generator(*padded)[0, :, :height, :width]
        return ((found.permute(1, 2, 0).cpu() + 1) * 127.5 + 0.5).clamp(0, 255).byte().numpy()

    def to(self, device: str) -> Self:
        """See `Translator.to`."""
        self.generator.to(device)
        self._device = device
        return self

    def _tensors(self) -> dict[str, Tensor]:
        return {f"generator.{name}": each for name, each in self.generator.state_dict().items()} | {
            f"colours.{name}": each for name, each in self.colours._tensors().items()
        }

    def _values(self) -> dict[str, Any]:
        return {
            "settings": asdict(self.settings),
            "colours": self.colours._values(),
            "depth_m": self.depth_m,
            "guides": self.generator.guides,
        }

    @classmethod
    def _restored(cls, values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Self:
        settings = CutSettings(**values["settings"])
        generator = Generator(values["guides"], settings.width, settings.blocks, torch.Generator())
        generator.load_state_dict(_part(tensors, "generator."))
        colours = ColourTranslator._restored(values["colours"], _part(tensors, "colours."))
        return cls(colours, generator, (), values["depth_m"], settings)


class _Training:
    """The networks, their optimisers, and the images of a training."""

    def __init__(
        self,
        renders: Renders,
        photographs: np.ndarray,
        depth_m: float,
        settings: CutSettings,
        generator: torch.Generator,
        device: str,
    ) -> None:
        self._renders, self._photographs, self._depth_m = renders, photographs, depth_m
        self._settings, self._random, self._device = settings, generator, device
        height, width = renders.images.shape[1:3]
        self._height, self._width, self._batch = batch_of(height, width, settings.batch_px)
        guides = channels_of(UNKNOWN, 1, 1, len(renders.classes), 1.0).shape[0]
        self._generator = Generator(guides, settings.width, settings.blocks, generator).to(device)
        self._judge = Discriminator(settings.judge_width, generator).to(device)
        self._heads = PatchHeads(self._generator.feature_channels, generator).to(device)
        self._average = AveragedModel(self._generator, multi_avg_fn=get_ema_multi_avg_fn(_DECAY))
        rate = settings.learning_rate
        self._translating = torch.optim.Adam([*self._generator.parameters(), *self._heads.parameters()], rate, _BETAS)
        self._judging = torch.optim.Adam(self._judge.parameters(), rate, _BETAS)

    def step(self, progress: float) -> None:
        """Take one step of the discriminator and one of the generator.

        Args:
            progress: the fraction of completed steps; the learning rate decays over the second half.
        """
        for optimiser in (self._translating, self._judging):
            optimiser.param_groups[0]["lr"] = self._settings.learning_rate * min(1.0, 2 - 2 * progress)
        images, guides = self._some_renders()
        photographs = self._some_photographs()
        translated = self._generator(images, guides)
        self._judge.requires_grad_(True)
        judged = self._judge(translated.detach()).square().mean() + (self._judge(photographs) - 1).square().mean()
        self._judging.zero_grad()
        (judged / 2).backward()
        self._judging.step()
        self._judge.requires_grad_(False)
        loss = (self._judge(translated) - 1).square().mean()
        loss = loss + self._settings.content_weight * self._content_loss(images, translated)
        self._translating.zero_grad()
        loss.backward()
        self._translating.step()
        self._average.update_parameters(self._generator)

    def averaged(self) -> Generator:
        """Return the generator with averaged weights."""
        found = cast(Generator, self._average.module)
        return found.requires_grad_(False)

    def _content_loss(self, images: Tensor, translated: Tensor) -> Tensor:
        before, after = self._generator.features(images), self._generator.features(translated)
        places = [
            torch.randint(each[0, 0].numel(), (self._settings.patches,), generator=self._random).to(self._device)
            for each in before
        ]
        keys = [each.detach() for each in self._heads(before, places)]
        losses = [patch_nce(*pair) for pair in zip(self._heads(after, places), keys, strict=True)]
        return torch.stack(losses).mean()

    def _some_renders(self) -> tuple[Tensor, Tensor]:
        images, guides = [], []
        guided = self._uniform() >= self._settings.unguided
        for index in self._indices(len(self._renders.images)):
            part, mirrored = self._part(), self._uniform() < 0.5
            images.append(_cut_out(self._renders.images[index], part, mirrored))
            known = self._renders.buffers[index] if guided else UNKNOWN
            channels = channels_of(
                _part_of(known, part), self._height, self._width, len(self._renders.classes), self._depth_m
            )
            guides.append(torch.from_numpy(channels[:, :, ::-1].copy() if mirrored else channels))
        return to_signed(torch.stack(images)).to(self._device), torch.stack(guides).to(self._device)

    def _some_photographs(self) -> Tensor:
        images = [
            _cut_out(self._photographs[index], self._part(), self._uniform() < 0.5)
            for index in self._indices(len(self._photographs))
        ]
        return to_signed(torch.stack(images)).to(self._device)

    def _part(self) -> tuple[slice, slice]:
        """Return a random crop of the frame."""
        height, width = self._photographs.shape[1:3]
        top, left = (int(self._uniform() * (most + 1)) for most in (height - self._height, width - self._width))
        return slice(top, top + self._height), slice(left, left + self._width)

    def _indices(self, count: int) -> list[int]:
        found: list[int] = torch.randint(count, (self._batch,), generator=self._random).tolist()
        return found

    def _uniform(self) -> float:
        return torch.rand((), generator=self._random).item()


def batch_of(height: int, width: int, pixels: int) -> tuple[int, int, int]:
    """Return the height and width of a batch's crops, multiples of 4, and their number.

    Args:
        height, width: of the images.
        pixels: approximate pixels per batch; 0: one whole image.
    """
    scale = min(1.0, (pixels / (height * width)) ** 0.5) if pixels else 1.0
    rows, columns = (max(int(side * scale) // _MULTIPLE, 1) * _MULTIPLE for side in (height, width))
    return rows, columns, max(1, pixels // (rows * columns))


def to_signed(images: Tensor) -> Tensor:
    """Return float [N, 3, H, W] in [-1, 1] of uint8 [N, H, W, 3]."""
    return images.permute(0, 3, 1, 2).float() / 127.5 - 1


def _cut_out(image: np.ndarray, part: tuple[slice, slice], mirrored: bool) -> Tensor:
    pixels = image[part]
    return torch.from_numpy(pixels[:, ::-1].copy() if mirrored else np.ascontiguousarray(pixels))


def _part_of(buffers: Buffers, part: tuple[slice, slice]) -> Buffers:
    return Buffers(*(None if each is None else each[part] for each in vars(buffers).values()))


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): each for name, each in tensors.items() if name.startswith(prefix)}
