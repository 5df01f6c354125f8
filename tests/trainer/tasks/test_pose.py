from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from trainer.errors import InputError
from trainer.grammar import load_grammar
from trainer.rendering import Frame
from trainer.tasks import TASKS
from trainer.tasks.pose import Pose, PoseEstimation, PoseSettings, open_network

CLASSES = ("arrow", "disc")


def pictures(count: int, seed: int) -> tuple[np.ndarray, list[Pose]]:
    """Arrows that point somewhere, and discs with a mark on their rim."""
    rng = np.random.default_rng(seed)
    images, poses = [], []
    for index in range(count):
        yaw = float(rng.uniform(-180, 180))
        towards = np.array([np.cos(np.deg2rad(yaw)), -np.sin(np.deg2rad(yaw))])
        aside = np.array([-towards[1], towards[0]])
        picture = Image.new("RGB", (32, 32), (90, 90, 90))
        draw = ImageDraw.Draw(picture)
        if index % 2 == 0:
            corners = (16 + 12 * towards, 16 - 10 * towards + 6 * aside, 16 - 10 * towards - 6 * aside)
            draw.polygon([tuple(corner) for corner in corners], fill=(230, 60, 40))
        else:
            draw.ellipse((5, 5, 27, 27), fill=(40, 80, 220))
            mark = 16 + 8 * towards
            draw.ellipse((*(mark - 4), *(mark + 4)), fill=(250, 250, 250))
        images.append(np.asarray(picture))
        poses.append(Pose(index % 2, yaw))
    return np.stack(images), poses


TASK = PoseEstimation(PoseSettings(CLASSES, epochs=12))


def test_classes_and_directions_are_learned() -> None:
    images, poses = pictures(400, 0)
    done: list[tuple[int, int]] = []
    model = TASK.train(images, poses, seed=1, progress=lambda *epoch: done.append(epoch))
    assert done[-1] == (12, 12)
    scores = TASK.score(model, *pictures(100, 1))
    assert scores.primary == "pose"
    assert scores.values["class"] > 0.95
    assert scores.value > 0.7
    turned = [Pose(pose.class_index, pose.yaw_deg + 180) for pose in poses]
    assert TASK.score(model, images, turned).value < 0.1


def test_the_same_arguments_give_the_same_network() -> None:
    images, poses = pictures(64, 2)
    task = PoseEstimation(PoseSettings(CLASSES, epochs=1))
    torch.manual_seed(0)
    first = task.train(images, poses, seed=3).state_dict()
    torch.manual_seed(1)
    second = task.train(images, poses, seed=3).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    other = task.train(images, poses, seed=4).state_dict()
    assert not torch.equal(first["heads.0.weight"], other["heads.0.weight"])


def test_yaws_on_both_sides_of_half_a_turn_are_near() -> None:
    class Told(PoseEstimation):
        def predict(self, model: object, images: np.ndarray) -> list[Pose]:
            del model, images
            return [Pose(0, -172.0), Pose(0, -164.0), Pose(1, 10.0)]

    images = np.zeros((3, 32, 32, 3), np.uint8)
    scores = Told(PoseSettings(CLASSES)).score(None, images, [Pose(0, 180), Pose(0, 180), Pose(0, 10)])  # type: ignore[arg-type]
    assert scores.values == {"pose": pytest.approx(1 / 3), "class": pytest.approx(2 / 3)}


def test_the_experiments_scenes_have_labels() -> None:
    assert TASKS["pose"] == "trainer.tasks.pose"
    grammar = load_grammar("tyol-8-multi")
    scene = grammar.sample(np.random.default_rng(0))
    label = open_network(grammar.classes, "quick").label(scene, Frame({}))
    thing = scene.nodes[-1]
    assert grammar.classes[label.class_index] == thing.class_name
    assert label.yaw_deg == thing.values["yaw"]


def test_a_scene_without_one_object_has_no_label(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text(
        "render: {width: 8, height: 8}\nnodes: {eye: {camera: orthographic, fov: 1}}\nscene: [eye]\n"
    )
    scene = load_grammar(tmp_path / "empty.yaml").sample(np.random.default_rng(0))
    with pytest.raises(InputError, match="a scene has 0 nodes with a class; pose estimation needs exactly one"):
        TASK.label(scene, Frame({}))


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((1, 32, 32, 3)), [Pose(0, 0)], r"images are float64 .*; allowed: uint8 \[N, H, W, 3\]"),
        (np.zeros((1, 16, 32, 3), np.uint8), [Pose(0, 0)], "1 images of 32x16 px; at least 1 of 32x32 is needed"),
        (np.zeros((2, 32, 32, 3), np.uint8), [Pose(0, 0)], "1 labels for 2 images; each image needs one"),
        (np.zeros((1, 32, 32, 3), np.uint8), [Pose(2, 0)], "class 2 of image 0 does not exist; allowed: 0 to 1"),
    ],
)
def test_what_does_not_fit_is_refused(images: np.ndarray, labels: list[Pose], message: str) -> None:
    with pytest.raises(InputError, match=message):
        TASK.train(images, labels, seed=0)
