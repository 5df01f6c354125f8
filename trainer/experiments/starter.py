"""A starter grammar: a commented world of one's own assets, sized for one's own photographs."""

import io
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from metasim.still_glb import still_glb
from metasim.v1 import scene_pb2 as pb
from PIL import Image

from trainer.assets.asset_sets import AssetSet
from trainer.assets.folder_set import ImageFolder, MeshFolder
from trainer.datasets.fitting import chosen
from trainer.datasets.readers import ImageDataset
from trainer.errors import InputError

#: Longest side of the frames, in pixels, and how many photographs and assets are looked at.
LONGEST_PX, LOOKED_AT = 240, 16
_TYPES = {pb.MESH_FORMAT_PLY: "ply", pb.MESH_FORMAT_OBJ: "obj", pb.MESH_FORMAT_GLB: "glb"}

_HEAD = """\
# yaml-language-server: $schema={schema}
# A starter world, made by `metasim init`. Each `normal`, `uniform` and `integers` is a guess: replace it by what you
# know of your images; wide is better than wrong. Learning may change what is `mutable`, within its `range`.
#   metasim grammar check {name}.yaml                   what is wrong, in one line
#   metasim grammar sample {name}.yaml                  scenes of this world{beside}
#   metasim train {name}.yaml                           learn from the photographs
# The language is described in grammars/README.md.
"""

_SPRITES = """\
unit: px # 1 is a pixel; x to the right, y up, (0, 0) is the image's middle
engine: raster # the fastest for worlds of pictures
render: {{width: {width}, height: {height}, samples: 4, view_transform: raw}}
background: [{red}, {green}, {blue}] # the photographs' mean colour, red, green, blue from 0 to 1

assets:
  things: {{images: {assets}}} # PNG files, transparent where the thing is not; sub-folders are their labels

nodes:
  camera: # looks straight down
    camera: orthographic
    fov: {{normal: [{height}, {fov_spread}], mutable: true, range: [{fov_low}, {fov_high}]}} # px from bottom to top
    z: 10
    exposure: {{normal: [0, 0.4], mutable: true, range: [-1.5, 1.5]}} # each stop doubles the light
    temperature: {{normal: [6500, 1000], mutable: true, range: [3000, 12000]}} # lower is more orange
    blur: {{uniform: [0, 0.8]}}
    shot_noise: {{uniform: [0, 0.03]}}
    jpeg_quality: {{uniform: [60, 95]}}
  thing:
    class: {class_name} # in boxes and masks
    sprite: {{set: things{weights}}}
    width: {thing_width}
    height: {thing_height}
    scale: {{normal: [1, 0.2], mutable: true, range: [0.4, 2.5]}}
    x: {{uniform: [{left}, {right}], mutable: true, range: [{left}, {right}]}}
    y: {{uniform: [{bottom}, {top}], mutable: true, range: [{bottom}, {top}]}}
    yaw: {{uniform: [-180, 180]}} # add `mutable: true` to learn which way they lie
    z: {{uniform: [0, 1]}} # which one lies on top

scene: [camera, {{kind: thing, count: {{integers: [1, 5]}}}}] # how many there are in an image
"""

_MESHES = """\
render: {{width: {width}, height: {height}, samples: 16, max_bounces: 1}}
background: [{red}, {green}, {blue}] # light of the surroundings: the photographs' mean colour, linear

assets:
  things: {source} # sub-folders are labels
# The median model is {size} large, and the world is built around that: z is up.

nodes:
  arm: # carries the camera around the middle of the ground
    roll: {{normal: [50, 8], mutable: true, range: [5, 85]}} # 0 looks straight down, 90 is level
    children: [camera]
  camera:
    camera: {{projection: perspective, near: {near}, far: {far}}}
    fov: {{normal: [40, 4], mutable: true, range: [25, 60]}} # degrees from bottom to top
    z: {{normal: [{away}, {away_spread}], mutable: true, range: [{away_low}, {away_high}]}} # distance from the middle
    exposure: {{normal: [0, 0.4], mutable: true, range: [-1.5, 1.5]}} # each stop doubles the light
    temperature: {{normal: [6500, 1000], mutable: true, range: [3000, 12000]}} # lower is more orange
    blur: {{uniform: [0, 0.8]}}
    shot_noise: {{uniform: [0, 0.03]}}
    jpeg_quality: {{uniform: [60, 95]}}
  sun:
    light: {{kind: sun, size: 3}}
    intensity: {{uniform: [1.5, 4], mutable: true, range: [0, 8]}}
    roll: {{uniform: [20, 60]}} # degrees from the zenith
    yaw: {{uniform: [-180, 180]}}
  ground:
    {{mesh: plane, width: {ground}, depth: {ground}, red: 0.35, green: 0.35, blue: 0.35, material: {{roughness: 0.9}}}}
  thing:
    class: {class_name} # in boxes and masks
    mesh: {{set: things{weights}}}
    x: {{normal: [0, {spread}], mutable: true, range: [-{reach}, {reach}]}}
    y: {{normal: [0, {spread}], mutable: true, range: [-{reach}, {reach}]}}
    yaw: {{uniform: [-180, 180]}} # add `mutable: true` to learn which way they stand

scene: [arm, sun, ground, {{kind: thing, count: {{integers: [1, 3]}}}}] # how many there are in an image
"""

_TAIL = """
task: detection # what the data is for; docs/tasks.md lists the others
{target}"""


@dataclass(frozen=True)
class Look:
    """What a starter grammar takes from photographs: the frame's size and the mean display colour [3]."""

    width_px: int = LONGEST_PX
    height_px: int = LONGEST_PX * 3 // 4
    colour: tuple[float, float, float] = (0.5, 0.5, 0.5)

    @classmethod
    def of(cls, photographs: ImageDataset) -> "Look":
        """Return the look of some photographs: their median shape, and their mean colour."""
        images = [photographs.example(index).image for index in chosen(len(photographs), LOOKED_AT)]
        ratio = float(np.median([image.shape[1] / image.shape[0] for image in images]))
        longest = min(LONGEST_PX, max(max(image.shape[:2]) for image in images))
        width, height = (longest, longest / ratio) if ratio >= 1 else (longest * ratio, longest)
        red, green, blue = np.mean([image.reshape(-1, 3).mean(0) for image in images], 0) / 255
        return cls(max(16, round(width)), max(16, round(height)), (float(red), float(green), float(blue)))


def starter_text(path: Path, look: Look, assets: Path | None, photographs: Path | None, schema: str) -> str:
    """Return the text of a starter grammar.

    Args:
        path: of the file that it is for; other paths are relative to its folder.
        assets: a folder of PNG images or of meshes; None: a procedural set of household things.
        photographs: the target; None: the text says how to name it.
        schema: address of the language's JSON schema.

    Raises:
        InputError: the assets are neither, both, or damaged.
    """
    beside = f"\n#   metasim grammar sample {path.stem}.yaml --target DIR     and photographs beside them" * (
        not photographs
    )
    target = (
        f"target: {{images: {_relative(photographs, path)}}}\n"
        if photographs
        else "# target: {images: photos} # a folder of photographs, or a dataset; see docs/datasets.md\n"
    )
    head = _HEAD.format(name=path.stem, schema=schema, beside=beside)
    body = _sprites(path, look, assets) if assets is not None and _has_images(assets) else _meshes(path, look, assets)
    return f"{head}{body}{_TAIL.format(target=target)}"


def _has_images(assets: Path) -> bool:
    if not assets.is_dir():
        raise InputError(f"{assets}: there is no such folder")
    found = []
    for opened in (ImageFolder, MeshFolder):
        try:
            opened("things", assets)
        except InputError:
            continue
        found.append(opened)
    if not found:
        raise InputError(f"{assets} holds neither PNG images nor meshes (.glb, .obj, .ply, .blend)")
    # Textures of meshes are PNG files as well.
    return found == [ImageFolder]


def _sprites(path: Path, look: Look, assets: Path) -> str:
    pictures = ImageFolder("things", assets)
    sizes = []
    for index in chosen(len(pictures), LOOKED_AT):
        with Image.open(io.BytesIO(pictures.data(index))) as image:
            sizes.append(image.size)
    ratio = float(np.median([width / height for width, height in sizes]))
    side = 0.2 * min(look.width_px, look.height_px)
    width, height = side * min(1, ratio), side * min(1, 1 / ratio)
    red, green, blue = (f"{value:.2f}" for value in look.colour)
    return _SPRITES.format(
        width=look.width_px, height=look.height_px, red=red, green=green, blue=blue,
        assets=_relative(assets, path), **_labels(pictures),
        fov_spread=_short(0.1 * look.height_px), fov_low=_short(0.6 * look.height_px),
        fov_high=_short(1.6 * look.height_px),
        thing_width=_short(width), thing_height=_short(height),
        left=-(look.width_px // 2), right=look.width_px // 2, bottom=-(look.height_px // 2), top=look.height_px // 2,
    )  # fmt: skip


def _meshes(path: Path, look: Look, assets: Path | None) -> str:
    if assets is None:
        size, source, labels = 0.2, "{procedural: household}", {"class_name": '"{label}"', "weights": ""}
    else:
        models = MeshFolder("things", assets)
        size = float(np.median([_longest(models, index) for index in chosen(len(models), LOOKED_AT)]))
        source, labels = f"{{meshes: {_relative(assets, path)}}}", _labels(models)
    red, green, blue = (f"{value**2.2:.2f}" for value in look.colour)
    return _MESHES.format(
        width=look.width_px, height=look.height_px, red=red, green=green, blue=blue,
        source=source, **labels, size=_short(size),
        near=_short(0.1 * size), far=_short(200 * size), ground=_short(40 * size),
        away=_short(6 * size), away_spread=_short(0.8 * size), away_low=_short(3 * size), away_high=_short(12 * size),
        spread=_short(size), reach=_short(3 * size),
    )  # fmt: skip


def _labels(assets: AssetSet) -> dict[str, str]:
    """Return the class of the things, and the probabilities of their labels where there are several."""
    labels = assets.labels
    if not labels:
        return {"class_name": "thing", "weights": ""}
    weights = ", ".join(f'"{label}": {1 / len(labels):.4f}' for label in labels[:-1])
    last = 1 - sum(round(1 / len(labels), 4) for _ in labels[:-1])
    if len(labels) == 1:
        return {"class_name": '"{label}"', "weights": ""}
    return {
        "class_name": '"{label}"',
        "weights": f', weights: {{{weights}, "{labels[-1]}": {last:.4f}}}, mutable: true',
    }


def _longest(models: MeshFolder, index: int) -> float:
    """Return the longest side of a model, in metres."""
    import trimesh  # Takes a third of a second, and few commands need it.

    data, kind = models.data(index), models.mesh_format(index)
    try:
        content = still_glb(data) if kind == pb.MESH_FORMAT_GLB else data
        whole = trimesh.load(io.BytesIO(content), file_type=_TYPES[kind], force="mesh", process=False)
        return float(np.ptp(whole.bounds, axis=0).max())
    except Exception as error:  # The reader has errors of many kinds for damaged files.
        raise InputError(f"{models.source(index)} cannot be read: {' '.join(str(error).split())}") from error


def _relative(folder: Path, path: Path) -> str:
    """Return a folder as the grammar names it: from the grammar's folder, in quotes."""
    text = Path(os.path.relpath(folder.resolve(), path.parent.resolve())).as_posix()
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _short(value: float) -> str:
    """Return a number with three digits."""
    return f"{float(f'{value:.3g}'):g}"
