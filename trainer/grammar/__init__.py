"""Scene grammars: the YAML language, sampling, scene graphs."""

from trainer.assets.asset_sets import AssetRef
from trainer.errors import GrammarError
from trainer.grammar.files import load_grammar
from trainer.grammar.grammar import Grammar
from trainer.grammar.nodes import AttributeSpec, Node, NodeKind
from trainer.grammar.scene_graph import MutableAttribute, SceneGraph

__all__ = [
    "AssetRef",
    "AttributeSpec",
    "Grammar",
    "GrammarError",
    "MutableAttribute",
    "Node",
    "NodeKind",
    "SceneGraph",
    "load_grammar",
]
