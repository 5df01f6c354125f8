"""Buffers of rendered frames and dataset samples, with a translator's class numbers."""

from collections.abc import Sequence

import numpy as np
from metasim.v1 import render_pb2 as pb

from trainer.datasets.writers.sample import Need, Sample
from trainer.rendering import Frame
from trainer.translation.guidance import UNKNOWN, Buffers
from trainer.translation.translator import Translator

#: The render outputs that buffers need, and the corresponding needs of samples.
OUTPUTS = (pb.OUTPUT_CLASS_MASK, pb.OUTPUT_DEPTH, pb.OUTPUT_NORMAL)
NEEDS = Need.MASKS | Need.DEPTH | Need.NORMALS


def buffers_of_frame(frame: Frame) -> Buffers:
    """Return the buffers of a frame with `OUTPUTS`; classes keep their numbers."""
    return Buffers(*(frame.layers[output] for output in OUTPUTS))


def translated_frame(translator: Translator, frame: Frame, classes: Sequence[str]) -> np.ndarray:
    """Return the translated image of a frame, uint8 [H, W, 3].

    Args:
        frame: has `OUTPUTS` if the translator uses buffers.
        classes: names of the classes in the frame's class mask.
    """
    if not translator.uses_buffers:
        return translator.apply(frame.image)
    return translator.apply(frame.image, _numbered(buffers_of_frame(frame), classes, translator.classes))


def translated_sample(translator: Translator, sample: Sample, classes: Sequence[str]) -> Sample:
    """Return a sample with its image translated and everything else unchanged.

    Args:
        sample: has `NEEDS` if the translator uses buffers.
        classes: names of the classes in the sample's class mask.
    """
    known = UNKNOWN
    if translator.uses_buffers:
        known = Buffers(sample.masks["class"], sample.depth, sample.normals)
    return sample.with_image(translator.apply(sample.image, _numbered(known, classes, translator.classes)))


def _numbered(buffers: Buffers, classes: Sequence[str], wanted: Sequence[str]) -> Buffers:
    """Return buffers whose class mask indexes `wanted`; other classes become 0."""
    if buffers.classes is None or tuple(classes) == tuple(wanted):
        return buffers
    numbers = np.array([0, *(wanted.index(name) + 1 if name in wanted else 0 for name in classes)])
    return Buffers(numbers[buffers.classes], buffers.depth, buffers.normals)
