"""What the user may write as an endpoint, and what becomes of it."""

import asyncio

import pytest

from trainer.errors import InputError
from trainer.pool.resolver import Endpoint, parse_endpoints


@pytest.mark.parametrize(
    ("text", "endpoints"),
    [
        ("127.0.0.1:50051", [Endpoint("127.0.0.1", 50051)]),
        ("render:1", [Endpoint("render", 1)]),
        ("dns:///render:50051", [Endpoint("render", 50051)]),
        ("[::1]:7", [Endpoint("::1", 7)]),
        ("a:1, b:2,", [Endpoint("a", 1), Endpoint("b", 2)]),
        ("unix:/run/render.sock", [Endpoint("", 0, "/run/render.sock")]),
        ("unix:///run/render.sock", [Endpoint("", 0, "/run/render.sock")]),
    ],
)
def test_endpoints_are_read(text: str, endpoints: list[Endpoint]) -> None:
    assert parse_endpoints(text) == endpoints


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "renderer '' names no endpoint; write HOST:PORT"),
        (" , ", "renderer ' , ' names no endpoint"),
        ("render", "renderer 'render' has no host or no port; write HOST:PORT, e.g. 127.0.0.1:50051"),
        (":50051", "renderer ':50051' has no host or no port"),
        ("render:", "renderer 'render:' has the port ''; it must be from 1 to 65535"),
        ("render:http", "renderer 'render:http' has the port 'http'; it must be from 1 to 65535"),
        ("render:70000", "renderer 'render:70000' has the port '70000'; it must be from 1 to 65535"),
        ("render:0", "renderer 'render:0' has the port '0'"),
    ],
)
def test_what_is_no_endpoint(text: str, error: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_endpoints(text)
    assert str(caught.value).startswith(error)


def test_a_name_becomes_addresses_and_localhost_is_one_worker() -> None:
    assert asyncio.run(Endpoint("localhost", 5).resolve()) == {"ipv4:127.0.0.1:5"}
    assert asyncio.run(Endpoint("::1", 5).resolve()) == {"ipv6:[::1]:5"}
    assert asyncio.run(Endpoint("", 0, "/x.sock").resolve()) == {"unix:/x.sock"}


def test_endpoints_are_shown_as_they_are_written() -> None:
    assert [str(endpoint) for endpoint in parse_endpoints("a:1,[::1]:2,unix:/x")] == ["a:1", "[::1]:2", "unix:/x"]
