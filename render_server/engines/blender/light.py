# mypy: disable-error-code="arg-type, attr-defined"
"""Lamps."""

import math

import bpy
from metasim.v1 import scene_pb2


def lamp(wire: scene_pb2.Light) -> bpy.types.Light:
    """Return a lamp described by a message. It shines along its object's -z, or in all directions if it is a point."""
    kind = wire.WhichOneof("kind")
    light = bpy.data.lights.new("lamp", {"sun": "SUN", "point": "POINT", "area": "AREA"}[kind or "point"])
    set_lamp(light, wire)
    return light


def set_lamp(light: bpy.types.Light, wire: scene_pb2.Light) -> None:
    """Set a lamp of the same kind from a message."""
    colour = wire.color
    light.color = (colour.red, colour.green, colour.blue) if wire.HasField("color") else (1.0, 1.0, 1.0)
    if wire.HasField("sun"):
        light.energy = wire.sun.irradiance_w_m2
        light.angle = math.radians(wire.sun.angle_deg)
    elif wire.HasField("point"):
        light.energy = wire.point.power_w
        light.shadow_soft_size = wire.point.radius_m
    else:
        light.energy = wire.area.power_w
        light.shape = "SQUARE"
        light.size = wire.area.edge_m
