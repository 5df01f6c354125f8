"""Files of neighbouring tools that were once read wrong: each test states the right value."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from trainer.assets.folder_set import ImageFolder
from trainer.datasets.fitting import fitted_labels
from trainer.datasets.label_frame import LabelFrame
from trainer.datasets.pixels import Photo, read_image
from trainer.datasets.readers import open_dataset
from trainer.errors import InputError

ORIENTATION = 0x0112


def picture(path: Path, size: tuple[int, int] = (12, 8), orientation: int = 1) -> np.ndarray:
    """Writes noise of (width, height) and returns it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    Image.fromarray(pixels).save(path, exif=exif)
    return pixels


def coco(folder: Path, size: tuple[int, int], orientation: int = 1, stated: tuple[int, int] | None = None) -> Path:
    """An image with a box (1, 2, 4, 3) and its polygon, labelled at a stated size."""
    picture(folder / "a.png", size, orientation)
    image = {"id": 1, "file_name": "a.png"}
    if stated:
        image |= {"width": stated[0], "height": stated[1]}
    annotation = {"id": 5, "image_id": 1, "category_id": 1, "bbox": [1, 2, 4, 3], "iscrowd": 0}
    annotation["segmentation"] = [[1, 2, 5, 2, 5, 5, 1, 5]]
    content = {"images": [image], "annotations": [annotation], "categories": [{"id": 1, "name": "car"}]}
    (folder / "coco.json").write_text(json.dumps(content))
    return folder


def test_deep_images_are_scaled_as_textures_are(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 256).round().astype(np.uint16)[None].repeat(4, 0)
    expected = np.arange(256, dtype=np.uint8)[None].repeat(4, 0)
    Image.fromarray(ramp).save(tmp_path / "16.png")
    Image.fromarray(ramp).save(tmp_path / "16.tif")
    Image.fromarray(ramp.astype(np.int32)).save(tmp_path / "32.tif")
    Image.fromarray((expected / 255).astype(np.float32)).save(tmp_path / "float.tif")
    Image.fromarray(expected).save(tmp_path / "8.png")
    for name in ("16.png", "16.tif", "32.tif", "float.tif", "8.png"):
        np.testing.assert_array_equal(read_image(tmp_path / name), expected[..., None].repeat(3, 2), err_msg=name)


def test_values_outside_of_their_range_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.full((2, 2), 3.5, np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(InputError, match=r"a\.tif has floating point values from 3\.5 to 3\.5; they must be from 0 "):
        read_image(tmp_path / "a.tif")
    Image.fromarray(np.full((2, 2), 70000, np.int32)).save(tmp_path / "b.tif")
    with pytest.raises(InputError, match=r"b\.tif has values from 70000 to 70000; integers must be from 0 to 65535$"):
        read_image(tmp_path / "b.tif")


def test_odd_photographs_land_upright_and_right(tmp_path: Path) -> None:
    """Palette, CMYK, grey with opacity, one bit, 16 bits held sideways: all are the same picture."""
    pixels = np.zeros((8, 12, 3), np.uint8)
    pixels[:4, :6] = 255
    whole = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    whole.convert("P").save(tmp_path / "palette.png")
    whole.convert("CMYK").save(tmp_path / "cmyk.tif")
    whole.convert("CMYK").save(tmp_path / "cmyk.jpg", quality=100)
    whole.convert("LA").save(tmp_path / "opacity.png")
    whole.convert("1").save(tmp_path / "bit.png")
    deep = np.rot90(pixels[..., 0]).astype(np.uint16) * 257
    Image.fromarray(deep).save(tmp_path / "deep.png", exif=exif)
    Image.fromarray(np.ascontiguousarray(np.rot90(pixels))).save(tmp_path / "held.jpg", exif=exif, quality=100)
    for example in open_dataset(tmp_path):
        assert np.abs(example.image.astype(int) - pixels).max() <= 2, example.name


@pytest.mark.parametrize("orientation", range(1, 9))
def test_labels_of_the_stored_image_turn_with_it(orientation: int, tmp_path: Path) -> None:
    """The size states which image was labelled: upright, or as it was stored."""
    stored = coco(tmp_path / "stored", (12, 8), orientation, stated=(12, 8))
    [example] = open_dataset(stored)
    [item] = example.objects or ()
    mask = np.zeros((8, 12), np.uint8)
    mask[2:5, 1:5] = 1
    expected = mask if orientation < 5 else _turned(mask, orientation)
    assert item.mask is not None
    np.testing.assert_array_equal(item.mask(), expected.astype(bool))
    rows, columns = np.nonzero(expected)
    assert item.box == (columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1)


def _turned(mask: np.ndarray, orientation: int) -> np.ndarray:
    image = Image.fromarray(mask)
    image.getexif()[ORIENTATION] = orientation
    return np.asarray(ImageOps.exif_transpose(image))


@settings(deadline=None)
@given(st.integers(1, 8), st.integers(2, 30), st.integers(2, 30), st.sampled_from([1, 2, 3]), st.data())
def test_boxes_and_masks_of_scaled_and_turned_labels_agree(
    orientation: int, width: int, height: int, factor: int, data: st.DataObject
) -> None:
    x0, y0 = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    x1, y1 = data.draw(st.integers(x0 + 1, width)), data.draw(st.integers(y0 + 1, height))
    size = (height * factor, width * factor) if orientation < 5 else (width * factor, height * factor)
    photo = Photo(np.zeros((*size, 3), np.uint8), orientation)
    frame = LabelFrame.of(photo, (width, height), "a.png")
    mask = np.zeros((height, width), bool)
    mask[y0:y1, x0:x1] = True
    turned = frame.mask(mask)
    assert turned.shape == size
    rows, columns = np.nonzero(turned)
    left, top, box_width, box_height = frame.box((x0, y0, x1 - x0, y1 - y0))
    found = columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1
    assert found == pytest.approx((left, top, box_width, box_height))


def test_labels_of_a_resized_copy_are_scaled_and_others_refused(tmp_path: Path) -> None:
    [example] = open_dataset(coco(tmp_path / "half", (12, 8), stated=(24, 16)))
    [item] = example.objects or ()
    assert item.box == (0.5, 1, 2, 1.5)
    with pytest.raises(
        InputError, match=r"a\.png is 12 x 8 px, and its labels are of an image of 20 x 8 px, which has another shape"
    ):
        list(open_dataset(coco(tmp_path / "other", (12, 8), stated=(20, 8))))
    with pytest.raises(InputError, match=r"labels are of an image of 8 x 12 px, which has another shape"):
        list(open_dataset(coco(tmp_path / "unturned", (12, 8), stated=(8, 12))))


def test_crowds_are_ignored_regions(tmp_path: Path) -> None:
    folder = coco(tmp_path, (12, 8))
    content = json.loads((folder / "coco.json").read_text())
    content["annotations"][0] |= {"iscrowd": 1, "segmentation": {"size": [8, 12], "counts": [10, 2, 84]}}
    (folder / "coco.json").write_text(json.dumps(content))
    dataset = open_dataset(folder)
    [item] = dataset.example(0).objects or ()
    assert (item.class_name, item.ignored) == ("car", True)
    _, [labels] = fitted_labels(dataset, 12, 8, "detection", ["car"])
    assert [label.type for label in labels] == ["DontCare"]


def splits_of_folders(folder: Path) -> None:
    for name in ("train/cat/1.png", "train/dog/2.png", "test/cat/3.png"):
        picture(folder / name)


def splits_of_metadata(folder: Path) -> None:
    for part, label in (("train", "cat"), ("validation", "dog")):
        picture(folder / part / "1.png")
        (folder / part / "metadata.jsonl").write_text(json.dumps({"file_name": "1.png", "label": label}))


def splits_of_yolo(folder: Path) -> None:
    for part in ("train", "valid"):
        picture(folder / part / "images" / "a.png")
        (folder / part / "labels").mkdir()
        (folder / part / "labels" / "a.txt").write_text("1 0.5 0.5 0.5 0.5\n")
    (folder / "data.yaml").write_text("train: ../train/images\nval: ../valid/images\nnc: 2\nnames: ['car', 'person']\n")


def splits_of_coco(folder: Path) -> None:
    for part in ("train", "valid"):
        coco(folder / part, (12, 8))
        (folder / part / "coco.json").rename(folder / part / "_annotations.coco.json")


def splits_of_voc(folder: Path) -> None:
    for part in ("train", "test"):
        picture(folder / part / "a.jpg")
        box = "<bndbox><xmin>2</xmin><ymin>3</ymin><xmax>5</xmax><ymax>5</ymax></bndbox>"
        (folder / part / "a.xml").write_text(f"<annotation><object><name>car</name>{box}</object></annotation>")


@pytest.mark.parametrize(
    ("make", "kind", "names", "classes"),
    [
        (splits_of_folders, "images", ["test/cat/3.png", "train/cat/1.png", "train/dog/2.png"], ("cat", "dog")),
        (splits_of_metadata, "images", ["train/1.png", "validation/1.png"], ("cat", "dog")),
        (splits_of_yolo, "yolo", ["train/images/a.png", "valid/images/a.png"], ("car", "person")),
        (splits_of_coco, "coco", ["train/a.png", "valid/a.png"], ("car",)),
        (splits_of_voc, "voc", ["train/a.jpg", "test/a.jpg"], ("car",)),
    ],
)
def test_splits_are_no_classes(
    make: Callable[[Path], None], kind: str, names: list[str], classes: tuple[str, ...], tmp_path: Path
) -> None:
    make(tmp_path)
    dataset = open_dataset(tmp_path)
    assert (dataset.kind, dataset.classes) == (kind, classes)
    examples = list(dataset)
    assert [example.name for example in examples] == names
    if kind == "images":
        assert [example.label for example in examples] == [
            "cat", *(("cat", "dog") if make is splits_of_folders else ("dog",))
        ]  # fmt: skip
    else:
        assert all(item.class_name == classes[-1] for example in examples for item in example.objects or ())
        assert all(len(example.objects or ()) == 1 for example in examples)


def test_one_part_of_a_dataset_can_be_opened(tmp_path: Path) -> None:
    splits_of_yolo(tmp_path)
    dataset = open_dataset(tmp_path / "valid")
    assert (len(dataset), dataset.classes) == (1, ("car", "person"))


def test_parts_of_different_layouts_are_refused(tmp_path: Path) -> None:
    picture(tmp_path / "train" / "1.png")
    coco(tmp_path / "test", (12, 8))
    with pytest.raises(InputError, match=r"has parts of the layouts coco and images; give the folder of one of them$"):
        open_dataset(tmp_path)


def yolo(folder: Path, lines: str, data: str = "names: [car, person]\n") -> Path:
    picture(folder / "images" / "a.png", (100, 50))
    (folder / "labels").mkdir()
    (folder / "labels" / "a.txt").write_text(lines)
    (folder / "data.yaml").write_text(data)
    return folder


def test_quoted_numbers_of_classes_are_numbers(tmp_path: Path) -> None:
    names = "{" + ", ".join(f"'{number}': n{number}" for number in range(12)) + "}"
    dataset = open_dataset(yolo(tmp_path, "2 .5 .5 .1 .1\n10 .5 .5 .1 .1\n", f"names: {names}\n"))
    assert dataset.classes == tuple(f"n{number}" for number in range(12))
    assert [item.class_name for item in dataset.example(0).objects or ()] == ["n2", "n10"]


@pytest.mark.parametrize("shape", [(4, 3), (5, 2)])
def test_keypoints_are_not_polygons(shape: tuple[int, int], tmp_path: Path) -> None:
    points = " 0.2 0.2 2" * 4 if shape[1] == 3 else " 0.2 0.2" * 5
    folder = yolo(tmp_path, f"0 0.5 0.5 0.2 0.4{points}\n", f"kpt_shape: {list(shape)}\nnames: [car]\n")
    [item] = open_dataset(folder).example(0).objects or ()
    assert item.mask is None
    assert item.box == pytest.approx((40, 15, 20, 20))


def test_boxes_are_cut_off_at_the_image(tmp_path: Path) -> None:
    [item] = open_dataset(yolo(tmp_path, "0 0.95 0.95 0.4 0.4\n")).example(0).objects or ()
    assert item.box == pytest.approx((75, 37.5, 25, 12.5))


@pytest.mark.parametrize(
    ("lines", "data", "message"),
    [
        (
            "0 25 19 30 22\n",
            "names: [car]",
            r"a\.txt, line 1: coordinate 30; YOLO's are fractions of the image's width",
        ),
        ("0 .5 .5 -.1 .1\n", "names: [car]", r"a\.txt, line 1: coordinate -0\.1; YOLO's are fractions"),
        ("2 .5 .5 .1 .1\n", "names: [a, b]", r"a\.txt, line 1: class 2 has no name in data\.yaml, which lists 2$"),
        (
            "0 .5 .5 .1 .1 .2\n",
            "kpt_shape: [4, 3]\nnames: [a]",
            r"5 coordinates; a box has 4, a box with keypoints 16$",
        ),
        ("0 .5 .5 .1 .1\n", "names: {a: b}", r"data\.yaml is no YOLO data file: names must be a list or numbers"),
        ("0 .5 .5 .1 .1\n", "names: " + "[" * 3000, r"data\.yaml is no YOLO data file: "),
    ],
)
def test_what_yolo_would_misread_is_refused(lines: str, data: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        list(open_dataset(yolo(tmp_path, lines, data)))


def bop_scene(folder: Path, *, boxes: bool = True, mask: tuple[int, int] = (12, 8), pose: str | None = None) -> Path:
    picture(folder / "rgb" / "000000.png")
    (folder / "scene_camera.json").write_text('{"0": {"cam_K": [9, 0, 6, 0, 9, 4, 0, 0, 1], "depth_scale": 1.0}}')
    rotation = '"cam_R_m2c": [1, 0, 0, 0, 1, 0, 0, 0, 1]'
    default = f'{{"obj_id": 2, {rotation}, "cam_t_m2c": [0, 0, 500]}}'
    (folder / "scene_gt.json").write_text(f'{{"0": [{default if pose is None else pose}]}}')
    if boxes:
        (folder / "scene_gt_info.json").write_text('{"0": [{"bbox_visib": [3, 2, 4, 5]}]}')
    (folder / "mask_visib").mkdir()
    pixels = np.zeros((mask[1], mask[0]), np.uint8)
    pixels[2:7, 3:7] = 255
    Image.fromarray(pixels).save(folder / "mask_visib" / "000000_000000.png")
    return folder


def test_bop_scenes_are_found_at_any_depth_and_boxes_come_from_masks(tmp_path: Path) -> None:
    bop_scene(tmp_path / "a" / "b" / "c" / "000001", boxes=False)
    dataset = open_dataset(tmp_path)
    [example] = dataset
    assert (dataset.kind, example.name) == ("bop", "a/b/c/000001/rgb/000000.png")
    assert [item.box for item in example.objects or ()] == [(3, 2, 4, 5)]


def test_hidden_bop_objects_are_left_out(tmp_path: Path) -> None:
    scene = bop_scene(tmp_path / "000001")
    (scene / "scene_gt_info.json").write_text('{"0": [{"bbox_visib": [-1, -1, -1, -1]}]}')
    assert open_dataset(tmp_path).example(0).objects == ()
    (scene / "scene_gt_info.json").unlink()
    Image.fromarray(np.zeros((8, 12), np.uint8)).save(scene / "mask_visib" / "000000_000000.png")
    assert open_dataset(tmp_path).example(0).objects == ()


def test_bop_poses_alone_are_no_objects(tmp_path: Path) -> None:
    scene = bop_scene(tmp_path / "000001", boxes=False)
    (scene / "mask_visib" / "000000_000000.png").unlink()
    assert open_dataset(tmp_path).example(0).objects is None


@pytest.mark.parametrize(
    ("pose", "message"),
    [
        ('{"cam_t_m2c": [0, 0, 1]}', r"scene_gt\.json: object 0 of image 0 has no obj_id$"),
        ("null", r"scene_gt\.json: object 0 of image 0 has no obj_id$"),
        ('{"obj_id": 2, "cam_R_m2c": [1], "cam_t_m2c": [0, 0, 1]}', r"object 0 of image 0 has no pose \(obj_id, cam_R"),
    ],
)
def test_damaged_bop_poses_are_named(pose: str, message: str, tmp_path: Path) -> None:
    bop_scene(tmp_path / "000001", pose=pose)
    with pytest.raises(InputError, match=message):
        list(open_dataset(tmp_path))


def test_bop_masks_of_another_size_are_refused(tmp_path: Path) -> None:
    bop_scene(tmp_path / "000001", mask=(24, 16))
    [item] = open_dataset(tmp_path).example(0).objects or ()
    assert item.mask is not None
    with pytest.raises(InputError, match=r"000000_000000\.png is 24 x 16 px; its image is 12 x 8 px$"):
        item.mask()


@pytest.mark.parametrize(
    ("row", "objects"),
    [
        ({"file_name": "1.png", "objects": None}, ()),
        ({"file_name": "1.png", "label": "cat", "objects": {"bbox": [[1, 2, 3, 4]], "categories": [0]}}, ("0",)),
        ({"file_name": "1.png", "label": "cat"}, None),
    ],
)
def test_rows_of_metadata(row: dict[str, object], objects: tuple[str, ...] | None, tmp_path: Path) -> None:
    picture(tmp_path / "1.png")
    (tmp_path / "metadata.jsonl").write_text(json.dumps(row))
    found = open_dataset(tmp_path).example(0).objects
    assert (None if found is None else tuple(item.class_name for item in found)) == objects


def test_a_table_of_metadata(tmp_path: Path) -> None:
    picture(tmp_path / "1.png")
    picture(tmp_path / "2.png")
    (tmp_path / "metadata.csv").write_text("\ufefffile_name,label\n1.png,cat\n2.png,dog\n", encoding="utf-8")
    assert [example.label for example in open_dataset(tmp_path)] == ["cat", "dog"]


META = "metadata.jsonl"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (META, b'{"file_name": "1.png", "label": "caf\xe9"}', r"metadata\.jsonl, line 1: byte 36 is not UTF-8"),
        (META, b'{"file_name": "1.png", "objects": [{"bbox": [1, 2, 3, 4]}]}', r"objects of 1\.png must be"),
        (META, b'{"file_name": "1.png", "objects": {"bbox": [[1]], "categories": [0]}}', r"4 finite numbers"),
        (META, b"[" * 5000, r"line 1: it must be a JSON object with a file_name: it is nested too deep$"),
        (META, b"[1]", r"line 1: it must be a JSON object with a file_name$"),
        ("coco.json", b"[" * 5000, r"coco\.json is not a JSON file: it is nested too deep$"),
        ("coco.json", b"[]", r"coco\.json is not a COCO file of instances: it holds a list$"),
        ("coco.json", b'{"images": [1]}', r"coco\.json is not a COCO file of instances: images, annotations and"),
    ],
)  # fmt: skip
def test_damaged_text_is_named_in_one_line(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    picture(tmp_path / "1.png")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        list(open_dataset(tmp_path))
    assert "\n" not in str(error.value)


def test_an_annotation_of_an_unknown_image_is_named(tmp_path: Path) -> None:
    folder = coco(tmp_path, (12, 8))
    text = (folder / "coco.json").read_text()
    (folder / "coco.json").write_text(text.replace('"image_id": 1', '"image_id": 99'))
    with pytest.raises(InputError, match=r"annotation 5 belongs to image 99, which `images` does not list$"):
        open_dataset(folder)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_byte_order_marks_are_read(encoding: str, tmp_path: Path) -> None:
    folder = coco(tmp_path, (12, 8))
    text = (folder / "coco.json").read_text()
    (folder / "coco.json").write_text(text, encoding=encoding)
    assert len(open_dataset(folder)) == 1


@pytest.mark.parametrize("suffix", [".PNG", ".jpeg", ".JPG"])
def test_kitti_images_of_any_ending(suffix: str, tmp_path: Path) -> None:
    picture(tmp_path / "image_2" / f"000000{suffix}")
    (tmp_path / "label_2").mkdir()
    (tmp_path / "label_2" / "000000.txt").write_bytes(b"\xef\xbb\xbfCar 0 0 0 1 2 5 6 1 1 1 0 0 9 0\n")
    [example] = open_dataset(tmp_path)
    assert [item.class_name for item in example.objects or ()] == ["Car"]


def test_linked_folders_are_followed_and_circles_end(tmp_path: Path) -> None:
    picture(tmp_path / "real" / "1.png")
    picture(tmp_path / "photos" / "a" / "2.png")
    picture(tmp_path / "photos" / "a" / "._2.png")
    (tmp_path / "photos" / "b").symlink_to("../real")
    (tmp_path / "photos" / "a" / "above").symlink_to("..")
    assert [example.name for example in open_dataset(tmp_path / "photos")] == ["a/2.png", "b/1.png"]
    assert ImageFolder("things", tmp_path / "photos").labels == ("a", "b")


def test_masks_beside_images_are_masks(tmp_path: Path) -> None:
    pixels = picture(tmp_path / "images" / "a.jpg")
    mask = np.zeros(pixels.shape[:2], np.uint8)
    mask[2:4] = 2
    mask[4] = 255
    (tmp_path / "masks").mkdir()
    Image.fromarray(mask).save(tmp_path / "masks" / "a.png")
    [binary] = open_dataset(tmp_path)
    assert binary.class_mask is not None
    np.testing.assert_array_equal(binary.class_mask(), mask > 0)
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    dataset = open_dataset(tmp_path)
    assert (dataset.kind, dataset.classes, len(dataset)) == ("masks", ("cat", "dog"), 1)
    _, [label] = fitted_labels(dataset, 12, 8, "segmentation", ["dog"])
    np.testing.assert_array_equal(label, mask == 2)
    (tmp_path / "masks" / "a.png").unlink()
    with pytest.raises(InputError, match=r"/masks has no mask of a\.jpg$"):
        open_dataset(tmp_path)
