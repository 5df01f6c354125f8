"""Workers that want to know who asks, and a client that wants to know who answers."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.certificates import Authority, Pair
from support.servers import Server, server
from support.tasks import ASSETS, sprite_task

from trainer.cli import main
from trainer.environment import Settings
from trainer.errors import InputError, PoolUnreachable
from trainer.pool import PoolSettings, RenderPool
from trainer.pool.security import Security
from trainer.pool.status import pool_status


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Nobody's authority."""
    return Authority(tmp_path_factory.mktemp("stranger"), "stranger")


@pytest.fixture(scope="module")
def token_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("token") / "token"
    path.write_text("correct-horse-battery\n")
    return path


def worker(*options: object) -> Iterator[Server]:
    with server("--engine", "fake", "--workers", "1", *map(str, options)) as running:
        yield running


def with_pair(pair: Pair) -> tuple[object, ...]:
    return "--tls-cert", pair.certificate, "--tls-key", pair.key


@pytest.fixture(scope="module")
def encrypted(authority: Authority, token_file: Path) -> Iterator[Server]:
    """TLS and a token."""
    yield from worker(*with_pair(authority.pair("server")), "--token-file", token_file)


@pytest.fixture(scope="module")
def mutual(authority: Authority) -> Iterator[Server]:
    """TLS for clients with a certificate."""
    pair = authority.pair("mutual")
    yield from worker(*with_pair(pair), "--tls-client-ca", authority.certificate)


@pytest.fixture(scope="module")
def expired(authority: Authority) -> Iterator[Server]:
    yield from worker(*with_pair(authority.pair("expired", expired=True)))


@pytest.fixture(scope="module")
def plain() -> Iterator[Server]:
    yield from worker()


def renders(address: str, security: Security) -> bool:
    """Whether a task comes back; raises what the pool raises, which must not take long."""
    began_s = time.monotonic()
    try:
        with RenderPool(address, assets=ASSETS.__getitem__, settings=PoolSettings(security=security)) as pool:
            return pool.render([sprite_task("one")])[0].id == "one"
    finally:
        assert time.monotonic() - began_s < 15  # Half of the time for which it waits for a worker.


def test_tls_and_a_token(encrypted: Server, authority: Authority, token_file: Path) -> None:
    settings = Settings.from_environment(
        {"METASIM_TLS_CA": str(authority.certificate), "METASIM_TOKEN_FILE": str(token_file)}
    )
    security = Security.from_settings(settings)
    assert renders(encrypted.address, security)
    assert [one.problem for one in pool_status(encrypted.address, watch_s=0.0, security=security)] == [""]
    assert "correct-horse" not in repr(security)


def test_mutual_tls(mutual: Server, authority: Authority) -> None:
    pair = authority.pair("client")
    assert renders(mutual.address, Security(str(authority.certificate), pair.certificate, pair.key))


def test_who_is_refused_is_told_why_at_once(
    request: pytest.FixtureRequest, authority: Authority, stranger: Authority, subtests: pytest.Subtests
) -> None:
    ours, theirs = str(authority.certificate), stranger.pair("intruder")
    cases = {
        "wrong token": (
            "encrypted",
            Security(ours, token="wrong"),
            "it refuses the token in METASIM_TOKEN_FILE or METASIM_TOKEN",
        ),
        "no token": ("encrypted", Security(ours), "it requires a token: set METASIM_TOKEN_FILE or METASIM_TOKEN"),
        "expired certificate": (
            "expired",
            Security(ours),
            "the worker's certificate has expired: start it with a new one",
        ),
        "another authority": (
            "encrypted",
            Security(str(stranger.certificate)),
            "its certificate is not signed by one in METASIM_TLS_CA",
        ),
        "plain client, TLS worker": (
            "encrypted",
            Security(),
            "it requires TLS: set METASIM_TLS_CA to the certificate that signed its own",
        ),
        "TLS client, plain worker": (
            "plain",
            Security(ours),
            "it does not use TLS: unset METASIM_TLS_CA, or start it with --tls-cert and --tls-key",
        ),
        "no certificate": (
            "mutual",
            Security(ours),
            "it requires a client certificate: set METASIM_TLS_CERT and METASIM_TLS_KEY",
        ),
        "a stranger's certificate": (
            "mutual",
            Security(ours, theirs.certificate, theirs.key),
            "it refuses the certificate in METASIM_TLS_CERT: a certificate in its --tls-client-ca must have signed it",
        ),
    }
    for name, (where, security, reason) in cases.items():
        with subtests.test(name):
            address = request.getfixturevalue(where).address
            with pytest.raises(PoolUnreachable) as caught:
                renders(address, security)
            assert str(caught.value) == f"cannot render at {address}: ipv4:{address}: {reason}"


def test_a_certificate_for_another_name(authority: Authority) -> None:
    for running in worker(*with_pair(authority.pair("elsewhere")), "--host", "127.0.0.2"):
        with pytest.raises(PoolUnreachable) as caught:
            renders(running.address, Security(str(authority.certificate)))
    assert str(caught.value).endswith(
        "its certificate is not valid: IP address mismatch, certificate is not valid for '127.0.0.2'."
    )


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        (
            {"METASIM_TLS_CERT": "c.pem"},
            "METASIM_TLS_CERT and METASIM_TLS_KEY must both be set; only one is",
        ),
        (
            {"METASIM_TLS_CERT": "c.pem", "METASIM_TLS_KEY": "k.pem"},
            "METASIM_TLS_CERT needs METASIM_TLS_CA, the certificate that signed those of the workers",
        ),
        (
            {"METASIM_TLS_CA": "/none/ca.pem"},
            "METASIM_TLS_CA names /none/ca.pem, which cannot be read: No such file or directory",
        ),
        (
            {"METASIM_TOKEN_FILE": "/none/token"},
            "METASIM_TOKEN_FILE names /none/token, which cannot be read: No such file or directory",
        ),
        (
            {"METASIM_TOKEN": "two\nlines"},
            "the token (METASIM_TOKEN_FILE, METASIM_TOKEN) must be one line of printable ASCII",
        ),
    ],
)
def test_an_environment_that_is_wrong(environment: dict[str, str], message: str) -> None:
    with pytest.raises(InputError) as caught:
        Security.from_settings(Settings.from_environment(environment))
    assert str(caught.value) == message


def test_the_command_line_says_it_in_one_line(
    encrypted: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], authority: Authority
) -> None:
    monkeypatch.setenv("METASIM_TLS_CA", str(authority.certificate))
    monkeypatch.setenv("METASIM_TOKEN", "wrong")
    assert main(["grammar", "sample", "mnist-rot", "--renderer", encrypted.address]) == 2
    said = capsys.readouterr().err.splitlines()
    assert said[-1] == (
        f"metasim: cannot render at {encrypted.address}: ipv4:{encrypted.address}: "
        "it refuses the token in METASIM_TOKEN_FILE or METASIM_TOKEN"
    )
