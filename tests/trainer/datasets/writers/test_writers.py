"""Exported datasets, read back by readers that know nothing of the writers."""

import errno
import gzip
import json
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.samples import vision_camera

from trainer.datasets.writers import FORMATS, DatasetCard, Instance, Rectangle, Sample, open_writer
from trainer.datasets.writers.geometry import Cuboid
from trainer.datasets.writers.journal import JOURNAL
from trainer.errors import InputError

CARD = DatasetCard(
    title='Digits "turned"',
    description="One handwritten digit per image.",
    source="run runs/mnist-rot, checkpoint of epoch 8",
    seed=7,
    command="metasim generate runs/mnist-rot --count 3 --seed 7",
    rendering="blender, 6x4 px, 1 sample",
    asset_licences={"digits": "MNIST, CC BY-SA 3.0"},
    classes=("sign", "car"),
    models=("sign", "car"),
)
CAMERA = vision_camera(6, 4, 5.0)
CUBOID = Cuboid(np.eye(3), np.array((0.0, 0.0, 4.0)), np.full(3, -0.5), np.full(3, 0.5))


def samples(count: int = 3, size: tuple[int, int] = (4, 6)) -> list[Sample]:
    """Noise with a car that covers the pixels 1 to 3 of the rows 0 and 1, with all that any format needs."""
    rng = np.random.default_rng(5)
    instances = np.zeros(size, np.uint16)
    instances[:2, 1:4] = 7
    car = Instance(
        node="car-1",
        class_name="car",
        number=7,
        visible=Rectangle(1.0, 0.0, 3.0, 2.0),
        amodal=Rectangle(1.0, 0.0, 3.0, 2.5),
        visible_px=6,
        cuboid=CUBOID,
        model="car",
        silhouette=instances == 7,
    )
    return [
        Sample.of(
            image=rng.integers(0, 256, (*size, 3), dtype=np.uint8),
            label=index % 2 + 3,
            instances=(car,),
            camera=CAMERA,
            masks={"class": np.where(instances == 7, 2, 0).astype(np.uint16), "instance": instances},
            depth=np.where(instances == 7, 3.5, np.inf).astype(np.float32),
            metadata={"digit_rotation_deg": 90.5, "scene": index},
        )
        for index in range(count)
    ]


def read_idx(data: bytes) -> np.ndarray:
    zero, kind, dimensions = struct.unpack(">HBB", data[:4])
    assert (zero, kind) == (0, 8)
    shape = struct.unpack(f">{dimensions}I", data[4 : 4 + 4 * dimensions])
    return np.frombuffer(data[4 + 4 * dimensions :], np.uint8).reshape(shape)


def card_of(name: str) -> DatasetCard:
    """A card with which an export goes on after any sample: Parquet files cannot be appended to."""
    return replace(CARD, per_file=1) if name.startswith("parquet") else CARD


def export(name: str, folder: Path, content: list[Sample], card: DatasetCard = CARD) -> Path:
    with open_writer(name, folder, card) as writer:
        for sample in content:
            writer.add(sample)
    return folder


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_imagefolder_holds_images_labels_boxes_masks_and_metadata(tmp_path: Path) -> None:
    content = samples()
    folder = export("imagefolder-masks", tmp_path / "set", content)

    rows = [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]
    assert [row["label"] for row in rows] == [3, 4, 3]
    for row, sample in zip(rows, content, strict=True):
        with Image.open(folder / row["file_name"]) as image:
            assert image.mode == "RGB"
            assert np.array_equal(image, sample.image)
        for name in ("class", "instance"):
            with Image.open(folder / row[f"{name}_mask_file_name"]) as mask:
                assert np.array_equal(mask, sample.masks[name])
        assert row["objects"] == {"bbox": [[1.0, 0.0, 3.0, 2.0]], "categories": ["car"]}
        assert row["digit_rotation_deg"] == 90.5
    assert len(list((folder / "images").iterdir())) == 3
    plain = export("imagefolder", tmp_path / "plain", content)
    assert not (plain / "masks").exists()
    assert "instance_mask_file_name" not in (plain / "metadata.jsonl").read_text()


@pytest.mark.parametrize("name", ["idx", "idx-gz"])
def test_idx_holds_grey_images_and_labels(name: str, tmp_path: Path) -> None:
    content = samples()
    folder = export(name, tmp_path / "set", content)

    suffix, unpack = (".gz", gzip.decompress) if name == "idx-gz" else ("", bytes)
    images = read_idx(unpack((folder / f"train-images-idx3-ubyte{suffix}").read_bytes()))
    labels = read_idx(unpack((folder / f"train-labels-idx1-ubyte{suffix}").read_bytes()))
    luma = np.stack([sample.image for sample in content]) @ np.array([0.299, 0.587, 0.114])
    assert images.shape == (3, 4, 6)
    assert np.abs(images - luma).max() <= 0.51
    assert labels.tolist() == [3, 4, 3]
    assert len(tree(folder)) == 3


def test_idx_leaves_grey_pixels_as_they_are(tmp_path: Path) -> None:
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    folder = export("idx", tmp_path / "set", [Sample.of(np.repeat(ramp[:, :, None], 3, axis=2), label=0)])
    assert np.array_equal(read_idx((folder / "train-images-idx3-ubyte").read_bytes())[0], ramp)


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_card_says_what_how_from_where_and_how_many(name: str, tmp_path: Path) -> None:
    card = (export(name, tmp_path / "set", samples()) / "README.md").read_text()
    for text in (
        'pretty_name: "Digits \\"turned\\""',
        "size_categories: [n<1K]",
        "One handwritten digit per image.",
        "* Source: run runs/mnist-rot, checkpoint of epoch 8",
        "* Seed: 7",
        "* Rendering: blender, 6x4 px, 1 sample",
        "    metasim generate runs/mnist-rot --count 3 --seed 7",
        "| 3 | 2 |\n| 4 | 1 |\n| all | 3 |",
        "* digits: MNIST, CC BY-SA 3.0",
    ):
        assert text in card


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_same_samples_give_the_same_bytes(name: str, tmp_path: Path) -> None:
    assert tree(export(name, tmp_path / "a", samples())) == tree(export(name, tmp_path / "b", samples()))


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_existing_folder_is_refused_and_left_alone(name: str, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match=r"set exists, and datasets are never overwritten; choose another folder"):
        open_writer(name, tmp_path / "set", CARD)
    assert [path.name for path in tmp_path.rglob("*")] == ["set", "mine.txt"]


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_folder_that_appears_meanwhile_is_left_alone_and_the_samples_are_kept(name: str, tmp_path: Path) -> None:
    writer = open_writer(name, tmp_path / "set", CARD)
    writer.add(samples(1)[0])
    (tmp_path / "set").mkdir()
    with pytest.raises(InputError, match=r"set exists, and datasets are never overwritten"):
        writer.close()
    assert not list((tmp_path / "set").iterdir())
    assert (tmp_path / "set.partial" / "README.md").is_file()


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_interrupted_export_keeps_its_samples_under_another_name(name: str, tmp_path: Path) -> None:
    def interrupted() -> None:
        with open_writer(name, tmp_path / "set", CARD) as writer:
            for sample in samples(2):
                writer.add(sample)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not (tmp_path / "set").exists()
    assert len((tmp_path / "set.partial" / JOURNAL).read_text().splitlines()) == 3
    with pytest.raises(InputError, match=r"set\.partial is an unfinished export; add --resume to continue it,"):
        open_writer(name, tmp_path / "set", CARD)


@pytest.mark.parametrize("name", sorted(FORMATS))
@pytest.mark.parametrize("torn", [False, True])
def test_an_export_that_is_gone_on_with_is_the_same(name: str, torn: bool, tmp_path: Path) -> None:
    def killed() -> None:
        with open_writer(name, tmp_path / "set", card_of(name)) as writer:
            for sample in samples(3)[:2]:
                writer.add(sample)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        killed()
    journal = tmp_path / "set.partial" / JOURNAL
    if torn:  # Killed while the second sample's line was written: its files are there, and are written again.
        journal.write_bytes(journal.read_bytes()[:-4])
    writer = open_writer(name, tmp_path / "set", card_of(name), resume=True)
    assert writer.count == (1 if torn else 2)
    with writer:
        for sample in samples(3)[writer.count :]:
            writer.add(sample)
    assert tree(tmp_path / "set") == tree(export(name, tmp_path / "whole", samples(3), card_of(name)))


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_an_export_that_could_not_be_finished_can_be(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(DatasetCard, "markdown", full)
        with pytest.raises(InputError) as error:
            export(name, tmp_path / "set", samples(), card_of(name))
    assert str(error.value) == (
        f"{tmp_path}/set: cannot write (the disk is full); 3 samples are in {tmp_path}/set.partial, "
        "and --resume continues"
    )
    open_writer(name, tmp_path / "set", card_of(name), resume=True).close()
    assert tree(tmp_path / "set") == tree(export(name, tmp_path / "whole", samples(), card_of(name)))


def test_only_the_same_export_is_gone_on_with(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no .*/set\.partial to resume; omit --resume to start"):
        open_writer("coco", tmp_path / "set", CARD, resume=True)
    writer = open_writer("coco", tmp_path / "set", CARD)
    writer.add(samples(1)[0])
    writer.abort()
    with pytest.raises(
        InputError, match=r"set\.partial is of another export: its seed is 7, not 8; use its original command"
    ):
        open_writer("coco", tmp_path / "set", replace(CARD, seed=8), resume=True)
    with pytest.raises(InputError, match=r'another export: its format is "CocoWriter", not "YoloWriter"'):
        open_writer("yolo", tmp_path / "set", CARD, resume=True)
    (tmp_path / "set.partial" / JOURNAL).write_text("nonsense\n")
    with pytest.raises(InputError, match=r'another export: its format is null, not "CocoWriter"'):
        open_writer("coco", tmp_path / "set", CARD, resume=True)


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_empty_dataset_is_refused_and_leaves_nothing(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"set: the dataset has no samples; at least 1 is needed"):
        export(name, tmp_path / "set", [])
    assert not list(tmp_path.iterdir())


def test_unknown_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^format 'coca' is unknown; allowed: bop, coco, .*yolo-seg$"):
        open_writer("coca", tmp_path / "set", CARD)


def test_folder_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file is not a folder; choose another place for set$"):
        open_writer("idx", tmp_path / "file" / "set", CARD)


@pytest.mark.parametrize("label", [None, "seven", -1, 256, True])
def test_idx_refuses_labels_that_are_no_bytes(label: object, tmp_path: Path) -> None:
    sample = Sample.of(np.zeros((4, 6, 3), np.uint8), label=label)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"sample 0: label .* does not fit idx; allowed: whole numbers from 0 to 255"):
        export("idx", tmp_path / "set", [sample])


def test_idx_refuses_images_of_another_size(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"sample 1 is 8x5 px; idx holds images of one size, here 6x4"):
        export("idx", tmp_path / "set", samples(1) + samples(1, (5, 8)))


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"label": 3}, r"sample 0: metadata field 'label' is a field of the format; rename it"),
        ({"yaw": float("nan")}, r"sample 0: metadata cannot be written as JSON: Out of range float values"),
        ({"yaw": np.float32(1)}, r"sample 0: metadata cannot be written as JSON: Object of type float32"),
    ],
)
def test_imagefolder_refuses_metadata_that_json_cannot_hold(
    metadata: dict[str, object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        export("imagefolder", tmp_path / "set", [Sample.of(np.zeros((4, 6, 3), np.uint8), 1, metadata=metadata)])


@pytest.mark.parametrize("image", [np.zeros((4, 6, 3)), np.zeros((4, 6), np.uint8), np.zeros((0, 6, 3), np.uint8)])
def test_sample_refuses_other_images(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"Sample\.image is .*; it must be uint8 \(h, w, 3\)"):
        Sample.of(image)


def test_sample_refuses_masks_of_another_size() -> None:
    with pytest.raises(
        ValueError, match=r"Sample\.masks\['class'\] is uint8 \(6, 4\); it must be uint8 or uint16 \(4, 6\)"
    ):
        Sample.of(np.zeros((4, 6, 3), np.uint8), masks={"class": np.zeros((6, 4), np.uint8)})


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (".", r"^\. exists, and datasets are never overwritten; choose another folder$"),
        ("", r"^\. exists, and datasets are never overwritten"),
        ("/", r"^/ exists, and datasets are never overwritten"),
        ("..", r"^\.\. exists, and datasets are never overwritten"),
        ("a" * 260, r"^a{200}\.\.\.: File name too long; choose another folder$"),
        ("a" * 250, r"^a{250}: cannot write \(File name too long\)$"),
        ("b\udcff", r"^'b\\udcff' is not UTF-8; choose another name$"),
    ],
)
def test_names_that_no_folder_can_have(out: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        open_writer("coco", Path(out), CARD)
    assert not list(tmp_path.iterdir())


def test_a_file_that_may_not_grow_is_one_line(tmp_path: Path) -> None:
    """`ulimit -f` fails the journal's write, and its close as well."""
    script = (
        "import resource, sys; sys.path.insert(0, sys.argv[2]); from pathlib import Path\n"
        "from trainer.datasets.writers import DatasetCard, Sample, open_writer; import numpy as np\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000))\n"
        "sample = Sample.of(np.zeros((4, 6, 3), np.uint8), label=0, metadata={'text': 'x' * 1500})\n"
        "with open_writer('imagefolder', Path(sys.argv[1]), DatasetCard('t', 'd', 's', 0)) as writer:\n"
        "    for _ in range(200): writer.add(sample)\n"
    )
    root = str(Path(__file__).resolve().parents[4])
    run = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "set"), root], capture_output=True, text=True, check=False
    )
    last = run.stderr.splitlines()[-1]
    assert "InputError" in last
    assert "set: cannot write (File too large); 64 samples are in" in last
    assert "OSError" not in run.stderr.split("The above exception was the direct cause")[-1]
