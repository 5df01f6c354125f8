# mypy: disable-error-code="arg-type, assignment, union-attr"
"""A Blender scene that Cycles renders into NumPy arrays.

`Render Result` cannot be read in background mode, so pixels travel through an uncompressed EXR in shared memory.
"""

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import bpy
import numpy as np
import OpenEXR

from render_server.errors import DeviceLost, DeviceMemoryFull, RenderFailed, RenderServerError
from render_server.jacobian.regions import Window

#: The narrowest filter that Blender accepts: samples fall on the pixel's centre.
_CENTRE_FILTER_PX = 0.01

#: Cycles' messages for a lack of device memory, and for a failed device or context.
_MEMORY_FULL = re.compile(r"out of (\w+ )?memory", re.IGNORECASE)
_DEVICE_LOST = re.compile(
    r"(CUDA|OptiX|HIP|oneAPI|Metal)[\w ]* (error|queue)|illegal address|launch (failed|failure|exceeded)"
    r"|device (was |has been )?(lost|removed|reset)|failed to create \w+ context",
    re.IGNORECASE,
)

#: Offset of a border inside its pixel, so that rounding cannot move it to another pixel.
_INSIDE = 0.25


#: Passes renamed in Blender 5.0.
_RENAMED = {"Object Index": "IndexOB"}


class RenderScene:
    """A Blender scene with Cycles settings that make results depend only on the scene.

    Args:
        name: of the Blender scene.
    """

    def __init__(self, name: str) -> None:
        self.scene = bpy.data.scenes.new(name)
        self.layer = self.scene.view_layers[0]
        render, cycles = self.scene.render, self.scene.cycles
        render.engine = "CYCLES"
        render.threads_mode = "FIXED"
        render.threads = 1
        render.use_persistent_data = True
        render.use_compositing = False
        render.use_sequencer = False
        render.film_transparent = False
        render.use_motion_blur = False
        render.use_simplify = False
        if hasattr(render.image_settings, "media_type"):  # Needed from Blender 5.0 on, before the format.
            render.image_settings.media_type = "MULTI_LAYER_IMAGE"
        if hasattr(render.image_settings, "use_exr_interleave"):  # Otherwise each pass is a separate part.
            render.image_settings.use_exr_interleave = True
        render.image_settings.file_format = "OPEN_EXR_MULTILAYER"
        render.image_settings.color_mode = "RGBA"
        render.image_settings.color_depth = "32"
        render.image_settings.exr_codec = "NONE"
        on_gpu = bpy.context.preferences.addons["cycles"].preferences.compute_device_type != "NONE"
        cycles.device = "GPU" if on_gpu else "CPU"
        # Other patterns depend on the sample counts of earlier renders.
        cycles.sampling_pattern = "TABULATED_SOBOL"
        cycles.use_adaptive_sampling = False
        cycles.use_denoising = False
        cycles.use_auto_tile = False
        cycles.use_animated_seed = False
        cycles.use_light_tree = True
        cycles.light_sampling_threshold = 0.0
        cycles.sample_clamp_direct = 0.0
        cycles.sample_clamp_indirect = 0.0
        cycles.time_limit = 0.0
        # Surfaces with opacity >= 1/2 appear in the index, depth and normal passes.
        self.layer.pass_alpha_threshold = 0.5
        camera = bpy.data.cameras.new(name)
        self.camera = bpy.data.objects.new(name, camera)
        self.scene.collection.objects.link(self.camera)
        self.scene.camera = self.camera

    def sample(self, *, samples: int, seed: int, box_px: float) -> None:
        """Set the sampling of pixels.

        Args:
            box_px: 0: all samples at the pixel's centre; 1: spread over the pixel. Blender's box filter has no other
                width.
        """
        cycles = self.scene.cycles
        cycles.pixel_filter_type = "BOX" if box_px else "GAUSSIAN"
        cycles.filter_width = _CENTRE_FILTER_PX
        cycles.samples = samples
        cycles.seed = seed & 0x7FFFFFFF
        # With persistent data, Cycles notices new samples only if a property of the render settings also changes.
        self.scene.render.resolution_percentage = 100

    def denoise(self, wanted: bool) -> None:
        """Set whether Open Image Denoise is applied, with colour, albedo and normal of the first surface."""
        cycles = self.scene.cycles
        cycles.use_denoising = wanted
        if wanted:
            cycles.denoiser = "OPENIMAGEDENOISE"
            cycles.denoising_input_passes = "RGB_ALBEDO_NORMAL"
            cycles.denoising_prefilter = "ACCURATE"
            cycles.denoising_use_gpu = False  # Denoising on the CPU gives results independent of the GPU.

    def transparency(self, surfaces: int) -> None:
        """Set the maximum number of transparent surfaces along a ray, without Russian roulette."""
        self.scene.cycles.transparent_max_bounces = min(1024, surfaces + 1)
        self.scene.cycles.min_transparent_bounces = min(1024, surfaces + 1)

    def render(self, width_px: int, height_px: int, window: Window | None = None) -> dict[str, np.ndarray]:
        """Render one frame and return its passes by name (Combined, IndexOB, Depth, Normal), [h, w(, c)] float32.

        Args:
            width_px, height_px: of the frame.
            window: the part of it to render. Its pixels equal those of the whole frame bit for bit.

        Raises:
            RenderFailed: Blender wrote no image, or an image of another size.
        """
        render = self.scene.render
        render.resolution_x, render.resolution_y = width_px, height_px
        render.use_border = render.use_crop_to_border = window is not None
        if window is not None:
            # Blender truncates fractions and counts rows from below.
            render.border_min_x = (window.left + _INSIDE) / width_px
            render.border_max_x = (window.right + _INSIDE) / width_px
            render.border_min_y = (height_px - window.bottom + _INSIDE) / height_px
            render.border_max_y = (height_px - window.top + _INSIDE) / height_px
            width_px, height_px = window.width, window.height
        with _file() as path:
            render.filepath = str(path)
            with silent_stdout():
                try:
                    bpy.ops.render.render(write_still=True, scene=self.scene.name)
                except RuntimeError as error:
                    raise render_error(operator_reason(error)) from error
            if not path.exists() or path.stat().st_size == 0:
                raise RenderFailed("Blender wrote no image; the worker's log says why")
            passes = _read(path)
        shape = passes["Combined"].shape[:2]
        if shape != (height_px, width_px):
            raise RenderFailed(f"Blender rendered {shape[1]} x {shape[0]} pixels instead of {width_px} x {height_px}")
        return passes

    def remove(self, others: Iterable[bpy.types.ID] = ()) -> None:
        """Remove the scene from Blender, together with Cycles' data for it.

        Args:
            others: further blocks to remove. Removing all at once is faster, as each removal scans all of Blender's
                data.
        """
        self.scene.render.use_persistent_data = False
        bpy.data.batch_remove([*others, self.camera, self.camera.data, self.scene])


@contextlib.contextmanager
def silent_stdout() -> Iterator[None]:
    """Discard the process's stdout, to which Blender reports each render."""
    sys.stdout.flush()
    kept = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def render_error(reason: str) -> RenderServerError:
    """Return the error for Blender's reason of a failed render."""
    text = f"Blender failed to render: {reason}"
    if _MEMORY_FULL.search(reason):
        return DeviceMemoryFull(f"{text}; use fewer or smaller textures and meshes, or a device with more memory")
    return DeviceLost(text) if _DEVICE_LOST.search(reason) else RenderFailed(text)


def operator_reason(error: Exception) -> str:
    """Return the cause stated by an error of a Blender operator, in one line.

    Operators written in Python add a traceback.
    """
    lines = [line.strip() for line in str(error).splitlines()]
    lines = [line for line in lines if line and not line.startswith(("Location:", "File ", "Traceback ", "~", "^"))]
    if any("Python: Traceback" in line for line in lines):
        lines = lines[-1:]
    return " ".join(line.removeprefix("Error: ") for line in lines)


@contextlib.contextmanager
def _file() -> Iterator[Path]:
    # The temporary folder of an engine process is in shared memory; the worker always removes it.
    descriptor, name = tempfile.mkstemp(prefix="metasim-", suffix=".exr")
    os.close(descriptor)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _read(path: Path) -> dict[str, np.ndarray]:
    """Return the passes of a file by name. Channels are named LAYER.PASS.CHANNEL."""
    passes: dict[str, dict[str, np.ndarray]] = {}
    for name, channel in OpenEXR.File(str(path), separate_channels=True).channels().items():
        parts = name.split(".")
        if len(parts) == 3:
            passes.setdefault(_RENAMED.get(parts[1], parts[1]), {})[parts[2]] = channel.pixels
    return {
        name: next(iter(channels.values()))
        if len(channels) == 1
        else np.stack([channels[key] for key in ("RGBA" if "R" in channels else "XYZ") if key in channels], axis=2)
        for name, channels in passes.items()
    }
