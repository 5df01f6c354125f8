# mypy: disable-error-code="attr-defined, index, return-value, union-attr"
"""Short notation for shader node trees."""

import bpy

Value = bpy.types.NodeSocket | float | tuple[float, ...]


class NodeTree:
    """The node tree of a material or world.

    Args:
        keep: whether existing nodes are kept.
    """

    def __init__(self, owner: bpy.types.Material | bpy.types.World, *, keep: bool = False) -> None:
        if owner.node_tree is None:  # From Blender 5.0 on the setter only warns.
            owner.use_nodes = True
        self._tree = owner.node_tree
        if not keep:
            self._tree.nodes.clear()
        self._world = isinstance(owner, bpy.types.World)

    def add(self, kind: str, **inputs: Value) -> bpy.types.ShaderNode:
        """Add a node. Inputs are sockets to link or values; `_` in their names means a space."""
        node = self._tree.nodes.new(kind)
        for name, value in inputs.items():
            self.feed(node.inputs[name.replace("_", " ")], value)
        return node

    def link(self, source: bpy.types.NodeSocket, target: bpy.types.NodeSocket) -> None:
        """Link an output to an input."""
        self._tree.links.new(source, target)

    def attribute(self, name: str) -> bpy.types.NodeSocket:
        """Return an attribute of the mesh as a vector."""
        node = self._tree.nodes.new("ShaderNodeAttribute")
        node.attribute_name = name
        return node.outputs["Vector"]

    def object_attribute(self, name: str, output: str) -> bpy.types.NodeSocket:
        """Return a property of the object that shows the material, by the output `Color` or `Fac`."""
        node = self._tree.nodes.new("ShaderNodeAttribute")
        node.attribute_type, node.attribute_name = "OBJECT", name
        return node.outputs[output]

    def math(self, operation: str, *operands: Value) -> bpy.types.NodeSocket:
        """Return the result of an operation on numbers."""
        return self._operate("ShaderNodeMath", operation, operands)

    def vector(self, operation: str, *operands: Value) -> bpy.types.NodeSocket:
        """Return the result of an operation on colours; a number applies to all three channels."""
        return self._operate("ShaderNodeVectorMath", operation, operands)

    def sum(self, first: bpy.types.NodeSocket, second: bpy.types.NodeSocket) -> bpy.types.NodeSocket:
        """Return the sum of two shaders."""
        node = self._tree.nodes.new("ShaderNodeAddShader")
        self.feed(node.inputs[0], first)
        self.feed(node.inputs[1], second)
        return node.outputs[0]

    def srgb_to_linear(self, colour: bpy.types.NodeSocket) -> bpy.types.NodeSocket:
        """Return display values converted to linear light (IEC 61966-2-1)."""
        scaled = self.vector("DIVIDE", self.vector("ADD", colour, (0.055,) * 3), (1.055,) * 3)
        power = self.vector("POWER", scaled, (2.4,) * 3)
        linear = self.vector("DIVIDE", colour, (12.92,) * 3)
        above = self.vector("SIGN", self.vector("SUBTRACT", colour, (0.04045,) * 3))
        chosen = self.vector("MAXIMUM", above, (0.0,) * 3)
        difference = self.vector("SUBTRACT", power, linear)
        return self.vector("MULTIPLY_ADD", difference, chosen, linear)

    def opacities(self) -> list[bpy.types.NodeSocket]:
        """Return the inputs that hold an opacity: of Principled BSDFs, and of mixtures with a Transparent BSDF."""
        found = []
        for node in self._tree.nodes:
            if node.type == "BSDF_PRINCIPLED":
                found.append(node.inputs["Alpha"])
            # A mixture controlled by the ray type hides glowing surfaces from other rays; it is not an opacity.
            elif node.type == "MIX_SHADER" and _is_opacity(node):
                found.append(node.inputs[0])
        return found

    def source(self, socket: bpy.types.NodeSocket) -> Value:
        """Return the source of an input: an output, or a value."""
        return socket.links[0].from_socket if socket.is_linked else socket.default_value

    def output(self, shader: bpy.types.NodeSocket) -> None:
        """Link the shader to the output of the surface, or of the world."""
        node = self._tree.nodes.new("ShaderNodeOutputWorld" if self._world else "ShaderNodeOutputMaterial")
        self._tree.links.new(shader, node.inputs["Surface"])

    def _operate(self, kind: str, operation: str, operands: tuple[Value, ...]) -> bpy.types.NodeSocket:
        node = self._tree.nodes.new(kind)
        node.operation = operation
        for socket, value in zip(node.inputs, operands, strict=False):
            self.feed(socket, value)
        return node.outputs[0]

    def feed(self, socket: bpy.types.NodeSocket, value: Value) -> None:
        """Link an output to an input, or set the input's value."""
        if isinstance(value, bpy.types.NodeSocket):
            self._tree.links.new(value, socket)
        else:
            socket.default_value = value


def _is_opacity(mixture: bpy.types.Node) -> bool:
    factor, first = (_source_type(socket) for socket in mixture.inputs[:2])
    return first == "BSDF_TRANSPARENT" and factor != "LIGHT_PATH"


def _source_type(socket: bpy.types.NodeSocket) -> str:
    return socket.links[0].from_node.type if socket.is_linked else ""
