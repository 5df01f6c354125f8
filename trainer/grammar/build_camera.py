"""Calibrated cameras: OpenCV's intrinsics as attributes of a camera."""

import math

from trainer.grammar.document import Document, KeyPath
from trainer.grammar.node_schema import CalibrationSection, NodeSection
from trainer.grammar.schema import WorldFile
from trainer.grammar.schema_sections import AttributeSection

#: Relative difference between the shapes of calibrated and rendered images that counts as rounding.
_SHAPE = 0.02
_DISTORTION = ("k1", "k2", "p1", "p2", "k3")


def calibrated(
    section: NodeSection, calibration: CalibrationSection, world: WorldFile, document: Document, keys: KeyPath
) -> NodeSection:
    """Return the section of a camera with its calibration as constants.

    Images may be rendered at another size than they were calibrated at: then they are scaled.

    Raises:
        GrammarError: the camera is orthographic, images have another shape, or an attribute is stated twice.
    """
    at = (*keys, "camera", "calibration")
    if section.camera is None or section.camera.projection != "perspective" or world.render is None:
        raise document.error(at, "a calibration belongs to a perspective camera", show_value=False)
    width, height = calibration.width, calibration.height
    across, down = world.render.width / width, world.render.height / height
    if abs(across / down - 1) > _SHAPE:
        raise document.error(
            at,
            f"it is of images of {width} x {height} px, and {world.render.width} x {world.render.height} px, which are "
            "rendered, have another shape; scale render",
            show_value=False,
        )
    fx, fy = calibration.fx, calibration.fx if calibration.fy is None else calibration.fy
    cx = (width - 1) / 2 if calibration.cx is None else calibration.cx
    cy = (height - 1) / 2 if calibration.cy is None else calibration.cy
    # OpenCV counts from the centre of the first pixel, scene.proto from its corner.
    values = {
        "fov": math.degrees(2 * math.atan(height / 2 / fy)),
        "center_x": (cx + 0.5) / width,
        "center_y": (cy + 0.5) / height,
        "aspect": fx * across / (fy * down),
        **dict(zip(_DISTORTION, calibration.distortion or (), strict=False)),
    }
    for name in ("fov", "center_x", "center_y", "aspect", *_DISTORTION):
        if getattr(section, name) is not None:
            raise document.error(
                (*keys, name), "the calibration states it already; leave one of the two out", show_value=False
            )
    neutral = {"center_x": 0.5, "center_y": 0.5, "aspect": 1.0, **dict.fromkeys(_DISTORTION, 0.0)}
    stated = {name: value for name, value in values.items() if value != neutral.get(name)}
    return section.model_copy(
        update={name: AttributeSection.model_validate({"constant": value}) for name, value in stated.items()}
    )
