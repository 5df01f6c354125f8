"""The grammar language as pydantic models. `grammars/README.md` is its reference.

`grammars/schema.json` is its JSON Schema, for editors. These models check keys, types and single values.
What needs the whole file is checked where the grammar is built.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from trainer.grammar.node_schema import ChildSection, NodeSection
from trainer.grammar.schema_sections import Color, Count, Flag, NotNegative, Positive, Section, Text, Whole

#: The keys of an asset set that say where its items come from.
ASSET_SOURCES = ("mnist", "idx", "images", "meshes", "bop", "procedural", "hdris", "materials")


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
