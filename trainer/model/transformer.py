"""The distribution transformer G_θ (paper, section 3.1): a graph network that changes a scene graph's attributes."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.nn import RGCNConv

from trainer.model.encoding import Encoding, GraphBatch

#: Hidden features of a node, and rounds of messages along the edges.
WIDTH, ROUNDS = 32, 2


class DistributionTransformer(nn.Module):
    """Maps the mutable attributes of scene graphs to new values; structure and everything else stay.

    Each round of messages has its own weights for a node itself, for its parent (top-down edges) and for its children
    (bottom-up edges). The network learns changes: its output is added to the codes of the attributes, or turns them.

    `shift` holds one offset per mutable attribute of a kind, in its unit, that is applied first. The global stage sets
    it (`trainer.learning.search`); gradients do not.
    """

    shift: Tensor  # float32 [len(encoding.mutable)]

    def __init__(self, encoding: Encoding, generator: torch.Generator) -> None:
        super().__init__()
        self.encoding = encoding
        # PyTorch draws initial weights from its global generator: give it our seed, and put it back.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
            self.input = nn.Linear(encoding.columns, WIDTH)
            self.rounds = nn.ModuleList(RGCNConv(WIDTH, WIDTH, num_relations=2) for _ in range(ROUNDS))
            self.output = nn.Linear(WIDTH, encoding.columns)
        self.register_buffer("shift", torch.zeros(len(encoding.mutable)))

    def forward(self, batch: GraphBatch) -> Tensor:
        """New values [M] of the mutable attributes, in their units."""
        return self.encoding.decode(self._codes(batch), batch)

    def reconstruct(self, batch: GraphBatch) -> "Reconstruction":
        """What comes out where the identity is wanted (the pre-training)."""
        codes = self._codes(batch)
        kinds, classes = len(self.encoding.kinds), len(self.encoding.classes)
        return Reconstruction(codes[:, :kinds], codes[:, kinds : kinds + classes], codes[:, self.encoding.numeric])

    def _codes(self, batch: GraphBatch) -> Tensor:
        hidden = F.relu(self.input(batch.nodes))
        for messages in self.rounds:
            hidden = F.relu(messages(hidden, batch.edges, batch.relations)) + hidden
        return self._changed(self._shifted(batch), self.output(hidden))

    def _changed(self, nodes: Tensor, output: Tensor) -> Tensor:
        """The rows [N, columns] with the network's output applied: turned where it is an angle, else added.

        An angle's output (a, b) turns by the angle of (1 + a, b). Adding it instead would pull angles together wherever
        it turns them, and so shrink their spread.
        """
        codes = nodes + output
        for slot in self.encoding.slots.values():
            if slot.is_angle:
                cosine, sine = nodes[:, slot.start], nodes[:, slot.start + 1]
                a, b = 1 + output[:, slot.start], output[:, slot.start + 1]
                turned = torch.stack([a * cosine - b * sine, b * cosine + a * sine], 1)
                codes[:, slot.start : slot.stop] = turned
        return codes

    def _shifted(self, batch: GraphBatch) -> Tensor:
        """The rows [N, columns] with `shift` applied to the mutable attributes."""
        nodes = batch.nodes.clone()
        for place, (_, spec) in enumerate(self.encoding.mutable):
            rows = batch.rows[batch.places == place]
            slot = self.encoding.slots[spec.name]
            code = nodes[rows, slot.start : slot.stop]
            if spec.is_angle:
                angle = torch.deg2rad(self.shift[place])
                cosine, sine = torch.cos(angle), torch.sin(angle)
                turn = torch.stack([torch.stack([cosine, sine]), torch.stack([-sine, cosine])])
                nodes[rows, slot.start : slot.stop] = code @ turn
            else:
                nodes[rows, slot.start : slot.stop] = code + self.shift[place] / self.encoding.unit_of(spec)
        return nodes


@dataclass(frozen=True)
class Reconstruction:
    """The parts of a row as they come out."""

    kind_logits: Tensor  # [N, kinds]
    class_logits: Tensor  # [N, classes]
    numeric: Tensor  # [N, numeric columns]

    def loss(self, batch: GraphBatch, encoding: Encoding) -> Tensor:
        """Cross-entropy of the categorical components plus L1 of the continuous ones (paper, section 3.2.1)."""
        kinds = batch.nodes[:, : len(encoding.kinds)].argmax(1)
        loss = F.cross_entropy(self.kind_logits, kinds)
        classed = batch.classes >= 0
        if bool(classed.any()):
            loss = loss + F.cross_entropy(self.class_logits[classed], batch.classes[classed])
        return loss + (self.numeric - batch.nodes[:, encoding.numeric]).abs().sum(1).mean()
