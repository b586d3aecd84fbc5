"""Where the daemon is and how to call it: addresses, TLS, credentials, retries and deadlines."""

from __future__ import annotations

import ipaddress
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import grpc

from sayso.errors import ConfigurationError, CredentialError

__all__ = ["Credentials", "Settings", "StrPath", "TokenSource"]

StrPath = str | os.PathLike[str]
TokenSource = str | Callable[[], str]
_TOKEN_BYTES_MAX = 16 * 1024

# Every write has an idempotency key, so repeating it after a lost connection does nothing twice. UNAVAILABLE is the
# only code that always means "try again": RESOURCE_EXHAUSTED can also mean that a person's record is full.
_RETRY = {
    "maxAttempts": 5,
    "initialBackoff": "0.2s",
    "maxBackoff": "3s",
    "backoffMultiplier": 2.5,
    "retryableStatusCodes": ["UNAVAILABLE"],
}
# Facts, reports and what a person says wait until the daemon can be reached, up to their deadline. A reply does not
# wait: it is made without personal data.
_PATIENT = [{"service": f"sayso.v1.{service}"} for service in ("ConsentService", "ProfileService", "RightsService")] + [
    {"service": "sayso.v1.GrantService", "method": method} for method in ("Acknowledge", "ReportUse")
]
SERVICE_CONFIG = json.dumps(
    {
        "methodConfig": [
            {"name": [{}], "retryPolicy": _RETRY},
            {"name": _PATIENT, "retryPolicy": _RETRY, "waitForReady": True},
        ]
    }
)
_CHANNEL_OPTIONS: tuple[tuple[str, str | int], ...] = (
    ("grpc.enable_retries", 1),
    ("grpc.service_config", SERVICE_CONFIG),
    # A grant may have 3 MiB of attributes and as much again of what surrounds them.
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
    # Finds out that a watch's connection is dead.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # A daemon that was restarted is found again soon.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # Two ledgers with different credentials don't share a connection.
    ("grpc.use_local_subchannel_pool", 1),
)


class Credentials:
    """The token of the calls. A file is read again when it changes; a function is called for each call."""

    def __init__(self, source: TokenSource | None, file: Path | None) -> None:
        self._source = source
        self._file = file
        self._seen: tuple[int, int, int] | None = None
        self._token = ""

    def token(self) -> str:
        """Returns the token to send now. It is empty if the client certificate is the credential.

        Raises:
            CredentialError: The file cannot be read, or the function failed.
        """
        try:
            if self._file is not None:
                return self._from_file(self._file)
            token = self._source() if callable(self._source) else self._source or ""
        except CredentialError:
            raise
        except Exception as error:
            raise CredentialError(f"no token: {error}", reason="NO_TOKEN") from error
        return _checked(token)

    def _from_file(self, file: Path) -> str:
        status = file.stat()
        seen = (status.st_mtime_ns, status.st_size, status.st_ino)
        if seen != self._seen:
            with file.open(encoding="ascii") as opened:
                token = _checked(opened.read(_TOKEN_BYTES_MAX + 1))
            self._token, self._seen = token, seen
        return self._token


def _checked(token: str) -> str:
    token = token.strip()
    if len(token) > _TOKEN_BYTES_MAX or not token.isascii() or not token.isprintable():
        raise CredentialError("no token: it must be printable ASCII of at most 16 KiB", reason="NO_TOKEN")
    return token


@dataclass(frozen=True)
class Settings:
    """A daemon and how to call it, with all defaults resolved."""

    target: str
    """The target of the gRPC channel."""
    credentials: Credentials
    tls: grpc.ChannelCredentials | None
    """Absent for a connection that is not encrypted."""
    is_loopback: bool

    @staticmethod
    def resolve(
        address: str | None,
        *,
        token: TokenSource | None,
        token_file: StrPath | None,
        role: str,
        data: StrPath | None,
        ca: StrPath | None,
        cert: StrPath | None,
        key: StrPath | None,
        insecure: bool,
    ) -> Settings:
        """Resolves the settings as the `sayso` command does: arguments, then environment, then a `--dev` daemon.

        Raises:
            ConfigurationError: The address is not usable, files are missing, or a token would be sent unencrypted.
        """
        env = os.environ
        dev = Path(data or env.get("SAYSO_DATA") or "sayso-data") / "dev"
        named = address or env.get("SAYSO_ADDR") or ""
        target, is_encrypted, is_loopback = _target(named or _dev_address(dev) or "http://127.0.0.1:7117")
        cert, key, ca = cert or env.get("SAYSO_CERT"), key or env.get("SAYSO_KEY"), ca or env.get("SAYSO_CA")
        if token is None and token_file is None:
            token_file = env.get("SAYSO_TOKEN_FILE") or None
        if token is None and token_file is None and not cert and is_loopback:
            # The token of a `--dev` daemon is for this machine only.
            of_role = dev / f"{role}.token"
            token_file = of_role if of_role.exists() else None
        if token is not None and token_file is not None:
            raise ConfigurationError("give a token or a token file, not both")
        has_token = token is not None or token_file is not None
        if has_token and not is_encrypted and not is_loopback and not insecure:
            raise ConfigurationError("the token would be sent unencrypted; use https://, or insecure=True")
        if not is_encrypted and (ca or cert or key) and named:
            raise ConfigurationError("certificates need an address with https://")
        credentials = Credentials(token, Path(token_file) if token_file is not None else None)
        tls = _tls(ca, cert, key) if is_encrypted else None
        return Settings(target, credentials, tls, is_loopback)

    def channel_options(self) -> list[tuple[str, str | int]]:
        """Returns the options of the gRPC channel. A proxy is never used to reach this machine itself."""
        return [*_CHANNEL_OPTIONS, ("grpc.enable_http_proxy", 0 if self.is_loopback else 1)]

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Returns the metadata of the next call.

        Raises:
            CredentialError: There is no token to send.
        """
        token = self.credentials.token()
        return (("authorization", f"Bearer {token}"),) if token else ()


def _dev_address(dev: Path) -> str:
    try:
        return (dev / "address").read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _target(address: str) -> tuple[str, bool, bool]:
    """Returns the gRPC target, whether it is encrypted, and whether it is this machine."""
    try:
        url = urlsplit(address)
        host, port = url.hostname or "", url.port
    except ValueError as error:
        raise ConfigurationError(f"the address is not a URL: {error}") from error
    if url.scheme not in ("http", "https") or not host or port is None:
        raise ConfigurationError("the address must have the form https://host:port or http://host:port")
    if url.username is not None or url.password is not None or url.path not in ("", "/") or url.query or url.fragment:
        raise ConfigurationError("the address must not have a user name, a password, a path or a query")
    try:
        is_loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = host == "localhost"
    shown = f"[{host}]" if ":" in host else host
    return f"{shown}:{port}", url.scheme == "https", is_loopback


def _tls(ca: StrPath | None, cert: StrPath | None, key: StrPath | None) -> grpc.ChannelCredentials:
    if bool(cert) != bool(key):
        raise ConfigurationError("a client certificate needs both `cert` and `key`")
    parts: Mapping[str, bytes | None] = {name: _read(path) for name, path in (("ca", ca), ("cert", cert), ("key", key))}
    return grpc.ssl_channel_credentials(parts["ca"], parts["key"], parts["cert"])


def _read(path: StrPath | None) -> bytes | None:
    try:
        return Path(path).read_bytes() if path else None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
