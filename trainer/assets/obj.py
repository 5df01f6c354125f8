"""OBJ files with materials or coloured vertices, made GLB so that they travel as one file.

http://paulbourke.net/dataformats/obj. Files without either travel as they are.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from metasim.colour import srgb_to_linear

from trainer.assets.mtl import Material, find_beside, read_materials
from trainer.assets.procedural.glb_writer import Surface, glb_bytes
from trainer.assets.procedural.shape import Shape
from trainer.errors import InputError

_LIBRARY = re.compile(r"^[ \t]*mtllib[ \t]+(.+?)[ \t]*$", re.MULTILINE)
_VERTEX = re.compile(r"^[ \t]*v[ \t]+(.+)$", re.MULTILINE)
_UV = re.compile(r"^[ \t]*vt[ \t]", re.MULTILINE)
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
#: A part without a material, as engines show meshes without any.
_GREY = Surface(color=(0.8, 0.8, 0.8))
_NO_NORMAL = -(1 << 62)
_CORNER = re.compile(r"(-?\d+)(?:/(-?\d*)(?:/(-?\d*))?)?")


def read_text(path: Path) -> str:
    """Return the text of an OBJ file, without a byte-order mark.

    Raises:
        InputError: the file cannot be read, or is no UTF-8 text.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    if data.startswith(_UTF_16) or b"\0" in data[:1024]:
        raise InputError(f"{path} is UTF-16 or binary; an OBJ file is UTF-8 text: save it as UTF-8")
    return data.decode("utf-8-sig", errors="replace").replace("\r\n", "\n").replace("\r", "\n")


def has_uvs(path: Path) -> bool:
    """Whether the file has texture coordinates."""
    return _UV.search(read_text(path)) is not None


def needs_glb(path: Path, root: Path) -> bool:
    """Whether the file has materials that can be found, or coloured vertices.

    Args:
        root: files outside of this folder count as missing.
    """
    text = read_text(path)
    vertex = _VERTEX.search(text)
    return bool(_libraries(text, path, root)[0]) or (vertex is not None and len(vertex[1].split()) >= 6)


def missing_files(path: Path, root: Path) -> list[str]:
    """Return the names of libraries and textures that the file refers to and that are not below `root`."""
    found, missing = _libraries(read_text(path), path, root)
    for library in found:
        missing += [name for material in read_materials(library, root).values() for name in material.missing]
    return missing


def obj_as_glb(path: Path, root: Path) -> bytes:
    """Return the file with its materials inside, as GLB.

    Raises:
        InputError: the file, a library or a texture is damaged.
    """
    text = read_text(path)
    materials: dict[str, Material] = {}
    for library in _libraries(text, path, root)[0]:
        materials = read_materials(library, root) | materials
    reader = _Reader(path)
    for number, line in enumerate(text.replace("\\\n", "  ").split("\n"), 1):
        reader.take(number, line)
    parts, colors = [], []
    surfaces: dict[str | None, Surface] = {}
    for name, group in reader.groups.items():
        if name not in surfaces:
            surfaces[name] = materials[name].surface(path) if name in materials else _GREY
        coloured = name not in materials and reader.coloured
        parts.append((reader.shape(group), None if coloured else surfaces[name]))
        colors.append(reader.vertex_colors(group) if coloured else None)
    if not parts:
        raise InputError(f"{path} holds no faces")
    return glb_bytes(parts, colors)


def _libraries(text: str, path: Path, root: Path) -> tuple[list[Path], list[str]]:
    """Return the material libraries that are there, and the names of those that are not."""
    found, missing = [], []
    for statement in _LIBRARY.findall(text):
        # A name may hold spaces, and a statement may hold several names.
        whole = find_beside(path, statement, root)
        for name in [statement] if whole is not None else statement.split():
            library = whole or find_beside(path, name, root)
            if library is None:
                missing.append(name)
            elif library not in found:
                found.append(library)
    return found, missing


@dataclass
class _Group:
    """The triangles of one material."""

    #: Vertex, texture coordinate (-1: none) and normal of each corner; normal -n is the n-th computed one.
    corners: list[tuple[int, int, int]] = field(default_factory=list)
    index: dict[tuple[int, int, int], int] = field(default_factory=dict)
    triangles: list[tuple[int, int, int]] = field(default_factory=list)

    def corner(self, key: tuple[int, int, int]) -> int:
        if key not in self.index:
            self.index[key] = len(self.corners)
            self.corners.append(key)
        return self.index[key]


class _Reader:
    """Takes the lines of a file one after the other."""

    def __init__(self, path: Path) -> None:
        self.groups: dict[str | None, _Group] = {}
        self._path = path
        self._points: list[list[float]] = []
        self._uvs: list[list[float]] = []
        self._normals: list[list[float]] = []
        self._computed: list[np.ndarray] = []  # Normals of faces that state none
        self._smooth: dict[tuple[int, str], int] = {}
        self._material: str | None = None
        self._smoothing = ""

    @property
    def coloured(self) -> bool:
        """Whether all vertices have colours."""
        return bool(self._points) and all(len(point) >= 6 for point in self._points)

    def take(self, number: int, line: str) -> None:
        key, _, rest = line.strip().replace("\t", " ").partition(" ")
        try:
            if key in ("v", "vt", "vn"):
                values = [float(value) for value in rest.split()]
                if len(values) < {"v": 3, "vt": 1, "vn": 3}[key]:
                    raise ValueError
                {"v": self._points, "vt": self._uvs, "vn": self._normals}[key].append(values)
            elif key == "usemtl":
                self._material = rest.strip()
            elif key == "s":
                self._smoothing = "" if rest.strip() in ("off", "0") else rest.strip()
            elif key == "f":
                self._face(rest.split())
        except (ValueError, IndexError) as error:
            raise InputError(
                f"{self._path}:{number}: {line.strip()[:60]!r} is not right in an OBJ file: numbers are needed, and "
                "indices of vertices that stand before it"
            ) from error

    def _face(self, words: list[str]) -> None:
        corners = [self._corner(word) for word in words]
        if len(corners) < 3:
            return
        if any(normal == _NO_NORMAL for _, _, normal in corners):
            points = np.array([self._points[vertex][:3] for vertex, _, _ in corners])
            # Newell's method: twice the area of a polygon, along its normal.
            area = np.cross(points, np.roll(points, -1, axis=0)).sum(axis=0)
            if self._smoothing:
                corners = [(vertex, uv, self._smooth_normal(vertex, area)) for vertex, uv, _ in corners]
            else:
                self._computed.append(area)
                corners = [(vertex, uv, -len(self._computed)) for vertex, uv, _ in corners]
        group = self.groups.setdefault(self._material, _Group())
        indices = [group.corner(corner) for corner in corners]
        group.triangles += [(indices[0], indices[i], indices[i + 1]) for i in range(1, len(indices) - 1)]

    def _smooth_normal(self, vertex: int, area: np.ndarray) -> int:
        """Return the number of a vertex's normal in its smoothing group: the sum over the faces around it."""
        key = (vertex, self._smoothing)
        if key not in self._smooth:
            self._computed.append(np.zeros(3))
            self._smooth[key] = -len(self._computed)
        self._computed[-1 - self._smooth[key]] += area
        return self._smooth[key]

    def _corner(self, word: str) -> tuple[int, int, int]:
        match = _CORNER.fullmatch(word)
        if match is None:
            raise ValueError(word)
        vertex, uv, normal = match.groups()
        return (
            _index(vertex, self._points),
            _index(uv, self._uvs) if uv else -1,
            _index(normal, self._normals) if normal else _NO_NORMAL,
        )

    def shape(self, group: _Group) -> Shape:
        points = np.array([self._points[vertex][:3] for vertex, _, _ in group.corners])
        if not np.isfinite(points).all():
            raise InputError(f"{self._path} has vertices that are not finite")
        normals = np.array(
            [
                self._normals[normal][:3] if normal >= 0 else self._computed[-1 - normal]
                for _, _, normal in group.corners
            ]
        )
        lengths = np.linalg.norm(normals, axis=1, keepdims=True)
        normals = np.where(lengths > 0, normals / np.where(lengths > 0, lengths, 1), (0.0, 0.0, 1.0))
        uvs = np.array([[*self._uvs[uv], 0.0][:2] if uv >= 0 else [0.0, 0.0] for _, uv, _ in group.corners])
        return Shape(points, normals, uvs, np.array(group.triangles))

    def vertex_colors(self, group: _Group) -> np.ndarray:
        """Return the colours of a part's vertices in linear light, [n, 3]."""
        colors = np.array([self._points[vertex][3:6] for vertex, _, _ in group.corners])
        return srgb_to_linear(np.clip(colors, 0, 1))


def _index(text: str, items: list) -> int:
    """Return the place of an item: numbers count from 1, negative ones from the end."""
    number = int(text)
    place = number - 1 if number > 0 else len(items) + number
    if not 0 <= place < len(items):
        raise IndexError(text)
    return place
