"""The worker under test, and what a check of the wire's specification is."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import grpc
import numpy as np
from metasim.hashing import content_hash
from metasim.v1 import render_pb2 as pb
from PIL import Image

from trainer.checks.conversation import Conversation
from trainer.pool.security import Security

#: Names of the outcomes of a check.
PASS, FAIL, SKIP = "pass", "fail", "skip"

_DESCRIBE = f"/{pb.DESCRIPTOR.services_by_name['Renderer'].full_name}/Describe"


@dataclass(frozen=True)
class Outcome:
    """The outcome of one check.

    Attributes:
        name: of the check.
        rule: the rule of the specification.
        outcome: `PASS`, `FAIL` or `SKIP`.
        detail: how the worker breaks the rule, or why the check was skipped; empty if it passed.
    """

    name: str
    rule: str
    outcome: str
    detail: str = ""


@dataclass
class Worker:
    """The worker under test.

    Attributes:
        target: gRPC target.
        description: its `DescribeResponse`.
        assets: content of each asset that the checks' tasks name.
    """

    target: str
    server_name: str
    security: Security
    timeout_s: float
    channel: grpc.Channel
    description: pb.DescribeResponse
    assets: dict[str, bytes] = field(default_factory=dict)

    def talk(self) -> Conversation:
        """Open a stream."""
        return Conversation(self.channel, self.security, self.timeout_s)

    def describe(self) -> pb.DescribeResponse:
        """Ask the worker what it is."""
        call = self.channel.unary_unary(_DESCRIBE, response_deserializer=pb.DescribeResponse.FromString)
        return call(b"", timeout=self.timeout_s, metadata=self.security.metadata)

    def has(self, *features: "pb.Feature.ValueType") -> bool:
        """Return whether the worker states all of these features."""
        return set(features) <= set(self.description.features)

    def texture(self, pixels: np.ndarray) -> str:
        """Return the content hash of a PNG with these pixels, uint8 [h, w, 3 or 4]."""
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, format="PNG")
        data = buffer.getvalue()
        name = content_hash(data)
        self.assets[name] = data
        return name

    def render(self, task: pb.RenderTask) -> pb.RenderResult:
        """Render one task on a stream of its own."""
        with self.talk() as talk:
            talk.slots()
            for name, data in self.assets.items():
                talk.asset(name, data)
            talk.task(task)
            return talk.result()


Check = Callable[[Worker], None]


@dataclass(frozen=True)
class Rule:
    """A rule of the specification and its check, which raises `Broken`.

    Attributes:
        needs: features without which the check is skipped.
    """

    name: str
    text: str
    check: Check
    needs: Sequence["pb.Feature.ValueType"] = ()
