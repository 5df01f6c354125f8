"""The grammar language as pydantic models. `grammars/README.md` is its reference.

`grammars/schema.json` is its JSON Schema, for editors. These models check keys, types and single values.
What needs the whole file is checked where the grammar is built.
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AllowInfNan,
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    Strict,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

Number = Annotated[float, Strict(), AllowInfNan(False)]
Positive = Annotated[Number, Field(gt=0)]
NotNegative = Annotated[Number, Field(ge=0)]
Probability = Annotated[Number, Field(ge=0, le=1)]
Whole = Annotated[int, Strict(), Field(ge=0)]
Count = Annotated[int, Strict(), Field(ge=1)]
Flag = Annotated[bool, Strict()]
Text = Annotated[str, Strict(), Field(min_length=1)]
Color = tuple[NotNegative, NotNegative, NotNegative]
Range = tuple[Number, Number]
#: Numbers and names are keys alike: labels of digits are numbers, those of folders are names.
Weights = dict[str | int | float, Probability]

#: The keys that hold a distribution.
DISTRIBUTIONS = (
    "constant",
    "uniform",
    "normal",
    "truncated_normal",
    "wrapped_normal",
    "von_mises",
    "categorical",
    "integers",
    "poisson",
    "mixture",
)

#: The keys of an asset set that say where its items come from.
ASSET_SOURCES = ("mnist", "idx", "images", "meshes", "bop", "procedural", "hdris", "materials")


class Section(BaseModel):
    """A mapping in the file. Unknown keys are errors that carry the known ones."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    #: The key that a value is a shorthand for if it is not a mapping.
    shorthand: ClassVar[str | None] = None

    @model_validator(mode="before")
    @classmethod
    def _expand(cls, data: Any) -> Any:
        if cls.shorthand is not None and not isinstance(data, dict | Section):
            data = {cls.shorthand: data}
        if isinstance(data, dict):
            known = {field.alias or name for name, field in cls.model_fields.items()}
            for key in data:
                if key not in known:
                    raise PydanticCustomError("unknown_key", "unknown key", {"key": key, "known": cls.known_keys()})
                if data[key] is None:  # An empty value would else count as a key left out.
                    raise PydanticCustomError("empty", "empty", {"key": key})
        return data

    @classmethod
    def known_keys(cls) -> list[str]:
        """The keys that the section knows, in the order of the documentation."""
        return [field.alias or name for name, field in cls.model_fields.items()]

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        whole = handler(schema)
        if cls.shorthand is None:
            return whole
        resolved = handler.resolve_ref_schema(whole)
        short = dict(resolved["properties"][cls.shorthand])
        for key in ("default", "description", "title"):
            short.pop(key, None)
        resolved_copy = dict(resolved)
        resolved.clear()
        resolved.update({"description": resolved_copy.pop("description", ""), "anyOf": [short, resolved_copy]})
        return whole


class DistributionSection(Section):
    """Exactly one of these keys."""

    constant: Number | None = Field(None, description="always this value; a bare number is short for it")
    uniform: Range | None = Field(None, description="[low, high]")
    normal: tuple[Number, Positive] | None = Field(
        None, description="[mean, sigma]; wrapped on the circle, cut off at the ends of a range"
    )
    truncated_normal: tuple[Number, Positive, Number, Number] | None = Field(
        None, description="[mean, sigma, low, high]: a normal on the condition that it lies between low and high"
    )
    wrapped_normal: tuple[Number, Positive] | None = Field(
        None, description="[mean, sigma] in degrees; for angles whose range is the whole circle"
    )
    von_mises: tuple[Number, Positive] | None = Field(
        None, description="[mean in degrees, kappa]; for angles whose range is the whole circle"
    )
    categorical: list[Number] | dict[Number, Probability] | None = Field(
        None, description="a list of equally likely numbers, or {number: probability}"
    )
    integers: tuple[Annotated[int, Strict()], Annotated[int, Strict()]] | None = Field(
        None, description="[low, high]: whole numbers, both ends included, equally likely"
    )
    poisson: tuple[Positive, Count] | None = Field(
        None, description="[rate, most]: Poisson on the condition that it is at most `most`"
    )
    mixture: list["Component"] | None = Field(None, description="a list of distributions, each with a `weight`")

    @model_validator(mode="after")
    def _one_distribution(self) -> "DistributionSection":
        given = [name for name in DISTRIBUTIONS if getattr(self, name) is not None]
        if len(given) != 1:
            found = f"{len(given)} distributions ({', '.join(given)}) are" if given else "no distribution is"
            raise PydanticCustomError(
                "distribution", f"{found} given; exactly one is needed of: {', '.join(DISTRIBUTIONS)}", {"bare": True}
            )
        return self


class Component(DistributionSection):
    """A part of a mixture."""

    weight: Probability = Field(description="probability of this part; all of them sum to 1")


class AttributeSection(DistributionSection):
    """A number of a node, drawn for each node."""

    shorthand = "constant"

    mutable: Flag = Field(False, description="whether training may change it")
    range: Range | None = Field(None, description="[low, high], inclusive; default: see the table of attributes")
    step: Positive | None = Field(None, description="step of the probe to each side; default: about half a pixel")


class CountSection(DistributionSection):
    """A number of nodes; a number is short for a constant."""

    shorthand = "constant"

    mutable: Flag = Field(False, description="whether training may change the probabilities of the numbers")


class AssetSection(Section):
    """An item of an asset set, drawn for each node; a name is short for `set`."""

    shorthand = "set"

    set: Text = Field(description="name of the set, one of `assets`")
    weights: Weights | None = Field(
        None, description="{label or item name: probability}; default: every item of the set is equally likely"
    )
    mutable: Flag = Field(False, description="whether training may change the probabilities")


class MeshSection(AssetSection):
    """A primitive (cube, plane, sphere), a card, or an item of a set of meshes."""

    set: Text = Field(description="cube, plane, sphere, card, or the name of a set of meshes")


class NumberSection(DistributionSection):
    """A number that shapes the scene; a number is short for a constant."""

    shorthand = "constant"


class MaterialSection(Section):
    """The surface of a mesh. Its colour and emission are the attributes red, green, blue and intensity."""

    set: AssetSection | None = Field(None, description="set of materials, one of which each node draws")
    texture: AssetSection | None = Field(None, description="set of images, mapped by the mesh's UV coordinates")
    roughness: NumberSection | None = Field(None, description="0 (mirror) to 1 (matte); default: 0.5")
    metallic: NumberSection | None = Field(None, description="0 (dielectric) to 1 (metal); default: 0")
    specular: NumberSection | None = Field(None, description="reflection of a dielectric, 0 to 1; default: 0.5")
    opacity: NumberSection | None = Field(None, description="0 (invisible) to 1; default: 1")
    uv_scale: NumberSection | None = Field(None, description="repeats of the textures along u and v; default: 1")


class ColorSection(Section):
    """One of several colours, drawn for each node; sets red, green and blue together."""

    choices: dict[Text, Color] = Field(min_length=1, description="{name: [red, green, blue]}")
    weights: Weights | None = Field(None, description="{name: probability}; default: all are equally likely")
    mutable: Flag = Field(False, description="whether training may change the probabilities")


class CalibrationSection(Section):
    """Intrinsics as OpenCV's calibration gives them, instead of `fov` and the lens's attributes."""

    width: Count = Field(description="of the images that were calibrated, px; rendered images may be smaller")
    height: Count = Field(description="of these images, px")
    fx: Positive = Field(description="focal length along x, px")
    fy: Positive | None = Field(None, description="focal length along y, px; default: fx")
    cx: Number | None = Field(None, description="principal point from the left pixel's centre, px; default: the middle")
    cy: Number | None = Field(None, description="principal point from the top pixel's centre, px; default: the middle")
    distortion: Annotated[list[Number], Field(min_length=4, max_length=5)] | None = Field(
        None, description="[k1, k2, p1, p2] or [k1, k2, p1, p2, k3]; default: none"
    )


class CameraSection(Section):
    """The camera. Its field of view is the attribute fov."""

    shorthand = "projection"

    projection: Literal["orthographic", "perspective"] = Field(
        description="fov is a height in units (orthographic) or an angle in degrees (perspective)"
    )
    near: Positive | None = Field(None, description="nearest distance seen; default: 0.1")
    far: Positive | None = Field(None, description="farthest distance seen; default: 1000")
    calibration: CalibrationSection | None = Field(
        None, description="perspective: focal length, principal point and distortion in pixels, instead of fov"
    )


class LightSection(Section):
    """A light. It shines along its node's -z, or surrounds the scene; its strength is the attribute intensity."""

    shorthand = "kind"

    kind: Literal["sun", "point", "area", "environment", "sky"] = Field(description="which kind of light")
    map: AssetSection | None = Field(None, description="of an environment: a set of environment maps, hdris")
    size: NotNegative | None = Field(
        None, description="sun: apparent diameter in degrees (0.5); point: radius (0.1); area: edge of the square (1)"
    )


class RowSection(NumberSection):
    """A number of a row."""

    mutable: Flag = Field(False, description="whether training may change its distribution, as a histogram")
    range: Range | None = Field(
        None, description="[low, high] of the histogram; default: 0 to 1 of `keep`, the distribution's own of `spacing`"
    )


class AlongSection(Section):
    """Places in a row along the node's line, each a frame of its own: x along the line, y to its left."""

    start: NumberSection | None = Field(None, description="position of the first place along the line; default: 0")
    end: Number = Field(description="largest position along the line")
    spacing: RowSection = Field(description="distance to the next place, drawn for each place")
    keep: RowSection | None = Field(
        None, description="probability that a place is taken, drawn once for the row; default: 1"
    )
    y: Number = Field(0.0, description="offset of the places to the left of the line")
    z: Number = Field(0.0, description="offset above the line")
    yaw: Number = Field(0.0, description="angle relative to the line, in degrees")


class ApartSection(Section):
    """A distance that siblings keep, by their footprints; a number is short for `distance`."""

    shorthand = "distance"

    distance: NotNegative = Field(description="least distance between footprints, seen from above")
    tries: Count = Field(1000, description="places that are drawn for a node before it counts as one without a place")
    otherwise: Literal["error", "fewer"] = Field(
        "error", description="what follows if a node finds no place: an error, or a scene with fewer nodes"
    )


class ChildSection(Section):
    """An entry of `scene` or `children`; a name is short for `kind`."""

    shorthand = "kind"

    kind: Text | Weights = Field(description="a kind of node, or {kind: probability}, drawn for each node")
    mutable: Flag = Field(False, description="whether training may change the probabilities of `kind`")
    count: CountSection | None = Field(None, description="number of nodes, constant or random; default: 1")
    along: AlongSection | None = Field(None, description="in a row along the node's line, instead of a count")
    apart: ApartSection | None = Field(None, description="distance to siblings with this key; default: none is kept")
    on: Literal["surface"] | None = Field(None, description="surface: the nodes stand on what is below them")
    settle: Flag = Field(False, description="whether the nodes fall as rigid bodies before the scene is rendered")


class NodeSection(Section):
    """A kind of node: at most one content (sprite, mesh, camera, light), and its attributes."""

    class_: Text | None = Field(
        None, alias="class", description="semantic class; `{label}` in it stands for the asset's label; default: none"
    )
    sprite: AssetSection | None = Field(None, description="an image on a rectangle; needs width and height")
    mesh: MeshSection | None = Field(None, description="a primitive, a card, or an item of a set of meshes")
    front: AssetSection | None = Field(None, description="of a card: an image of a set; its labels are the card's")
    back: AssetSection | None = Field(None, description="of a card: an image of a set; default: white")
    material: MaterialSection | None = Field(None, description="the surface of a mesh; default: the mesh's own")
    color: ColorSection | None = Field(None, description="one of several colours, instead of red, green and blue")
    camera: CameraSection | None = Field(None, description="orthographic or perspective; needs fov")
    light: LightSection | None = Field(None, description="sun, point or area; needs intensity")
    x: AttributeSection | None = Field(None, description="position in the parent's frame")
    y: AttributeSection | None = Field(None, description="position in the parent's frame")
    z: AttributeSection | None = Field(None, description="position in the parent's frame; up in root nodes")
    yaw: AttributeSection | None = Field(None, description="turn about z, counter-clockwise")
    pitch: AttributeSection | None = Field(None, description="turn about y")
    roll: AttributeSection | None = Field(None, description="turn about x; applied first, then pitch, then yaw")
    scale: AttributeSection | None = Field(None, description="uniform; children inherit it")
    width: AttributeSection | None = Field(None, description="of a sprite or, as a factor, of a mesh along its x")
    height: AttributeSection | None = Field(None, description="of a sprite or, as a factor, of a mesh along its z")
    depth: AttributeSection | None = Field(None, description="factor of a mesh along its y")
    red: AttributeSection | None = Field(None, description="colour of a sprite's tint, a mesh's surface or a light")
    green: AttributeSection | None = Field(None, description="as red")
    blue: AttributeSection | None = Field(None, description="as red")
    intensity: AttributeSection | None = Field(None, description="of a light, or light that a mesh emits")
    fov: AttributeSection | None = Field(None, description="camera: vertical angle (perspective) or height seen")
    exposure: AttributeSection | None = Field(None, description="camera: stops; each doubles the light")
    temperature: AttributeSection | None = Field(None, description="camera: colour temperature of the light in kelvin")
    tint: AttributeSection | None = Field(None, description="camera: green (negative) to magenta (positive)")
    contrast: AttributeSection | None = Field(None, description="camera: exponent of the response curve; 1: straight")
    saturation: AttributeSection | None = Field(None, description="camera: factor of the distance from grey")
    vignetting: AttributeSection | None = Field(None, description="camera: light lost in the corners, 0 to 1")
    blur: AttributeSection | None = Field(None, description="camera: standard deviation of a Gaussian blur in pixels")
    shot_noise: AttributeSection | None = Field(None, description="camera: noise at full scale, by the square root")
    read_noise: AttributeSection | None = Field(None, description="camera: noise of every value, of full scale")
    jpeg_quality: AttributeSection | None = Field(None, description="camera: 1 to 100; 0: no compression")
    elevation: AttributeSection | None = Field(None, description="sky: height of the sun above the horizon")
    turbidity: AttributeSection | None = Field(None, description="sky: 2 (very clear) to 10 (thick haze)")
    center_x: AttributeSection | None = Field(None, description="camera: principal point, of the width from the left")
    center_y: AttributeSection | None = Field(None, description="camera: principal point, of the height from the top")
    aspect: AttributeSection | None = Field(None, description="camera: focal length along x over that along y")
    k1: AttributeSection | None = Field(None, description="camera: radial distortion, as OpenCV has it")
    k2: AttributeSection | None = Field(None, description="camera: radial distortion")
    p1: AttributeSection | None = Field(None, description="camera: tangential distortion")
    p2: AttributeSection | None = Field(None, description="camera: tangential distortion")
    k3: AttributeSection | None = Field(None, description="camera: radial distortion")
    mutable: Flag = Field(True, description="false: no attribute of this kind is mutable, whatever it says itself")
    children: list[ChildSection] = Field([], description="nodes that stand in this node's frame")
    curvature: NumberSection | None = Field(
        None, description="of the line along the node's x that children stand along; default: 0, straight"
    )


class AssetSetSection(Section):
    """Named assets: exactly one of the sources. Paths are relative to the file."""

    mnist: Literal["train", "test"] | None = Field(None, description="MNIST's training or test part")
    idx: Text | None = Field(None, description="idx file of images, plain or gzipped; grey becomes opacity")
    labels: Text | None = Field(None, description="idx file of labels, beside `idx`")
    images: Text | None = Field(None, description="folder of PNG images; sub-folders, if any, are the labels")
    meshes: Text | None = Field(
        None, description="folder of PLY, OBJ, GLB or .blend files; sub-folders, if any, are the labels"
    )
    scale: Positive | None = Field(None, description="with `meshes`: metres to a unit of the models; default: 1")
    forward: Literal["x", "-x", "y", "-y"] | None = Field(
        None, description="with `meshes`: where the models' front points, z being up; it is turned to x; default: x"
    )
    up: Literal["y", "z"] | None = Field(
        None, description="with `meshes`: the axis that points upwards in OBJ files; default: z"
    )
    bop: Text | None = Field(None, description="folder of BOP models: PLY files in millimetres with models_info.json")
    standing: Flag = Field(False, description="with `bop`: models stand on their origin, the middle of their base")
    procedural: Text | None = Field(None, description="name of a family of images or meshes that the project makes")
    hdris: Text | None = Field(None, description="folder of environment maps, OpenEXR or Radiance HDR")
    materials: Text | None = Field(
        None,
        description="folder of textures, NAME_color with NAME_normal, NAME_roughness, NAME_metallic",
    )
    max_size: Count | None = Field(
        None,
        description="with `images` or `materials`: largest width and height in pixels; larger ones are scaled down",
    )
    fold: tuple[Whole, Count] | None = Field(
        None, description="[i, n]: only the items i, i + n, i + 2n ...; splits a set into n disjoint parts"
    )
    licence: Text | None = Field(None, description="of the items, or where they come from; for cards of datasets")

    @model_validator(mode="after")
    def _one_source(self) -> "AssetSetSection":
        given = [name for name in ASSET_SOURCES if getattr(self, name) is not None]
        if len(given) != 1:
            found = f"{' and '.join(given)} are" if given else "no source is"
            raise PydanticCustomError(
                "source", f"{found} given; exactly one is needed of: {', '.join(ASSET_SOURCES)}", {"bare": True}
            )
        if self.labels is not None and self.idx is None:
            raise PydanticCustomError(
                "source", "labels are given without idx; they belong to an idx file", {"bare": True}
            )
        for key in ("scale", "forward", "up"):
            if getattr(self, key) is not None and self.meshes is None:
                raise PydanticCustomError("source", f"{key} belongs to a folder of meshes", {"bare": True})
        if self.max_size is not None and self.images is None and self.materials is None:
            raise PydanticCustomError("source", "max_size belongs to a folder of images or materials", {"bare": True})
        if self.standing and self.bop is None:
            raise PydanticCustomError("source", "standing belongs to a folder of BOP models, bop", {"bare": True})
        return self


class RenderSection(Section):
    """How scenes are rendered."""

    width: Count = Field(description="pixels")
    height: Count = Field(description="pixels")
    samples: Count = Field(16, description="per pixel")
    filter_width: Annotated[NotNegative, Field(le=4)] = Field(
        1.0, description="width of the box filter in pixels; 0: every sample at the pixel's centre, exact for sprites"
    )
    view_transform: Literal["standard", "raw"] = Field(
        "standard", description="standard: light is linear and shown as sRGB; raw: sprites as they are"
    )
    max_bounces: Whole = Field(0, description="bounces of light between surfaces")


class TargetSection(Section):
    """A synthetic target, the grammar with some of its distributions replaced; or real images."""

    images: Text | None = Field(
        None, description="folder of real images, or a dataset of one of the layouts, instead of a synthetic target"
    )
    layout: Literal["images", "coco", "kitti", "yolo", "voc", "bop", "masks", "idx", "webdataset", "parquet"] | None = (
        Field(None, description="with `images`: how the dataset is laid out; default: what its files say")
    )
    fit: Literal["crop", "pad", "resize"] = Field(
        "crop", description="with `images`: how images of another shape come to the size of `render`"
    )
    classes: dict[Text, Text] = Field(
        {}, description="with `images`: {class of the dataset: class of the grammar}; others are matched by name"
    )
    count: Count = Field(2000, description="scenes in the target set, or images that are taken at most")
    overrides: dict[Text, Any] = Field({}, description="{`kind.attribute` or any path of the file: what stands there}")
    evaluation: dict[Text, Any] = Field(
        {}, description="further overrides for the scenes that evaluation tests on, such as other digits"
    )

    @model_validator(mode="after")
    def _one_sort(self) -> "TargetSection":
        given = [name for name in ("overrides", "evaluation") if getattr(self, name)]
        if self.images is not None and given:
            raise PydanticCustomError(
                "source", f"{given[0]} belongs to a synthetic target, and images are given; keep one", {"bare": True}
            )
        if self.images is None:
            stated = [name for name in ("layout", "fit", "classes") if name in self.model_fields_set]
            if stated:
                raise PydanticCustomError(
                    "source", f"{stated[0]} is given without images, which it is of", {"bare": True}
                )
        return self


class WorldFile(Section):
    """A grammar or an experiment file."""

    grammar: Text | None = Field(
        None, description="name or path of the grammar that an experiment takes its world from, instead of its own"
    )
    overrides: dict[Text, Any] = Field({}, description="with `grammar`: what is replaced in it")
    unit: Text = Field("m", description="name of the unit of length in messages: m, px ...")
    background: Color = Field((0.0, 0.0, 0.0), description="[red, green, blue] of empty pixels")
    max_nodes: Count = Field(1000, description="sampling a scene with more nodes than this is an error")
    render: RenderSection | None = Field(None, description="how scenes are rendered")
    assets: dict[Text, AssetSetSection] = Field({}, description="{name: set}")
    nodes: dict[Text, NodeSection] = Field({}, description="{name: kind of node}")
    scene: list[ChildSection] = Field([], description="the root nodes; exactly one camera must come of them")
    target: TargetSection | None = Field(None, description="the images to match")
    engine: Literal["blender", "raster"] = Field("blender", description="render engine of an experiment")
    task: Literal[
        "classification", "multilabel", "counting", "segmentation", "detection", "detection-mask-rcnn", "pose"
    ] = Field("classification", description="the task network that scores the data")
    task_settings: dict[Text, Any] = Field({}, description="settings of the task network, such as {trunk: natural}")
    training: dict[Text, Any] = Field({}, description="settings of the trainer")


DistributionSection.model_rebuild()
Component.model_rebuild()
