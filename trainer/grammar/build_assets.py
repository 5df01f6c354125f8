"""Opens asset sets and builds what nodes draw from them."""

from collections.abc import Mapping
from pathlib import Path

from metasim.v1 import scene_pb2 as pb

from trainer.assets.asset_sets import AssetSet, Fold, idx_set
from trainer.assets.bop_models import BopModels
from trainer.assets.card_set import CardSet
from trainer.assets.folder_set import EnvironmentFolder, ImageFolder, MeshFolder
from trainer.assets.material_set import MaterialFolder
from trainer.assets.mesh_frame import placement
from trainer.assets.mnist import mnist_set
from trainer.assets.procedural import FAMILIES
from trainer.assets.procedural_set import ProceduralSet
from trainer.environment import Settings
from trainer.errors import InputError
from trainer.grammar.build_distribution import build_number, check_sum
from trainer.grammar.distributions import Constant, Distribution
from trainer.grammar.document import Document, KeyPath
from trainer.grammar.node_schema import AssetSection, ColorSection, MaterialSection, MeshSection, NodeSection
from trainer.grammar.nodes import AssetDraw, ColorDraw, Mesh
from trainer.grammar.schema import ASSET_SOURCES, AssetSetSection, WorldFile

#: Of the sets that are always the same.
_LICENCES = {"mnist": "MNIST, by Y. LeCun, C. Cortes and C. Burges", "procedural": "made by Meta-Sim, MIT licence"}

#: The mesh that has a front and a back.
CARD = "card"
#: Numbers of a surface, with their ranges.
_SURFACE = (
    ("roughness", 0.0, 1.0),
    ("metallic", 0.0, 1.0),
    ("specular", 0.0, 1.0),
    ("opacity", 0.0, 1.0),
    ("uv_scale", 1e-6, 1e6),
)
_PRIMITIVES = {"cube": pb.PRIMITIVE_CUBE, "plane": pb.PRIMITIVE_PLANE, "sphere": pb.PRIMITIVE_SPHERE}


def open_sets(
    document: Document, world: WorldFile, mnist: Path | None, settings: Settings
) -> tuple[dict[str, AssetSet], tuple[str, ...]]:
    """Return the sets of the file by name, and notes for the user.

    Raises:
        GrammarError: files are missing or are not what they should be.
    """
    sets: dict[str, AssetSet] = {}
    notes: dict[str, None] = {}
    for name in sorted(world.assets):
        section, keys = world.assets[name], ("assets", name)
        if name in _PRIMITIVES or name == CARD:
            raise document.error(keys, f"`mesh: {name}` is a shape; a set needs another name", show_value=False)
        source = next(key for key in ASSET_SOURCES if getattr(section, key) is not None)
        if section.procedural is not None and section.procedural not in FAMILIES:
            raise document.unknown((*keys, source), section.procedural, FAMILIES, "procedural set")
        try:
            asset_set, note = _open(name, section, document.path.parent, mnist, settings)
            remarks = asset_set.remarks()
        except InputError as error:
            raise document.error((*keys, source), str(error)) from error
        notes |= dict.fromkeys((*((note,) if note else ()), *remarks))
        if section.fold is not None:
            i, n = section.fold
            if i >= n:
                raise document.error((*keys, "fold"), f"the folds of {n} are numbered from 0 to {n - 1}")
            if i >= len(asset_set):
                raise document.error((*keys, "fold"), f"the set has {len(asset_set)} items; this fold has none of them")
            asset_set = Fold(asset_set, i, n)
        asset_set.licence = section.licence or (_LICENCES.get(source) if note is None else note)
        sets[name] = asset_set
        if isinstance(asset_set, MaterialFolder):
            sets |= asset_set.map_sets
    return sets, tuple(notes)


def _open(
    name: str, section: AssetSetSection, folder: Path, mnist: Path | None, settings: Settings
) -> tuple[AssetSet, str | None]:
    if section.mnist is not None:
        located = mnist_set(name, section.mnist, mnist, settings)
        return located.digits, located.note
    if section.idx is not None:
        labels = folder / section.labels if section.labels is not None else None
        return idx_set(name, folder / section.idx, labels), None
    if section.images is not None:
        return ImageFolder(name, folder / section.images, section.max_size), None
    if section.hdris is not None:
        return EnvironmentFolder(name, folder / section.hdris), None
    if section.materials is not None:
        return MaterialFolder(name, folder / section.materials, section.max_size), None
    if section.meshes is not None:
        fits = {key: value for key in ("scale", "forward", "up") if (value := getattr(section, key)) is not None}
        return MeshFolder(name, folder / section.meshes, placement(**fits) if fits else None), None
    if section.bop is not None:
        return BopModels(name, folder / section.bop, standing=section.standing), None
    return ProceduralSet(name, FAMILIES[str(section.procedural)]()), None


def build_mesh(
    mesh: MeshSection,
    material: MaterialSection | None,
    document: Document,
    sets: Mapping[str, AssetSet],
    keys: KeyPath,
) -> Mesh:
    """Return the mesh of a node.

    Raises:
        GrammarError: a set is unknown or of images (meshes for the texture), or its weights are wrong.
    """
    texture, maps, surface = None, False, {}
    if material is not None:
        at = (*keys, "material")
        surface = build_surface(material, document, at)
        if material.set is not None and material.texture is not None:
            raise document.error((*at, "texture"), "a material of a set has its textures; leave one of the two out")
        if material.set is not None:
            texture, maps = build_draw(material.set, document, sets, (*at, "set"), "materials"), True
        elif material.texture is not None:
            texture = build_draw(material.texture, document, sets, (*at, "texture"))
    if mesh.set in _PRIMITIVES:
        if mesh.weights is not None or mesh.mutable:
            key = "mutable" if mesh.weights is None else "weights"
            raise document.error((*keys, "mesh", key), "a primitive has no items to weigh")
        return Mesh(_PRIMITIVES[mesh.set], None, texture, surface, maps)
    return Mesh(None, build_draw(mesh, document, sets, (*keys, "mesh"), "meshes"), texture, surface, maps)


def build_surface(material: MaterialSection, document: Document, keys: KeyPath) -> dict[str, Distribution]:
    """Return the distributions of a surface's numbers, by the names of `metasim.v1.Material`.

    Raises:
        GrammarError: a number is out of its range.
    """
    found = {}
    for name, low, high in _SURFACE:
        section = getattr(material, name)
        if section is not None:
            found[name] = build_number(section, document, (*keys, name), low, high)
    return found


def build_card(section: NodeSection, document: Document, sets: dict[str, AssetSet], keys: KeyPath) -> Mesh:
    """Return the mesh of a card. Its fronts with its backs become a set of their own in `sets`.

    Raises:
        GrammarError: the card has no front, a set is unknown or of meshes, or a key does not belong to a card.
    """
    mesh, material = section.mesh, section.material
    if mesh is not None and (mesh.weights is not None or mesh.mutable):
        key = "mutable" if mesh.weights is None else "weights"
        raise document.error((*keys, "mesh", key), f"{key} belongs to front or back; a card itself is not drawn")
    if section.front is None:
        raise document.error((*keys, "front"), "a card needs a set of images, e.g. front: faces")
    for key in ("set", "texture", "metallic", "specular", "opacity", "uv_scale"):
        if material is not None and getattr(material, key) is not None:
            raise document.error((*keys, "material", key), "a card shows its front and its back; leave it out")
    front = build_draw(section.front, document, sets, (*keys, "front"))
    back = build_draw(section.back, document, sets, (*keys, "back")) if section.back is not None else None
    name = f"{keys[-1]} (card)"
    roughness = 0.5
    if material is not None and material.roughness is not None:
        at = (*keys, "material", "roughness")
        distribution = build_number(material.roughness, document, at, 0.0, 1.0)
        if not isinstance(distribution, Constant):
            raise document.error(at, "the roughness of a card is a constant")
        roughness = distribution.value
    sets[name] = CardSet(name, sets[front.set], sets[back.set] if back is not None else None, roughness)
    return Mesh(asset=AssetDraw(name), front=front, back=back)


def texture_notes(mesh: Mesh, sets: Mapping[str, AssetSet], document: Document, keys: KeyPath) -> tuple[str, ...]:
    """Return a note where a texture covers meshes that have no texture coordinates."""
    if mesh.texture is None or mesh.asset is None:
        return ()
    items = sets[mesh.asset.set]
    drawn = mesh.asset.items(len(items))
    try:
        bare = [index for index in drawn if not items.has_uvs(index)]
    except InputError as error:
        raise document.error((*keys, "mesh"), str(error)) from error
    if not bare:
        return ()
    which = (
        items.source(bare[0]) if len(bare) == 1 else f"{len(bare)} of {len(drawn)} meshes ({items.source(bare[0])} ...)"
    )
    at = document.place((*keys, "material", "set" if mesh.maps else "texture"))
    return (
        f"{at}: {which} without UV coordinates: the texture gives one flat colour there; unwrap them, or leave it out",
    )


def build_draw(
    section: AssetSection, document: Document, sets: Mapping[str, AssetSet], keys: KeyPath, sort: str = "images"
) -> AssetDraw:
    """Return which item of which set a node draws.

    Args:
        sort: what the set must hold, see `AssetSet.sort`.

    Raises:
        GrammarError: the set is unknown or of the wrong sort, or its weights are wrong.
    """
    meshes = sort == "meshes"
    if section.set not in sets:
        known = [*((*_PRIMITIVES, CARD) if meshes else ()), *sets]
        raise document.unknown(keys, section.set, known, "mesh or set of assets" if meshes else "set of assets")
    asset_set = sets[section.set]
    if asset_set.sort != sort and not (sort == "images" and asset_set.sort == "materials"):
        raise document.error(keys, f"a set of {sort} is needed; {section.set} holds {asset_set.sort}")
    if section.weights is None and not section.mutable:
        return AssetDraw(section.set)
    return _weighted(section, asset_set, document, (*keys, "weights"))


def build_color(section: ColorSection, document: Document, keys: KeyPath) -> ColorDraw:
    """Return which of several colours a node draws.

    Raises:
        GrammarError: a weight is of no colour, or they do not sum to 1.
    """
    names = tuple(section.choices)
    weights: dict[object, float] = dict.fromkeys(names, 1 / len(names))
    if section.weights is not None:
        weights = {str(name): weight for name, weight in section.weights.items()}
        for name in weights:
            if name not in section.choices:
                raise document.unknown((*keys, "weights"), name, names, "colour")
    probabilities = check_sum(weights, document, (*keys, "weights"))
    colors = tuple(section.choices[str(name)] for name in weights)
    return ColorDraw(tuple(str(name) for name in weights), colors, probabilities, section.mutable)


def _weighted(section: AssetSection, asset_set: AssetSet, document: Document, keys: KeyPath) -> AssetDraw:
    groups: dict[str, list[int]] = {}
    by_label = bool(asset_set.labels)
    for index in range(len(asset_set)):
        group = asset_set.label(index) if by_label else asset_set.item_name(index)
        if group is not None:
            groups.setdefault(str(group), []).append(index)
    given: Mapping[str | int | float, float] = section.weights or {
        name: len(indices) / len(asset_set) for name, indices in groups.items()
    }
    if not groups:
        raise document.error(keys, "the set's items have neither labels nor names to choose between")
    weights = {str(key): weight for key, weight in sorted(given.items(), key=lambda item: str(item[0]))}
    for key in weights:
        if key not in groups:
            raise document.unknown(keys, key, groups, "label" if by_label else "item")
    probabilities = check_sum(weights, document, keys)  # type: ignore[arg-type]
    return AssetDraw(
        section.set, tuple(tuple(groups[key]) for key in weights), probabilities, tuple(weights), section.mutable
    )
