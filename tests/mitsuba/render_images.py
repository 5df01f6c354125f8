"""Renders glowing meshes with Mitsuba 3; a program of its own, so that what Mitsuba does to a process ends with it.

    python render_images.py JOB.json IMAGES.npy

JOB: {"width", "height", "samples", "camera": {"fov", "y", "z", "roll"}, "scenes": [[{"mesh": PLY,
"radiance": [r, g, b], "x", "y", "z", "yaw", "scale"}, ...], ...]}.
IMAGES: float32 [scenes, height, width, 3], linear Rec. 709.
"""

import json
import math
import sys
from pathlib import Path

import mitsuba as mi
import numpy as np

mi.set_variant("scalar_rgb")


def shape(item: dict) -> dict:
    """p_world = (x, y, z) + Rz(yaw) scale p"""
    place = mi.ScalarTransform4f().translate([item["x"], item["y"], item["z"]])
    to_world = place.rotate([0, 0, 1], item["yaw"]).scale(item["scale"])
    return {
        "type": "ply",
        "filename": item["mesh"],
        "face_normals": True,
        "to_world": to_world,
        "bsdf": {"type": "diffuse", "reflectance": {"type": "rgb", "value": 0.0}},
        "emitter": {"type": "area", "radiance": {"type": "rgb", "value": item["radiance"]}},
    }


def sensor(job: dict) -> dict:
    """A camera that looks along its own -z, +y up, turned about x by `roll`."""
    camera, roll = job["camera"], math.radians(job["camera"]["roll"])
    origin = np.array((0.0, camera["y"], camera["z"]))
    ahead, up = np.array((0, math.sin(roll), -math.cos(roll))), np.array((0, math.cos(roll), math.sin(roll)))
    to_world = mi.ScalarTransform4f().look_at(origin.tolist(), (origin + ahead).tolist(), up.tolist())
    return {
        "type": "perspective",
        "fov": camera["fov"],
        "fov_axis": "y",
        "to_world": to_world,
        "film": {
            "type": "hdrfilm",
            "width": job["width"],
            "height": job["height"],
            "rfilter": {"type": "box"},
            "pixel_format": "rgb",
            "component_format": "float32",
        },
        "sampler": {"type": "multijitter", "sample_count": job["samples"]},
    }


def main(job_path: Path, images_path: Path) -> None:
    """Renders every scene of a job with the same seed."""
    job = json.loads(job_path.read_text())
    images = []
    for items in job["scenes"]:
        shapes = {f"shape{index}": shape(item) for index, item in enumerate(items)}
        integrator = {"type": "path", "max_depth": 1}
        scene = mi.load_dict({"type": "scene", "integrator": integrator, "sensor": sensor(job), **shapes})
        images.append(np.array(mi.render(scene, seed=0), dtype=np.float32))
    np.save(images_path, np.stack(images))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
