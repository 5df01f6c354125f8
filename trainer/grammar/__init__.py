"""Scene grammars: the YAML language, sampling, scene graphs."""

from trainer.data.asset_sets import AssetRef
from trainer.grammar.errors import GrammarError
from trainer.grammar.experiment import Experiment, Target, load_experiment
from trainer.grammar.grammar import Grammar
from trainer.grammar.loading import load_grammar
from trainer.grammar.scene_graph import AttributeSpec, MutableAttribute, Node, NodeKind, SceneGraph

__all__ = [
    "AssetRef",
    "AttributeSpec",
    "Experiment",
    "Grammar",
    "GrammarError",
    "MutableAttribute",
    "Node",
    "NodeKind",
    "SceneGraph",
    "Target",
    "load_experiment",
    "load_grammar",
]
