"""Checks of the outputs: formats, labels, frames."""

import math

import numpy as np
from metasim.image_files import decode_image
from metasim.v1 import render_pb2 as pb
from metasim.v1 import scene_pb2

from trainer.checks.conformance import Rule, Worker
from trainer.checks.endpoint_tasks import (
    demand,
    flat_scene,
    good,
    layers_of,
    make_task,
    sprite,
    white,
)

_LABELS = (pb.OUTPUT_INSTANCE_MASK, pb.OUTPUT_CLASS_MASK, pb.OUTPUT_DEPTH, pb.OUTPUT_NORMAL)
#: Mean error of a JPEG of quality 95, of 255.
_LOSSY_ERROR = 4
#: dtype and trailing dimensions of each layer.
_LAYERS: dict[int, tuple[type, tuple[int, ...]]] = {
    pb.OUTPUT_IMAGE_U8: (np.uint8, (3,)),
    pb.OUTPUT_IMAGE_F32: (np.float32, (3,)),
    pb.OUTPUT_INSTANCE_MASK: (np.uint16, ()),
    pb.OUTPUT_CLASS_MASK: (np.uint16, ()),
    pb.OUTPUT_DEPTH: (np.float32, ()),
    pb.OUTPUT_NORMAL: (np.float32, (3,)),
}


def outputs(worker: Worker) -> None:
    task = good(worker)
    task.outputs[:] = [*reversed(_LAYERS), pb.OUTPUT_BOXES]  # type: ignore[list-item]
    result = worker.render(task)
    order = [layer.output for layer in result.layers]
    demand(order == list(reversed(_LAYERS)), "the layers do not follow RenderTask.outputs")
    for output, array in layers_of(result).items():
        dtype, trailing = _LAYERS[output]
        name = pb.Output.Name(output)  # type: ignore[arg-type]
        demand(array.dtype == dtype, f"{name} is {array.dtype}")
        demand(array.shape == (32, 32, *trailing), f"{name} has the shape {list(array.shape)}")
    found = layers_of(result)
    quantised = np.rint(found[pb.OUTPUT_IMAGE_F32] * np.float32(255)).astype(np.uint8)
    demand(np.array_equal(found[pb.OUTPUT_IMAGE_U8], quantised), "OUTPUT_IMAGE_U8 is not OUTPUT_IMAGE_F32 times 255")


def labels(worker: Worker) -> None:
    scene = flat_scene(sprite(white(worker), x_m=6, y_m=4, z_m=3), classes=("other", "thing"))
    result = worker.render(make_task("labels", scene, *_LABELS, pb.OUTPUT_BOXES))
    found = layers_of(result)
    instances, depth = found[pb.OUTPUT_INSTANCE_MASK], found[pb.OUTPUT_DEPTH]
    # x = 6 and y = 4 are 6 pixels to the right of the middle and 4 above it.
    demand(instances[12, 22] == 2, f"the instance mask is {instances[12, 22]} at the object; nodes[1] has the value 2")
    demand(set(np.unique(instances)) == {0, 2}, f"the instance mask holds {np.unique(instances).tolist()}")
    demand(np.array_equal(found[pb.OUTPUT_CLASS_MASK], instances), "the class mask is not 2 where classes[1] is")
    seen = instances > 0
    demand(np.allclose(depth[seen], 7, atol=1e-4), "the depth of an object 7 m before the camera is not 7")
    demand(np.isposinf(depth[~seen]).all(), "the depth is not +inf where nothing is")
    normal = found[pb.OUTPUT_NORMAL]
    demand(np.allclose(normal[seen], (0, 0, 1), atol=1e-4), "the normal of a sprite that faces +z is not (0, 0, 1)")
    demand(not normal[~seen].any(), "the normal is not 0 where nothing is")
    demand(len(result.boxes) == 1, f"there are {len(result.boxes)} boxes for one object with a class")
    _boxes(result.boxes[0], seen)


def _boxes(box: pb.Box, seen: np.ndarray) -> None:
    demand((box.node, box.class_name) == ("thing", "thing"), f"the box is of {box.node!r}, class {box.class_name!r}")
    demand(box.visible_px == seen.sum(), f"visible_px is {box.visible_px}; the mask has {seen.sum()} pixels")
    rows, columns = seen.any(axis=1).nonzero()[0], seen.any(axis=0).nonzero()[0]
    expected = (columns[0], rows[0], columns[-1] + 1 - columns[0], rows[-1] + 1 - rows[0])
    found = (box.visible.x_px, box.visible.y_px, box.visible.width_px, box.visible.height_px)
    demand(found == expected, f"the visible box is {found}; the mask's is {expected}")
    amodal = (box.amodal.x_px, box.amodal.y_px, box.amodal.width_px, box.amodal.height_px)
    demand(np.allclose(amodal, (18, 8, 8, 8), atol=1e-3), f"the amodal box is {amodal}; it must be (18, 8, 8, 8)")
    demand(math.isclose(box.extent.high_x_m - box.extent.low_x_m, 8, abs_tol=1e-3), "the extent is not 8 m wide")


def frames_and_parents(worker: Worker) -> None:
    """A child at (4, 0) of a parent that is turned by 90 degrees stands at (0, 4)."""
    child = sprite(white(worker), x_m=4)
    child.parent = "arm"
    arm = scene_pb2.Node(id="arm", transform=scene_pb2.Transform(x_m=2, yaw_deg=90, scale=2))
    result = worker.render(make_task("frames", flat_scene(arm, child), pb.OUTPUT_BOXES))
    box = result.boxes[0].amodal
    middle = (box.x_px + box.width_px / 2, box.y_px + box.height_px / 2)
    demand(np.allclose(middle, (18, 8), atol=0.01), f"the child is seen at {middle}; it must be (18, 8)")


def unclassed(worker: Worker) -> None:
    node = sprite(white(worker))
    node.class_name = ""
    result = worker.render(make_task("unclassed", flat_scene(node), pb.OUTPUT_INSTANCE_MASK, pb.OUTPUT_BOXES))
    demand(not layers_of(result)[pb.OUTPUT_INSTANCE_MASK].any(), "a node without a class is in the instance mask")
    demand(not result.boxes, "a node without a class has a box")


def encodings(worker: Worker) -> None:
    """A worker that lists no formats is not asked for files."""
    for image_format in worker.description.image_formats:
        task = good(worker)
        task.outputs[:] = [pb.OUTPUT_IMAGE_U8, pb.OUTPUT_INSTANCE_MASK]
        pixels = layers_of(worker.render(task))
        task.encodings.add(output=pb.OUTPUT_IMAGE_U8, format=image_format)
        task.encodings.add(output=pb.OUTPUT_INSTANCE_MASK, format=pb.IMAGE_FORMAT_PNG)
        name = pb.ImageFormat.Name(image_format)
        for layer in worker.render(task).layers:
            demand(bool(layer.file) and not layer.HasField("tensor"), f"a layer is not a file, asked for {name}")
            found = decode_image(layer.file).astype(int)
            expected = pixels[layer.output].astype(int)
            demand(found.shape == expected.shape, f"the file of {name} has the shape {list(found.shape)}")
            lossy = image_format == pb.IMAGE_FORMAT_JPEG and layer.output == pb.OUTPUT_IMAGE_U8
            most = _LOSSY_ERROR if lossy else 0
            demand(np.abs(found - expected).mean() <= most, f"the file of {name} does not show the image")


#: The checks, in the order in which they run.
RULES: tuple[Rule, ...] = (
    Rule("outputs", "layers have the order, shape and type of their outputs", outputs),
    Rule("labels", "masks, depth, normals and boxes describe the object where it is", labels),
    Rule("transforms", "a node's transform is relative to its parent's frame", frames_and_parents),
    Rule("encodings", "layers that are asked for as image files show what the tensors hold", encodings),
    Rule("unclassed", "a node without a class is in no mask and has no box", unclassed),
)
