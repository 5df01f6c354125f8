"""Rendering of labelled images for a task network."""

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from operator import attrgetter

import numpy as np
from metasim.v1 import render_pb2 as pb

from trainer.errors import InputError
from trainer.grammar import SceneGraph
from trainer.rendering import Frame, Renderer
from trainer.tasks.task import Label, Model, TaskNetwork


def labelled(
    renderer: Renderer,
    task: TaskNetwork[Label, Model],
    scenes: Iterable[SceneGraph],
    seed: int,
    done: Callable[[int], None] | None = None,
    *,
    chunk: int = 512,
    outputs: Sequence[int] = (),
    image_of: Callable[[Frame], np.ndarray] = attrgetter("image"),
) -> tuple[np.ndarray, list[Label]]:
    """Return images uint8 [N, H, W, 3] of scenes, and their labels.

    Args:
        scenes: drawn `chunk` at a time, so the iterable may be lazy.
        seed: scene i has the sampling noise of seed + i.
        done: called with the number of rendered scenes.
        outputs: render outputs that `image_of` needs besides the image.
        image_of: returns the image of a frame.

    Raises:
        InputError: there are no scenes, or one has no label in this task.
    """
    images: list[np.ndarray] = []
    labels: list[Label] = []
    source = iter(scenes)
    wanted = tuple(dict.fromkeys((pb.OUTPUT_IMAGE_U8, *task.outputs, *outputs)))
    while part := list(islice(source, chunk)):
        frames = renderer.render(part, seed + len(labels), wanted)
        images.append(np.stack([image_of(frame) for frame in frames]))
        labels += [task.label(scene, frame) for scene, frame in zip(part, frames, strict=True)]
        if done is not None:
            done(len(labels))
    if not images:
        raise InputError(f"there are no scenes to render for {task.name}; at least one is needed")
    return np.concatenate(images), labels
