"""A program that writes what a .blend file shows as one GLB file: `python -m ... FILE.blend OUT.glb`.

Meshes that the file renders go along, their modifiers applied, with materials and textures; cameras, lights and
animations do not. Scripts in the file are not run. Errors are one line on standard error, with exit status 2.
"""

import sys
from pathlib import Path

import bpy

#: What has a surface once modifiers are applied.
_SURFACES = ("MESH", "CURVE", "SURFACE", "META", "FONT")


def main(blend: Path, out: Path) -> str | None:
    """Writes the GLB file; returns what is wrong, in one line."""
    try:
        bpy.ops.wm.open_mainfile(filepath=str(blend), load_ui=False, use_scripts=False)
    except RuntimeError as error:
        return f"it is no .blend file that Blender {bpy.app.version_string} can open ({' '.join(str(error).split())})"
    scene = bpy.context.scene
    shown = [item for item in (scene.objects if scene else ()) if item.type in _SURFACES and not item.hide_render]
    if not shown:
        return "its scene has no mesh that is rendered"
    bpy.ops.export_scene.gltf(
        filepath=str(out),
        export_format="GLB",
        use_active_scene=True,
        use_renderable=True,
        export_apply=True,
        export_cameras=False,
        export_lights=False,
        export_animations=False,
    )
    return None


if __name__ == "__main__":
    problem = main(Path(sys.argv[1]), Path(sys.argv[2]))
    if problem is not None:
        sys.stderr.write(problem + "\n")
        sys.exit(2)
