"""The conformance suite of the wire: each rule of the specification that a worker's answers can show is one check."""

import asyncio

import grpc
from metasim.v1 import render_pb2 as pb

from trainer.checks import appearance_rules, asset_rules, column_rules, invalid_rules, output_rules, stream_rules
from trainer.checks.conformance import FAIL, PASS, SKIP, Outcome, Rule, Worker
from trainer.checks.conversation import Broken, open_channel
from trainer.environment import Settings
from trainer.errors import PoolUnreachable
from trainer.pool.event_loop import shared_loop
from trainer.pool.resolver import parse_endpoints
from trainer.pool.security import Security

#: Every check, in the order in which they run.
RULES: tuple[Rule, ...] = (
    *stream_rules.RULES,
    *asset_rules.RULES,
    *output_rules.RULES,
    *column_rules.RULES,
    *appearance_rules.RULES,
    *invalid_rules.RULES,
)


def check_endpoint(endpoint: str, *, timeout_s: float = 60.0) -> list[Outcome]:
    """Check the first worker behind an endpoint against every rule.

    Args:
        endpoint: as `RenderPool` takes it.
        timeout_s: how long one conversation with the worker may take.

    Raises:
        InputError: the endpoint is malformed.
        PoolUnreachable: no worker answers there.
    """
    security = Security.from_settings(Settings.from_environment())
    (first, *_) = parse_endpoints(endpoint)
    try:
        targets = asyncio.run_coroutine_threadsafe(first.resolve(), shared_loop()).result()
    except OSError as error:
        raise PoolUnreachable(f"{first}: {error.strerror or error}") from None
    target = min(targets, default="")
    if not target:
        raise PoolUnreachable(f"{first} has no address")
    with open_channel(target, first.server_name, security) as channel:
        worker = Worker(target, first.server_name, security, timeout_s, channel, pb.DescribeResponse())
        try:
            worker.description = worker.describe()
        except grpc.RpcError as error:
            raise PoolUnreachable(f"{first} does not answer: {error.code().name}: {error.details()}") from None
        return [_outcome(rule, worker) for rule in RULES]


def _outcome(rule: Rule, worker: Worker) -> Outcome:
    missing = [pb.Feature.Name(feature) for feature in rule.needs if not worker.has(feature)]
    if missing:
        return Outcome(rule.name, rule.text, SKIP, f"the worker does not state {', '.join(missing)}")
    try:
        rule.check(worker)
    except Broken as error:
        return Outcome(rule.name, rule.text, FAIL, " ".join(str(error).split()))
    except grpc.RpcError as error:
        return Outcome(rule.name, rule.text, FAIL, f"{error.code().name}: {error.details()}")
    except (ValueError, KeyError, IndexError) as error:  # A tensor that cannot be read, an answer that is missing.
        return Outcome(rule.name, rule.text, FAIL, f"the answer cannot be used: {' '.join(str(error).split())}")
    return Outcome(rule.name, rule.text, PASS)
