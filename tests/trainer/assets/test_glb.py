"""GLB files whose images lie beside them."""

import base64
import json
import struct
from pathlib import Path

import pytest
from support.data import shared_data

from trainer.assets.folder_set import MeshFolder
from trainer.assets.glb import embed_images
from trainer.errors import InputError

PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGOIAgAAXABb2LRWWgAAAABJRU5ErkJggg==")


def glb(document: dict, binary: bytes = b"") -> bytes:
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<II", len(text), 0x4E4F534A) + text
    if binary:
        chunks += struct.pack("<II", len(binary), 0x004E4942) + binary
    return b"glTF" + struct.pack("<II", 2, 12 + len(chunks)) + chunks


def parts(data: bytes) -> tuple[dict, bytes]:
    magic, version, length, size, _ = struct.unpack_from("<4sIIII", data)
    assert (magic, version, length) == (b"glTF", 2, len(data))
    binary = data[20 + size :]
    if binary:
        assert struct.unpack_from("<II", binary) == (len(binary) - 8, 0x004E4942)
    return json.loads(data[20 : 20 + size]), binary[8:]


def write(folder: Path, uri: str, binary: bytes = b"abcdefgh") -> Path:
    document = {
        "asset": {"version": "2.0"},
        "buffers": [{"byteLength": 6}],
        "bufferViews": [{"buffer": 0, "byteLength": 6}],
        "images": [{"uri": uri, "name": "colours"}],
    }
    path = folder / "model.glb"
    path.write_bytes(glb(document, binary))
    return path


def test_an_image_beside_the_model_goes_into_it(tmp_path):
    (tmp_path / "Textures").mkdir()
    (tmp_path / "Textures" / "a map.png").write_bytes(PNG)
    path = write(tmp_path, "Textures/a%20map.png")
    document, binary = parts(embed_images(path, tmp_path))
    assert document["images"] == [{"name": "colours", "bufferView": 1, "mimeType": "image/png"}]
    view = document["bufferViews"][1]
    assert binary[view["byteOffset"] : view["byteOffset"] + view["byteLength"]] == PNG
    assert binary[:6] == b"abcdef"
    assert view["byteOffset"] % 4 == 0
    assert document["buffers"] == [{"byteLength": view["byteOffset"] + len(PNG)}]


def test_a_whole_model_stays_as_it_is(tmp_path):
    path = tmp_path / "model.glb"
    inside = {"bufferViews": [{"buffer": 0, "byteLength": len(PNG)}], "buffers": [{"byteLength": len(PNG)}]}
    uri = "data:image/png;base64," + base64.b64encode(PNG).decode()
    path.write_bytes(glb({"images": [{"bufferView": 0}, {"uri": uri}], **inside}, PNG))
    assert embed_images(path, tmp_path) == path.read_bytes()


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("none.png", "{model} refers to {folder}/none.png, which cannot be read: No such file or directory"),
        ("secret.txt", "{model} refers to {folder}/secret.txt, which is neither a PNG nor a JPEG image"),
        ("../x.png", "{model} refers to the image '../x.png', which lies outside of {folder}"),
        ("/etc/passwd", "{model} refers to the image '/etc/passwd', which lies outside of {folder}"),
    ],
)
def test_images_that_cannot_be_taken(tmp_path, uri, message):
    (tmp_path / "secret.txt").write_text("not an image")
    path = write(tmp_path, uri)
    with pytest.raises(InputError) as caught:
        embed_images(path, tmp_path)
    assert str(caught.value) == message.format(model=path, folder=tmp_path)


@pytest.mark.parametrize(
    "data", [b"", b"glTF", b"PK..........................", glb({})[:-3], glb({}).replace(b"{}", b"{]")]
)
def test_files_that_are_no_glb(tmp_path, data):
    path = tmp_path / "model.glb"
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        embed_images(path, tmp_path)
    assert str(caught.value) == f"{path} is not a whole glTF 2.0 binary file, although its name says so"


def test_real_models_come_out_whole():
    cars = MeshFolder("cars", shared_data("assets3d") / "kenney_car_kit")
    for index in range(len(cars)):
        document, binary = parts(cars.data(index))
        assert document["buffers"][0]["byteLength"] <= len(binary)
        assert all("uri" not in image for image in document["images"])
        views = [document["bufferViews"][image["bufferView"]] for image in document["images"]]
        assert all(binary[view["byteOffset"] :].startswith(b"\x89PNG") for view in views)
