"""The distribution transformer G_θ (paper, section 3.1): a graph network that changes a scene graph's attributes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.nn import RGCNConv

from trainer.grammar.nodes import MODE
from trainer.model.encoding import Encoding, GraphBatch

#: Hidden features of a node, and rounds of messages along the edges.
WIDTH, ROUNDS = 32, 2


class DistributionTransformer(nn.Module):
    """Maps the mutable attributes of scene graphs to new values; structure and everything else stay.

    Each round of messages has its own weights for a node itself, for its parent (top-down edges) and for its children
    (bottom-up edges). The network learns changes: its output is added to the codes of numeric attributes, or turns
    them. Of categorical attributes, which are drawn anew, it gives the probabilities: those of `log_prior`, changed by
    its output.

    What a stage may change, and the first probabilities, stand in buffers:

    Attributes:
        log_prior: float32 [len(encoding.choices), most categories]: -inf where a category is impossible.
        active: bool [len(encoding.mutable)]: attributes that may change yet; others keep the values of the scene.
        redrawn: bool [len(encoding.choices)]: the same for categorical attributes.
    """

    log_prior: Tensor
    active: Tensor
    redrawn: Tensor

    def __init__(self, encoding: Encoding, generator: torch.Generator) -> None:
        super().__init__()
        self.encoding = encoding
        # PyTorch draws initial weights from its global generator: give it our seed, and put it back.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
            self.input = nn.Linear(encoding.columns, WIDTH)
            self.rounds = nn.ModuleList(RGCNConv(WIDTH, WIDTH, num_relations=2) for _ in range(ROUNDS))
            self.output = nn.Linear(WIDTH, encoding.columns)
        with torch.no_grad():  # At first the probabilities are the prior's.
            self.output.weight[encoding.categorical] = 0
            self.output.bias[encoding.categorical] = 0
        numbers, choices = len(encoding.mutable), len(encoding.choices)
        self.register_buffer("active", torch.ones(numbers, dtype=torch.bool))
        self.register_buffer("redrawn", torch.ones(choices, dtype=torch.bool))
        most = max((len(choice.categories) for _, choice in encoding.choices), default=1)
        self.register_buffer("log_prior", torch.full((choices, most), -torch.inf))
        for place, (_, choice) in enumerate(encoding.choices):
            self.log_prior[place, : len(choice.categories)] = torch.tensor(choice.probabilities).log()
        self.to(encoding.device)

    def forward(self, batch: GraphBatch) -> Tensor:
        """New values [M] of the mutable attributes, in their units, at the batch's categories."""
        values = self.encoding.decode(self._codes(batch), batch)
        return torch.where(self.active[batch.places], values, batch.values)

    def log_probabilities(self, batch: GraphBatch) -> Tensor:
        """Of each category of the mutable categorical attributes [C, most categories]; -inf where there is none.

        Those of a mode depend on the batch's other categories, and those of the others on none.
        """
        nodes = batch.nodes.clone()
        nodes[:, self.encoding.categorical] = 0
        output = self.output(self._hidden(nodes, batch))
        if self.modes_depend:
            nodes = batch.nodes.clone()
            for place in self.encoding.mode_places:
                start = self.encoding.choice_starts[place]
                nodes[:, start : start + len(MODE.categories)] = 0
            given = self.output(self._hidden(nodes, batch))
            of_modes = torch.zeros(self.encoding.columns, dtype=torch.bool, device=output.device)
            for place in self.encoding.mode_places:
                start = self.encoding.choice_starts[place]
                of_modes[start : start + len(MODE.categories)] = True
            output = torch.where(of_modes, given, output)
        columns = torch.tensor(self.encoding.choice_starts, dtype=torch.int64).to(output.device)[batch.choice_places]
        wanted = columns[:, None] + torch.arange(self.log_prior.shape[1], device=output.device)
        logits = output[batch.choice_rows[:, None], wanted.clamp_max(self.encoding.columns - 1)]
        return (self.log_prior[batch.choice_places] + logits).log_softmax(1)

    @property
    def modes_depend(self) -> bool:
        """Whether a kind has several modes and other categories that are drawn before."""
        kinds = [kind for kind, choice in self.encoding.choices if choice is not MODE]
        return any(len(self.modes(kind)) > 1 for kind in set(kinds) & {kind for kind, _ in self.encoding.mutable})

    def modes(self, kind: str) -> dict[int, float]:
        """First weights of the possible modes of a kind's nodes."""
        weights = self.log_prior[self._mode_place(kind)].exp()
        return {mode: float(weight) for mode, weight in enumerate(weights) if weight > 0}

    def open_modes(self, kind: str, weights: np.ndarray) -> None:
        """Give the first modes of a kind these weights; the others become impossible."""
        row = torch.zeros(self.log_prior.shape[1])
        row[: len(weights)] = torch.from_numpy(weights).float()
        self.log_prior[self._mode_place(kind)] = row.log()

    def learn_only(self, numbers: Sequence[int], choices: Sequence[int]) -> None:
        """Let nothing change but some attributes.

        Args:
            numbers: their places in `encoding.mutable`.
            choices: the same of categorical attributes, in `encoding.choices`.
        """
        for buffer, places in ((self.active, numbers), (self.redrawn, choices)):
            buffer.fill_(False)
            buffer[list(places)] = True

    def _mode_place(self, kind: str) -> int:
        return next(
            place for place, (name, choice) in enumerate(self.encoding.choices) if name == kind and choice is MODE
        )

    @property
    def unsettled(self) -> Tensor:
        """Bool [len(encoding.choices)]: categorical attributes that are redrawn, from more than one category."""
        return self.redrawn & (self.log_prior.isfinite().sum(1) > 1)

    def reconstruct(self, batch: GraphBatch) -> "Reconstruction":
        """What comes out where the identity is wanted (the pre-training)."""
        codes = self._codes(batch)
        kinds, classes = len(self.encoding.kinds), len(self.encoding.classes)
        return Reconstruction(codes[:, :kinds], codes[:, kinds : kinds + classes], codes[:, self.encoding.numeric])

    def _codes(self, batch: GraphBatch) -> Tensor:
        return self._changed(batch.nodes, self.output(self._hidden(batch.nodes, batch)))

    def _hidden(self, nodes: Tensor, batch: GraphBatch) -> Tensor:
        hidden = F.relu(self.input(nodes))
        for messages in self.rounds:
            hidden = F.relu(messages(hidden, batch.edges, batch.relations)) + hidden
        return hidden

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
