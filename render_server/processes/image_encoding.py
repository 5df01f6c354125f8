"""Layers of results as image files, where the task asks for them."""

import time

from metasim.image_files import encode_image
from metasim.tensors import tensor_from_proto
from metasim.v1 import render_pb2 as pb


def encode_layers(task: pb.RenderTask, result: pb.RenderResult) -> None:
    """Replace the tensors of the layers that `task.encodings` names by files. Adds to `result.timing.encode_s`."""
    if not task.encodings:
        return
    began_s = time.perf_counter()
    wanted = {encoding.output: encoding for encoding in task.encodings}
    for layer in result.layers:
        encoding = wanted.get(layer.output)
        if encoding is not None:
            layer.file = encode_image(tensor_from_proto(layer.tensor), encoding.format, encoding.quality)
            layer.ClearField("tensor")
    result.timing.encode_s += time.perf_counter() - began_s
