"""The way to the daemon: restarts, tokens, TLS, and what is refused before anything is sent."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from daemon import Daemon

import sayso
import sayso.aio
from sayso._settings import Credentials
from sayso.errors import ConfigurationError, CredentialError, NotFoundError, UnavailableError
from sayso.v1 import profile_pb2, profile_pb2_grpc


def test_writes_wait_for_a_daemon_that_restarts_and_are_written_once(own_daemon: Daemon) -> None:
    with own_daemon.ledger() as ledger, own_daemon.ledger("steward") as steward:
        person = ledger.person("ada")
        assert person.remember("before", 1, category="interest")
        own_daemon.stop()
        later = threading.Timer(0.5, own_daemon.start)
        later.start()
        became = [person.remember(f"k{number}", number, category="interest") for number in range(3)]
        assert person.say_no("memory").receipt.positions
        later.join()
        assert all(became)
        assert sorted(fact.key for fact in steward.person("ada").profile()) == ["before", "k0", "k1", "k2"]
        assert [consent.decision for consent in person.consents()] == ["refused"]


def test_calls_during_restarts_are_written_exactly_once(own_daemon: Daemon) -> None:
    stopping = threading.Event()
    done: list[str] = []

    def record() -> None:
        with own_daemon.ledger() as ledger:
            number = 0
            while not stopping.is_set():
                assert ledger.person("ada").remember(f"k{number}", number, category="interest")
                done.append(f"k{number}")
                number += 1

    thread = threading.Thread(target=record)
    thread.start()
    for _ in range(3):
        time.sleep(0.3)
        own_daemon.stop()
        own_daemon.start()
    stopping.set()
    thread.join(20)
    assert not thread.is_alive()
    assert len(done) > 3
    with own_daemon.ledger("steward") as steward:
        stub = profile_pb2_grpc.ProfileServiceStub(steward.channel)
        metadata = steward._caller._settings.metadata()
        request = profile_pb2.ListEventsRequest(subject="ada")
        events = stub.ListEvents(request, metadata=metadata).events
    recorded = [
        event.body.attribute_recorded.attribute.key for event in events if event.body.HasField("attribute_recorded")
    ]
    assert recorded == done


def test_a_token_file_is_read_again_when_it_changes(daemon: Daemon, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("expired")
    with sayso.Ledger(daemon.address, token_file=file) as ledger:
        with pytest.raises(CredentialError) as raised:
            ledger.person("ada-token").say_no()
        assert raised.value.reason == "INVALID_CREDENTIAL"
        file.write_text(daemon.token("--role", "channel", "--name", "app"))
        assert ledger.person("ada-token").say_no().receipt.positions
        file.unlink()
        with pytest.raises(CredentialError) as raised:
            ledger.person("ada-token").say_no()
        assert raised.value.reason == "NO_TOKEN"


def test_a_refused_token_is_fetched_anew_and_the_call_is_made_again(daemon: Daemon) -> None:
    tokens = iter(["expired", daemon.token("--role", "channel", "--name", "app")])
    last = ""

    def token() -> str:
        nonlocal last
        last = next(tokens, last)
        return last

    with sayso.Ledger(daemon.address, token=token) as ledger:
        assert ledger.person("ada-token").say_no().receipt.positions


async def test_a_refused_token_is_fetched_anew_with_asyncio_too(daemon: Daemon) -> None:
    good = daemon.token("--role", "channel", "--name", "app")
    tokens = iter(["expired"])
    async with sayso.aio.Ledger(daemon.address, token=lambda: next(tokens, good)) as ledger:
        assert (await ledger.person("ada-token").say_no()).receipt.positions


def test_a_token_file_is_read_only_when_it_changes_and_must_have_one_line(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("one\n")
    credentials = Credentials(None, file)
    assert credentials.token() == "one"
    status = file.stat()
    replacement = tmp_path / "new"
    replacement.write_text("two\n")
    os.utime(replacement, ns=(status.st_atime_ns, status.st_mtime_ns))
    replacement.replace(file)
    # Another file of the same size and time.
    assert credentials.token() == "two"
    file.write_text("two\nlines")
    with pytest.raises(CredentialError):
        credentials.token()


def test_a_function_that_fails_to_make_a_token_fails_closed(daemon: Daemon) -> None:
    def broken() -> str:
        raise OSError("the identity provider is away")

    with sayso.Ledger(daemon.address, token=broken) as ledger:
        with ledger.person("ada").use("memory") as use:
            assert use.block == ""
        assert isinstance(use.problem, CredentialError)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1:7117", "form"),
        ("http://127.0.0.1", "form"),
        ("ftp://127.0.0.1:1", "form"),
        ("http://user:secret@127.0.0.1:1", "user name"),
        ("http://127.0.0.1:1/path", "path"),
        ("http://127.0.0.1:99999", "URL"),
        ("http://ledger.example:7117", "unencrypted"),
        ("http://127.0.0.2.example:7117", "unencrypted"),
    ],
)
def test_addresses_that_are_wrong_or_unsafe_are_refused(address: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as raised:
        sayso.Ledger(address, token="secret")
    assert "secret" not in str(raised.value)


def test_arguments_that_do_not_fit_together_are_refused(tmp_path: Path) -> None:
    wrongs: list[dict[str, Any]] = [
        {"token": "a", "token_file": tmp_path / "b"},
        {"cert": tmp_path / "c"},
        {"ca": tmp_path / "missing"},
    ]
    for wrong in wrongs:
        with pytest.raises(ConfigurationError):
            sayso.Ledger("https://ledger.example:7117", **wrong)
    sayso.Ledger("http://ledger.example:7117", token="a", insecure=True).close()
    with pytest.raises(ConfigurationError):
        sayso.Ledger("http://ledger.example:7117", token="a", ca=tmp_path / "ca")


def test_the_token_of_a_dev_daemon_stays_on_this_machine(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAYSO_DATA", str(daemon.data))
    assert sayso.Ledger()._caller._settings.metadata()
    assert not sayso.Ledger("https://ledger.example:7117")._caller._settings.metadata()
    monkeypatch.setenv("SAYSO_ADDR", daemon.address)
    monkeypatch.setenv("SAYSO_TOKEN_FILE", str(daemon.data / "dev" / "steward.token"))
    with sayso.Ledger() as ledger, pytest.raises(NotFoundError):
        # A service would not learn that the person is unknown.
        list(ledger.person("nobody-here").profile())


class Authority:
    """Certificates for one daemon and its client, made with OpenSSL."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._openssl("req", "-x509", *_KEY, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=test", "-days", "2")
        self.issue("server", "subjectAltName=DNS:localhost,IP:127.0.0.1")
        self.issue("client", "subjectAltName=URI:spiffe://sayso.test/acme/service-channel/tutor")

    def issue(self, name: str, extension: str) -> None:
        """Makes a key and a certificate."""
        self._openssl("req", "-new", *_KEY, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        (self.folder / f"{name}.ext").write_text(f"{extension}\nbasicConstraints=CA:FALSE\n")
        signed = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", f"{name}.ext"]
        self._openssl("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", *signed)
        (self.folder / f"{name}.key").chmod(0o600)

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self.folder, check=True, capture_output=True)  # noqa: S607


_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Daemon, Path]]:
    """A daemon with TLS and client certificates."""
    folder = tmp_path_factory.mktemp("tls")
    Authority(folder)
    configuration = folder / "sayso.toml"
    configuration.write_text(
        'ledger = "sayso.test"\ncontroller = "acme"\n'
        f'[tls]\ncertificate = "{folder}/server.pem"\nkey = "{folder}/server.key"\nclient_ca = "{folder}/ca.pem"\n'
    )
    daemon = Daemon(folder, "--config", str(configuration))
    yield daemon, folder
    daemon.stop()


def test_tls_with_a_token(tls: tuple[Daemon, Path]) -> None:
    daemon, folder = tls
    token = daemon.token("--role", "service-channel", "--name", "tutor", "--config", str(folder / "sayso.toml"))
    with sayso.Ledger(f"https://localhost:{daemon.port}", ca=folder / "ca.pem", token=token) as ledger:
        assert ledger.person("ada").remember("job", "nurse", category="work")


def test_tls_with_a_client_certificate(tls: tuple[Daemon, Path]) -> None:
    daemon, folder = tls
    certificate: dict[str, Any] = {"ca": folder / "ca.pem", "cert": folder / "client.pem", "key": folder / "client.key"}
    with sayso.Ledger(f"https://localhost:{daemon.port}", **certificate) as ledger:
        assert ledger.person("ben").remember("job", "nurse", category="work")


async def test_tls_with_asyncio(tls: tuple[Daemon, Path]) -> None:
    daemon, folder = tls
    certificate: dict[str, Any] = {"ca": folder / "ca.pem", "cert": folder / "client.pem", "key": folder / "client.key"}
    async with sayso.aio.Ledger(f"https://localhost:{daemon.port}", **certificate) as ledger:
        assert await ledger.person("cid").remember("job", "nurse", category="work")


def test_a_daemon_that_another_authority_signed_is_not_trusted(tls: tuple[Daemon, Path], tmp_path: Path) -> None:
    daemon, _ = tls
    Authority(tmp_path)
    address = f"https://localhost:{daemon.port}"
    with sayso.Ledger(address, ca=tmp_path / "ca.pem", token="t", timeout=0.7) as ledger:
        with pytest.raises(UnavailableError):
            ledger.person("ada").remember("job", "nurse", category="work")
        with ledger.person("ada").use("memory") as use:
            assert (use.block, use.status) == ("", "unavailable")


def test_tls_without_a_credential_is_refused(tls: tuple[Daemon, Path]) -> None:
    daemon, folder = tls
    with (
        sayso.Ledger(f"https://localhost:{daemon.port}", ca=folder / "ca.pem") as ledger,
        pytest.raises(CredentialError),
    ):
        ledger.person("ada").remember("job", "nurse", category="work")
