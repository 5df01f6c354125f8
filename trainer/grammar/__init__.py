"""Scene grammars: the YAML language, sampling, scene graphs."""

from trainer.assets.asset_sets import AssetRef
from trainer.grammar.errors import GrammarError
from trainer.grammar.grammar import Grammar
from trainer.grammar.loading import load_grammar
from trainer.grammar.scene_graph import AttributeSpec, MutableAttribute, Node, NodeKind, SceneGraph

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
