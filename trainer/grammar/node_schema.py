"""The sections of a kind of node: its content, its attributes and its children."""

from typing import Annotated, Literal

from pydantic import Field

from trainer.grammar.schema_sections import (
    AttributeSection,
    Color,
    Count,
    CountSection,
    Flag,
    NotNegative,
    Number,
    NumberSection,
    Positive,
    Range,
    Section,
    Text,
    Weights,
)


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
