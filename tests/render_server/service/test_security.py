"""Protection of a worker: over the wire, and what its command line refuses."""

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from metasim.v1 import render_pb2 as pb
from metasim.v1 import render_pb2_grpc
from support.certificates import Authority, Pair
from support.servers import METHOD, Server, run_cli, server

from render_server.service.security import is_loopback

SERVING = health_pb2.HealthCheckResponse.SERVING
TOKEN = "correct-horse-battery-staple"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("certificates")


@pytest.fixture(scope="module")
def authority(folder: Path) -> Authority:
    return Authority(folder)


@pytest.fixture(scope="module")
def token_file(folder: Path) -> Path:
    path = folder / "token"
    path.write_text(f"{TOKEN}\n")
    return path


@pytest.fixture(scope="module")
def guarded(token_file: Path) -> Iterator[Server]:
    """Without TLS, with a token."""
    with server("--engine", "fake", "--workers", "1", "--token-file", str(token_file)) as running:
        yield running
        assert running.stop() == 0


@pytest.fixture(scope="module")
def mutual(authority: Authority) -> Iterator[Server]:
    """With TLS, for clients with a certificate."""
    pair = authority.pair("server")
    options = ("--tls-cert", str(pair.certificate), "--tls-key", str(pair.key))
    with server("--engine", "fake", *options, "--tls-client-ca", str(authority.certificate)) as running:
        yield running


def secure_channel(address: str, authority: Authority, client: Pair | None = None) -> grpc.Channel:
    credentials = grpc.ssl_channel_credentials(
        authority.certificate.read_bytes(),
        client.key.read_bytes() if client else None,
        client.certificate.read_bytes() if client else None,
    )
    return grpc.secure_channel(address.replace("127.0.0.1", "localhost"), credentials)


def describe(channel: grpc.Channel, *metadata: tuple[str, str]) -> pb.DescribeResponse:
    with channel:
        stub = render_pb2_grpc.RendererStub(channel)
        return stub.Describe(pb.DescribeRequest(), metadata=metadata, timeout=20)


def status_of(channel: grpc.Channel, *metadata: tuple[str, str]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        describe(channel, *metadata)
    return caught.value.code(), caught.value.details() or ""


def test_a_token_opens_every_service(guarded: Server) -> None:
    metadata = (("authorization", f"Bearer {TOKEN}"),)
    description = describe(grpc.insecure_channel(guarded.address), *metadata)
    assert (description.encrypted, description.authenticated) == (False, True)
    with grpc.insecure_channel(guarded.address) as channel:
        call = channel.stream_stream(METHOD, response_deserializer=pb.RenderReplies.FromString)
        assert next(call(iter(()), metadata=metadata, timeout=20)).replies[0].slots.count > 0


@pytest.mark.parametrize(
    ("metadata", "details"),
    [
        ((), "this worker requires a token in the metadata 'authorization: Bearer TOKEN'"),
        ((("authorization", "Bearer wrong"),), "the token in the metadata 'authorization' is not this worker's"),
        ((("authorization", TOKEN),), "the token in the metadata 'authorization' is not this worker's"),
    ],
)
def test_without_the_token_nothing_is_served(
    guarded: Server, metadata: tuple[tuple[str, str], ...], details: str
) -> None:
    expected = (grpc.StatusCode.UNAUTHENTICATED, details)
    assert status_of(grpc.insecure_channel(guarded.address), *metadata) == expected
    with grpc.insecure_channel(guarded.address) as channel:
        # A client that waits for the slots must not wait forever.
        render = channel.stream_stream(METHOD)(iter(()), metadata=metadata, timeout=20)
        reflection = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(
            iter((reflection_pb2.ServerReflectionRequest(list_services=""),)), metadata=metadata, timeout=20
        )
        for call in (render, reflection):
            with pytest.raises(grpc.RpcError) as caught:
                next(call)
            assert (caught.value.code(), caught.value.details()) == expected


def test_health_needs_no_token(guarded: Server) -> None:
    with grpc.insecure_channel(guarded.address) as channel:
        assert health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest()).status == SERVING


def test_mutual_tls(mutual: Server, authority: Authority) -> None:
    description = describe(secure_channel(mutual.address, authority, authority.pair("client")))
    assert (description.encrypted, description.authenticated) == (True, True)


def test_a_client_without_a_certificate_is_refused(mutual: Server, authority: Authority) -> None:
    assert status_of(secure_channel(mutual.address, authority))[0] == grpc.StatusCode.UNAVAILABLE


def test_a_client_of_another_authority_is_refused(mutual: Server, authority: Authority, tmp_path: Path) -> None:
    stranger = Authority(tmp_path, "stranger").pair("stranger-client")
    assert status_of(secure_channel(mutual.address, authority, stranger))[0] == grpc.StatusCode.UNAVAILABLE


def test_an_expired_client_is_refused(mutual: Server, authority: Authority) -> None:
    old = authority.pair("old-client", expired=True)
    assert status_of(secure_channel(mutual.address, authority, old))[0] == grpc.StatusCode.UNAVAILABLE


def test_a_plain_client_on_a_tls_port_is_refused(mutual: Server) -> None:
    assert status_of(grpc.insecure_channel(mutual.address))[0] == grpc.StatusCode.UNAVAILABLE


def test_an_expired_server_is_refused_by_its_clients(authority: Authority) -> None:
    pair = authority.pair("old-server", expired=True)
    with server("--engine", "fake", "--tls-cert", str(pair.certificate), "--tls-key", str(pair.key)) as running:
        code, details = status_of(secure_channel(running.address, authority))
        assert code == grpc.StatusCode.UNAVAILABLE
        assert "CERTIFICATE_VERIFY_FAILED" in details


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_a_worker_refuses_to_listen_to_other_machines_unprotected(host: str) -> None:
    done = run_cli("serve", "--engine", "fake", "--host", host, "--port", "0")
    assert done.returncode == 2
    assert done.stderr == (
        f"error: --host {host} accepts other machines without TLS or a token; add --tls-cert and --tls-key, or "
        "--token-file, or --insecure if every machine in the network is trusted\n"
    )


def test_insecure_logs_a_warning() -> None:
    with server("--engine", "fake", "--workers", "1", "--host", "0.0.0.0", "--insecure") as running:
        assert running.stop() == 0
        assert "every machine that can reach 0.0.0.0 may use this worker, because there is no token" in running.errors


def test_a_token_alone_lets_it_listen_and_warns(token_file: Path) -> None:
    options = ("--host", "0.0.0.0", "--token-file", str(token_file))
    with server("--engine", "fake", "--workers", "1", *options) as running:
        assert running.stop() == 0
        assert "the token travels unencrypted" in running.errors


def test_options_come_from_the_environment(token_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METASIM_RENDER_TOKEN_FILE", str(token_file))
    with server("--engine", "fake", "--workers", "1") as running:
        assert status_of(grpc.insecure_channel(running.address))[0] == grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--tls-cert", "CERT"), "--tls-cert is given without --tls-key; TLS needs both"),
        (("--tls-key", "KEY"), "--tls-key is given without --tls-cert; TLS needs both"),
        (
            ("--tls-client-ca", "CERT"),
            "--tls-client-ca is given without --tls-cert and --tls-key; mutual TLS needs all three",
        ),
        (("--tls-cert", "CERT", "--tls-key", "gone.key"), "--tls-key gone.key cannot be read: No such file"),
        (("--tls-cert", "CERT", "--tls-key", "OTHER"), "are not a PEM certificate and its key (KEY_VALUES_MIS"),
        (("--tls-cert", "CERT", "--tls-key", "KEY", "--tls-client-ca", "KEY"), "contains no PEM certificate"),
        (("--token-file", "EMPTY"), "contains no token; it must be one word of printable ASCII"),
        (("--token-file", "gone"), "--token-file gone cannot be read: No such file or directory"),
    ],
)
def test_security_options_that_cannot_be_used_are_named(
    options: tuple[str, ...], says: str, authority: Authority, tmp_path: Path
) -> None:
    pair = authority.pair("one")
    empty = tmp_path / "empty"
    empty.write_text(" \n")
    names = {"CERT": pair.certificate, "KEY": pair.key, "OTHER": authority.pair("other").key, "EMPTY": empty}
    done = run_cli("serve", "--engine", "fake", "--port", "0", *(str(names.get(word, word)) for word in options))
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "127.3.2.1", "::1", "[::1]", "localhost"])
def test_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "", "no.such.name.invalid"])
def test_not_loopback(host: str) -> None:
    assert not is_loopback(host)
