# mypy: disable-error-code="attr-defined, return-value, union-attr"
"""Cycles' devices: `python -m ... KIND` prints the device of that kind, or the best one, that passes a test render."""

import json
import re
import sys

import bpy
import numpy as np

from render_server.devices import choose_device
from render_server.engines.blender.nodes import NodeTree
from render_server.engines.blender.session import RenderScene
from render_server.errors import EngineUnavailable, RenderFailed

#: Background light of the test render; any other pixel value means that the device does not work.
_LIGHT = 0.25


def device_names(kind: str) -> list[str]:
    """Return the names of the devices of a kind that Blender finds."""
    preferences = _preferences()
    if kind == "cpu":
        return [device.name for device in preferences.get_devices_for_type("CPU") if device.type == "CPU"] or ["CPU"]
    try:
        devices = preferences.get_devices_for_type(kind.upper())
    except ValueError:  # This build of Blender does not know the kind.
        return []
    return [device.name for device in devices if device.type == kind.upper()]


def select_device(kind: str) -> str:
    """Select the first device of a kind for scenes created later, and return its name.

    Raises:
        EngineUnavailable: Blender finds no such device.
    """
    names = device_names(kind)
    if not names:
        raise EngineUnavailable(f"--device {kind}: Blender finds no such device")
    preferences = _preferences()
    if kind == "cpu":
        preferences.compute_device_type = "NONE"
        return names[0]
    preferences.compute_device_type = kind.upper()
    of_kind = [device for device in preferences.devices if device.type == kind.upper()]
    for device in preferences.devices:
        device.use = device == of_kind[0]
    return names[0]


def render_problem(kind: str) -> str:
    """Render a test image on the first device of a kind; return the reason of a failure, or an empty string."""
    target = None
    world = bpy.data.worlds.new("probe")
    try:
        select_device(kind)
        target = RenderScene("probe")
        tree = NodeTree(world)
        tree.output(tree.add("ShaderNodeBackground", Color=(_LIGHT, _LIGHT, _LIGHT, 1.0)).outputs[0])
        target.scene.world = world
        target.sample(samples=4, seed=0, box_px=0.0)
        pixels = target.render(8, 8)["Combined"][..., :3]
        if not np.allclose(pixels, _LIGHT, atol=1e-4):
            return f"a grey image has pixels from {pixels.min():.3g} to {pixels.max():.3g}, not {_LIGHT}"
    except (RenderFailed, EngineUnavailable) as error:
        return re.sub(r"\s+", " ", str(error))
    finally:
        if target is not None:
            target.remove([world])
    return ""


def _preferences() -> bpy.types.AddonPreferences:
    return bpy.context.preferences.addons["cycles"].preferences


def main(wanted: str) -> None:
    """Print the device as a JSON object."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    try:
        device = choose_device(wanted, device_names, render_problem)
        found = {"device": {"kind": device.kind, "name": device.name, "remark": device.remark}}
    except EngineUnavailable as error:
        sys.stdout.write("\n" + json.dumps({"problem": str(error)}) + "\n")
        return
    sys.stdout.write("\n" + json.dumps(found) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
