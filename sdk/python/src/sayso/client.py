"""The client for code without asyncio. `sayso.aio` has the same for code with it."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

import grpc

from sayso import _operations as operations
from sayso._block import Renderer, render
from sayso._caller import Caller
from sayso._defaults import Defaults, Extractor
from sayso._person import Person
from sayso._remembering import Categorizer
from sayso._replies import require_name
from sayso._settings import Settings, StrPath, TokenSource
from sayso._using import Use
from sayso._watch import Watch
from sayso._watching import WatchState
from sayso.answers import Check, Explanation, Receipt, Revocation
from sayso.cursor import CursorStore

__all__ = ["Ledger", "Person", "Use", "Watch"]


class Ledger:
    """A connection to a ledger. Threads may share it."""

    def __init__(
        self,
        address: str | None = None,
        *,
        token: TokenSource | None = None,
        token_file: StrPath | None = None,
        role: str = "service-channel",
        data: StrPath | None = None,
        ca: StrPath | None = None,
        cert: StrPath | None = None,
        key: StrPath | None = None,
        insecure: bool = False,
        timeout: float = 10.0,
        reply_timeout: float = 2.0,
        extractor: Extractor | None = None,
        categorizer: Categorizer | None = None,
        renderer: Renderer = render,
    ) -> None:
        """Prepares a connection, which is made with the first call.

        Args:
            address: `https://host:port`, or `http://host:port` on this machine. Default: `SAYSO_ADDR`, or else the
                daemon that `sayso serve --dev` runs in `data`.
            token: The token, or a function that returns it and is called for each call.
            token_file: A file with the token, which is read again when it changes. Default: `SAYSO_TOKEN_FILE`, or else
                the token of a `--dev` daemon for `role`.
            role: The role of the token of a `--dev` daemon.
            data: The data folder of a `--dev` daemon. Default: `SAYSO_DATA`, or else `sayso-data`.
            ca: The certificates (PEM) that signed the daemon's. Default: `SAYSO_CA`, or else those of the system.
            cert: A client certificate (PEM). Default: `SAYSO_CERT`.
            key: Its private key (PEM). Default: `SAYSO_KEY`.
            insecure: Allow sending the token unencrypted to another machine.
            timeout: The deadline of a call, in seconds, with all its retries.
            reply_timeout: The deadline of the calls that a reply waits for.
            extractor: Finds the facts in a text, for `remember_from`.
            categorizer: Chooses the category of a fact that has none.
            renderer: Makes the block of a use.

        Raises:
            ConfigurationError: The arguments do not fit together, or would not be safe.
        """
        settings = Settings.resolve(
            address,
            token=token,
            token_file=token_file,
            role=role,
            data=data,
            ca=ca,
            cert=cert,
            key=key,
            insecure=insecure,
        )
        self._caller = Caller(settings, Defaults(timeout, reply_timeout, extractor, categorizer, renderer))

    @property
    def channel(self) -> grpc.Channel:
        """The gRPC channel, for the calls of `sayso.v1` that this class does not have."""
        return self._caller.channel

    def person(self, person: str) -> Person:
        """Returns what can be asked and said about a person, by the controller's own id of them."""
        return Person(self._caller, person)

    def check(self, grant: str) -> Check:
        """Asks whether one of the caller's grants is valid now."""
        return self._caller.run(operations.check_grant(grant))

    def why(self, *, reply: str = "", grant: str = "") -> Explanation:
        """Explains on whose say-so a reply was made, by the name of the reply or by the id of its grant.

        A reply is found if `use` named it, or if this process reported it. For other replies, give the grant.

        Raises:
            InvalidRequestError: Neither was given.
            NotFoundError: The reply or the grant is not known.
        """
        require_name(reply, grant)
        return self._caller.run(operations.explain_grant(grant or self._caller.replies.grant_of(reply)))

    def publish_notice(self, notice: str, text: str, *, version: str = "1", language: str = "en") -> Receipt:
        """Publishes a version of a notice, the text that people see when they consent. For stewards."""
        return self._caller.run(operations.publish_notice(notice, text, version, language))

    def on_revoked(
        self,
        callback: Callable[[Revocation], object],
        *,
        cursor_store: CursorStore | None = None,
        on_error: Callable[[Exception], object] | None = None,
    ) -> Watch:
        """Calls a function for each revocation of the caller's grants and artifacts, in a thread of its own.

        Once the function returns, the revocation is acknowledged and its cursor is saved. If the function raises, the
        revocation is delivered again. With a store, the watch continues where the last one ended, even in another
        process; if the store is empty, it starts at the beginning.
        """
        return Watch(self._caller, callback, WatchState(cursor_store), on_error)

    def close(self) -> None:
        """Closes the connection."""
        self._caller.channel.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
