"""--device: everything that learns computes the same on a device as on the CPU, and leaves no tensor behind.

The device is a pretended one (`support.accelerator`), or a real one: METASIM_TEST_NETWORK=cuda.
"""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.accelerator import ACCELERATOR, Accelerator
from support.grammars import FLAT, write_sprites

import trainer.inference.transport
import trainer.train
from trainer.device import device_of, upload
from trainer.features import FeatureSpace, features_of
from trainer.features.appearance import unchanged
from trainer.features.descent import Course
from trainer.features.natural import NaturalFeatures, available
from trainer.grammar import Grammar, load_grammar
from trainer.inference.count_channels import Channel
from trainer.inference.count_reader import CountReader, CountRenders
from trainer.inference.estimator import Estimator
from trainer.inference.objects import objects_of
from trainer.inference.posterior import Layout
from trainer.inference.renders import Renders
from trainer.inference.trunk import presence_of
from trainer.inference.variables import variables_of
from trainer.metrics.kid import kid
from trainer.metrics.mmd import MMD
from trainer.model.encoding import Encoding
from trainer.model.sampling import transformed
from trainer.model.transformer import DistributionTransformer
from trainer.pool import PoolOptions
from trainer.refinement.structure_descent import advantages, surrogate
from trainer.runs.loading import open_run
from trainer.tasks.classifier import ClassifierSettings, DigitClassifier
from trainer.tasks.segmentation import SegmentationSettings, Segmenter

natural_only = pytest.mark.skipif(not available(), reason="needs the extra `natural`")

#: A world with numbers, angles, categories, and a target of two modes.
WORLD = (
    FLAT
    + """\
  thing:
    class: "{label}"
    sprite: {set: shapes, weights: {a: 0.5, b: 0.5}, mutable: true}
    width: 16
    height: 6
    x: {normal: [0, 1], mutable: true, range: [-10, 10]}
    yaw: {normal: [0, 10], mutable: true}
scene: [camera, thing]
target:
  count: 60
  overrides:
    thing.x: {mixture: [{weight: 0.5, normal: [-6, 1]}, {weight: 0.5, normal: [6, 1]}]}
training:
  steps: 1
  epochs: 1
  batch: 8
  pretraining_steps: 3
  monitor_scenes: 16
  monitor_images: 16
  task_images: 16
  task_pairs: 1
  validation_images: 16
  inference: {rounds: 1, simulations: 64, epochs: [1], transport_passes: 1}
"""
)


@pytest.fixture
def accelerator(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    real = os.environ.get("METASIM_TEST_NETWORK")
    if real:
        yield real
        return
    kinds = ["cpu", ACCELERATOR]  # Which have fused optimiser steps.
    monkeypatch.setattr(sys.modules["torch.optim.optimizer"], "_get_fused_kernels_supported_devices", lambda: kinds)
    with Accelerator():
        yield ACCELERATOR


@pytest.fixture
def world(tmp_path: Path) -> Path:
    path = write_sprites(tmp_path, WORLD)
    for shape, label in (("disc", "a"), ("square", "a"), ("star", "b")):
        (tmp_path / "shapes" / label).mkdir(exist_ok=True)
        (tmp_path / "shapes" / f"{shape}.png").rename(tmp_path / "shapes" / label / f"{shape}.png")
    return path


@pytest.mark.parametrize("start", ["infer", "prior"])
def test_a_training_on_a_device_forgets_no_tensor_on_the_cpu(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, accelerator: str, start: str
) -> None:
    losses = "[mmd, task]" if start == "prior" else "[mmd]"
    world.write_text(f"{world.read_text()}  start: {start}\n  stages: [{{losses: {losses}}}]\n")
    monkeypatch.setattr(trainer.train, "open_device", lambda _: accelerator)
    monkeypatch.setattr(trainer.inference.transport, "SCENES", 64)
    pool = PoolOptions(engine="fake", workers=1)
    run = trainer.train.train(trainer.train.TrainOptions(str(world), tmp_path / "run", pool=pool))
    (metrics,) = run.records("metrics.jsonl")
    assert np.isfinite(metrics["mmd"])
    assert run.config.versions["device"] == accelerator
    # What is kept is on the CPU, and opens there.
    assert device_of(open_run(run.folder).transformer).type == "cpu"


def test_the_transformer_learns_the_same_on_a_device(world: Path, accelerator: str) -> None:
    grammar, found = load_grammar(world), []
    rng = np.random.default_rng(0)
    scenes = [grammar.sample(rng) for _ in range(8)]
    for device in ("cpu", accelerator):
        encoding = Encoding(grammar, device)
        transformer = DistributionTransformer(encoding, torch.Generator().manual_seed(0))
        optimizer = torch.optim.Adam(transformer.parameters(), 1e-2)
        batch = encoding.encode(scenes)
        for _ in range(3):
            loss = transformer.reconstruct(batch).loss(batch, encoding) + transformer(batch).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        drawn = [scene.values() for scene in transformed(transformer, scenes)]
        found.append((np.concatenate(drawn), transformer.log_probabilities(batch).exp().detach().cpu().numpy()))
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


REGIONS = (
    FLAT
    + """\
  box: &box
    sprite: shapes
    width: 6
    height: 6
    x: {uniform: [-1, 1], mutable: true, range: [-1, 1]}
  crate: {<<: *box}
  light:
    z: {uniform: [0, 1], mutable: true, range: [0, 1]}
scene: [camera, box, box, crate, light]
"""
)


def boxes_drawn(grammar: Grammar, count: int) -> tuple[list[Any], np.ndarray, list[np.ndarray]]:
    """Return scenes, and images of bright squares with their masks."""
    rng = np.random.default_rng(0)
    scenes = [grammar.sample(rng) for _ in range(count)]
    images = rng.integers(0, 80, (count, 40, 96, 3), dtype=np.uint8)
    masks = [np.zeros((40, 96), dtype=np.uint16) for _ in scenes]
    for scene, image, mask in zip(scenes, images, masks, strict=True):
        things = [number for number, node in enumerate(scene.nodes) if node.kind in ("box", "crate")]
        for slot, number in enumerate(things):
            image[8:30, 32 * slot + 4 : 32 * slot + 26] = 220
            mask[8:30, 32 * slot + 4 : 32 * slot + 26] = number + 1
    return scenes, images, masks


@pytest.mark.parametrize("detected", [False, True])
def test_the_estimator_is_the_same_on_a_device(tmp_path: Path, accelerator: str, detected: bool) -> None:
    grammar = load_grammar(write_sprites(tmp_path, REGIONS))
    scenes, images, masks = boxes_drawn(grammar, 8)
    kinds = variables_of(grammar, scenes, {("box", "x"), ("crate", "x"), ("light", "z")})
    repeating = (kinds["box"],) if detected else ()
    layout = Layout((kinds["crate"], kinds["light"]))
    presence = presence_of(scenes, masks, [kind.kind for kind in layout.kinds])
    objects = objects_of(repeating, scenes, masks)
    renders = Renders(images, *layout.truth(scenes), np.arange(8) % 4 == 0, presence, objects)
    found = []
    for device in ("cpu", accelerator):
        draws = torch.Generator().manual_seed(0)
        estimator = Estimator(layout, (40, 96), draws, repeating).to(device)
        if estimator.objects is not None:
            estimator.objects.detector.heat[-1].bias.data.fill_(1.0)  # type: ignore[union-attr, operator]
        estimator.fit(renders, Course(1, 4, 1e-4), draws, unchanged)
        estimator.calibrate(renders.of(np.flatnonzero(renders.kept_back)), unchanged, np.random.default_rng(0))
        numbers, categories = estimator.sample(images[:2], 4, torch.Generator().manual_seed(1))
        assert (numbers.shape, categories.shape[:2]) == ((2, 4, 2), (2, 4))
        points = features_of(estimator, images[:2])
        assert points.device.type == device
        read = [] if estimator.objects is None else list(vars(estimator.objects.read(images[:1])[0]).values())
        found.append([points.cpu().numpy(), *read])
    assert len(found[0]) == (5 if detected else 1)
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-2, atol=1e-2)


def test_the_counting_network_is_the_same_on_a_device(accelerator: str) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
    counts = rng.integers(0, 3, (8, 2))
    density = np.zeros((8, 2, 8, 8), dtype=np.float16)
    density[:, 0, 2, 3] = counts[:, 0]
    renders = CountRenders(images, counts, density, np.arange(8) % 4 == 0)
    found = []
    for device in ("cpu", accelerator):
        draws = torch.Generator().manual_seed(0)
        reader = CountReader([Channel("a", None), Channel("b", None)], (32, 32), draws).to(device)
        reader.fit(renders, Course(2, 4, 1e-3), draws, unchanged)
        assert device_of(reader).type == device
        found.append(reader.read(images))
    assert reader.shown.tolist() == [True, False]
    np.testing.assert_allclose(*found, rtol=1e-3, atol=1e-3)


def test_task_networks_are_the_same_on_a_device(accelerator: str) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (16, 32, 32, 3), dtype=np.uint8)
    digits, masks = np.arange(16) % 2, rng.integers(0, 2, (16, 32, 32), dtype=np.uint8)

    def predictions(device: str) -> Iterator[np.ndarray]:
        classifier = DigitClassifier(ClassifierSettings(classes=2, epochs=1, batch_size=8, device=device))
        segmenter = Segmenter(SegmentationSettings(("a",), filters=4, epochs=1, batch_size=8, device=device))
        for task, labels in ((classifier, digits), (segmenter, masks)):
            model = task.fine_tune(task.train(images, labels, 0), images, labels, 1)
            assert device_of(model).type == device
            yield task.predict(model, images)

    for ours, theirs in zip(predictions("cpu"), predictions(accelerator), strict=True):
        assert (ours == theirs).mean() > 0.9


@natural_only
def test_distances_are_the_same_on_a_device(accelerator: str) -> None:
    rng = np.random.default_rng(0)
    images, target = rng.integers(0, 256, (2, 12, 24, 32, 3), dtype=np.uint8)
    found = []
    for device in ("cpu", accelerator):
        space: FeatureSpace = NaturalFeatures((8,)).to(device)
        features, wanted = features_of(space, images), features_of(space, target)
        assert features.device.type == device
        distance = MMD(wanted, space.layers)(features)
        places = torch.arange(12)
        contributions = MMD(wanted).contributions(features, features, places)
        logits = torch.zeros(2, dtype=torch.float64, requires_grad=True)
        surrogate(logits.log_softmax(0), np.eye(2)[np.arange(12) % 2], advantages(MMD(wanted), features)).backward()
        assert logits.grad is not None
        figures = distance.item(), kid(features, wanted, 4).value, contributions.sum().item(), logits.grad[0].item()
        found.append(figures)
    assert found[0] == pytest.approx(found[1], rel=1e-3)


@pytest.mark.parametrize(
    "mistake",
    [
        lambda ours, theirs: ours + theirs,
        lambda ours, theirs: torch.where(theirs > 0, ours, 0.0),
        lambda ours, theirs: torch.cat([ours, theirs]),
        lambda ours, theirs: ours.sum() * theirs,
        lambda ours, theirs: theirs[ours.long()],
        lambda ours, _: ours.numpy(),
        lambda ours, _: torch.randn(3, generator=torch.Generator(), device=ours.device),
    ],
)
def test_a_forgotten_transfer_is_found(mistake: Callable[..., Any], accelerator: str) -> None:
    with pytest.raises((RuntimeError, TypeError)):
        mistake(torch.ones(3, device=accelerator), torch.ones(3))


def test_what_a_gpu_allows_is_allowed(accelerator: str) -> None:
    ours, theirs = torch.arange(3.0).to(accelerator), torch.arange(3)
    assert (ours * torch.tensor(2.0)).tolist() == [0, 2, 4]
    assert ours[theirs[1:]].tolist() == [1, 2]
    ours[:2] = theirs[1:]
    assert ours.cpu().tolist() == [1, 2, 2]


def test_an_upload_is_on_the_device(accelerator: str) -> None:
    assert upload(np.ones(3), accelerator).device.type == accelerator
    assert upload(torch.ones(3), "cpu").device.type == "cpu"
