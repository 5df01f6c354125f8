# mypy: disable-error-code="arg-type, attr-defined, return-value, union-attr"
"""A program that converts a .blend file to one GLB file: `python -m ... FILE.blend OUT.glb`.

The GLB holds every mesh of a render, with modifiers applied, with materials and textures. Instances of collections,
geometry nodes and particles become separate meshes. Cameras, lights and animations are dropped; shapes are those at the
saved frame. Scripts in the file are not run. Errors are one line on standard error, with exit status 2.
"""

import sys
from pathlib import Path

import bpy

from render_server.engines.blender.session import operator_reason


def main(blend: Path, out: Path) -> str | None:
    """Write the GLB file; return an error in one line, or None."""
    try:
        bpy.ops.wm.open_mainfile(filepath=str(blend), load_ui=False, use_scripts=False)
    except RuntimeError as error:
        return f"it is no .blend file that Blender {bpy.app.version_string} can open ({operator_reason(error)})"
    if bpy.context.scene is None:
        return "it has no scene"
    _show_as_rendered(bpy.context.scene)
    shown = _flat_scene()
    if not shown.objects:
        return "its scene has no mesh that is rendered"
    bpy.context.window.scene = shown
    try:
        bpy.ops.export_scene.gltf(
            filepath=str(out),
            export_format="GLB",
            use_active_scene=True,
            export_cameras=False,
            export_lights=False,
            export_animations=False,
        )
    except RuntimeError as error:
        return f"Blender {bpy.app.version_string} cannot write it as GLB ({operator_reason(error)}); export it yourself"
    return None


def _show_as_rendered(scene: bpy.types.Scene) -> None:
    """Set the viewport, from which shapes are read, to the visibility and modifiers of a render."""
    for collection in scene.collection.children_recursive:
        collection.hide_viewport = collection.hide_render
    for item in scene.objects:
        item.hide_viewport = item.hide_render
        item.hide_set(False)
        for modifier in item.modifiers:
            modifier.show_viewport = modifier.show_render
            if hasattr(modifier, "render_levels"):
                modifier.levels = modifier.render_levels
    bpy.context.view_layer.update()


def _flat_scene() -> bpy.types.Scene:
    """Return a new scene with an object for each visible mesh and instance of the active scene."""
    graph = bpy.context.evaluated_depsgraph_get()
    flat = bpy.data.scenes.new("shown")
    copies: dict[tuple[str, int], bpy.types.Mesh] = {}
    shown = []
    for instance in graph.object_instances:
        item = instance.object
        # Curves, texts and metaballs appear as instances of their meshes.
        if item.type == "MESH" and instance.show_self and len(item.data.polygons):
            key = item.name_full, item.data.as_pointer()
            if key not in copies:
                copies[key] = _copy(item)
            shown.append((item.name, copies[key], instance.matrix_world.copy()))
    for name, mesh, matrix in shown:
        item = bpy.data.objects.new(name, mesh)
        item.matrix_world = matrix
        flat.collection.objects.link(item)
    return flat


def _copy(item: bpy.types.Object) -> bpy.types.Mesh:
    """Return a copy of an evaluated object's mesh, with the materials that the object shows."""
    mesh = item.data.copy()
    materials = [slot.material for slot in item.material_slots]
    if len(materials) < len(mesh.materials):  # Instances of geometry have no slots.
        materials = list(mesh.materials)
    mesh.materials.clear()
    for material in materials:
        mesh.materials.append(None if material is None else material.original)
    return mesh


if __name__ == "__main__":
    problem = main(Path(sys.argv[1]), Path(sys.argv[2]))
    if problem is not None:
        sys.stderr.write(problem + "\n")
        sys.exit(2)
