"""What can be asked and said about one person, for code with asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from datetime import datetime
from typing import Any

import grpc

from sayso import _operations as operations
from sayso._defaults import AsyncExtractor
from sayso._export import ExportFile
from sayso._operations import Names, Operation, Words
from sayso._remembering import Remembering, with_evidence
from sayso._replies import require_name
from sayso._rpc_errors import error_of
from sayso._settings import StrPath
from sayso.aio._caller import Caller
from sayso.aio._using import Use
from sayso.answers import (
    Consent,
    Embedding,
    Erasure,
    Explanation,
    Fact,
    ProfileFact,
    Provenance,
    Receipt,
    RecordedUse,
    Remembered,
    Said,
)
from sayso.errors import InvalidStateError, NotAllowedError, SaysoError

__all__ = ["Person"]


class Person:
    """What can be asked and said about one person."""

    def __init__(self, caller: Caller, person: str) -> None:
        self._caller = caller
        self.id = person

    # --- replies ---

    def use(
        self,
        purpose: str,
        *,
        chat: str = "",
        categories: Names = (),
        keys: Names = (),
        ttl: float | None = None,
        strict: bool = False,
        about: str = "",
        top_k: int = 8,
        embedding: Embedding | None = None,
    ) -> Use:
        """Asks what may be used for a purpose. Use it in an `async with` block, around the making of one reply.

        It fails closed: if anything goes wrong, the block is empty and says why, and nothing is raised unless `strict`
        is set. `chat` is the service's own name of the conversation; within it, grants are reused. `categories` and
        `keys` ask for less. `ttl` is how long the grant lasts, in seconds. `about` is a text, such as
        what the person wrote, and `embedding` a vector for it, of the model that computed those of the facts: only the
        `top_k` permitted facts that fit best are asked for. The ledger records neither.
        """
        return Use(self._caller, self.id, purpose, chat, categories, keys, ttl, strict, about, top_k, embedding)

    async def why(self, *, reply: str = "", grant: str = "") -> Explanation:
        """Explains on whose say-so a reply was made, by the name of the reply or by the id of its grant.

        A reply is found if `use` named it, if this process reported it, or if the credential may list uses (that of the
        person, a steward or an auditor). For other replies, give the grant.

        Raises:
            InvalidRequestError: Neither was given.
            NotFoundError: The reply or the grant is not known.
        """
        require_name(reply, grant)
        known = grant or self._caller.replies.find(reply)
        if not known:
            try:
                known = await self._in_uses(reply)
            except NotAllowedError:
                known = ""
        return await self._caller.run(operations.explain_grant(known or self._caller.replies.grant_of(reply)))

    async def _in_uses(self, reply: str) -> str:
        async for use in self.uses():
            if use.reply == reply:
                return use.grant_id
        return ""

    def uses(
        self,
        *,
        category: str = "",
        recipient: str = "",
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> AsyncIterator[RecordedUse]:
        """Lists how services used facts about the person, oldest first. For the person, stewards and auditors."""
        return self._caller.pages(
            lambda token: operations.list_uses(
                self.id, token, category=category, recipient=recipient, since=since, until=until
            )
        )

    # --- facts ---

    async def remember(
        self,
        key: str,
        value: Any,
        *,
        category: str = "",
        provenance: Provenance = "observed",
        evidence: Sequence[str] = (),
        derived_from: Sequence[str] = (),
        confidence: float | None = None,
        model: str = "",
        observed_at: datetime | None = None,
        expires_at: datetime | None = None,
        corrects: str = "",
        from_replies: Sequence[str] = (),
        idempotency_key: str | None = None,
    ) -> Remembered:
        """Records a fact about the person, in place of an earlier one with the same key. A refusal is an answer."""
        fact = Fact(
            key,
            value,
            category,
            provenance,
            evidence,
            derived_from,
            confidence,
            model,
            observed_at,
            expires_at,
            corrects,
            from_replies,
        )
        return (await self.remember_all([fact], idempotency_key=idempotency_key))[0]

    async def remember_all(
        self, facts: Sequence[Fact], *, idempotency_key: str | None = None
    ) -> tuple[Remembered, ...]:
        """Records facts about the person, each on its own, and says what became of each. A refusal is an answer.

        Raises:
            SaysoError: The ledger could not be asked. Some of the facts may be recorded; repeating them is harmless.
        """
        remembering = Remembering(self.id, facts, self._caller.defaults.categorizer, idempotency_key)
        for batch in remembering.batches():
            for alone in await self._record(remembering, batch):
                await self._record(remembering, [alone])
        return remembering.became()

    async def _record(self, remembering: Remembering, batch: list[int]) -> list[int]:
        try:
            answer = await self._caller.run(remembering.operation(batch))
        except SaysoError as error:
            return remembering.refused(batch, error)
        remembering.took(batch, answer)
        self._caller.open_uses.revoked(answer.revoked_grants, "attribute_replaced")
        return []

    async def remember_from(
        self, text: str, *, extractor: AsyncExtractor | None = None, evidence: Sequence[str] = ()
    ) -> tuple[Remembered, ...]:
        """Records the facts that an extractor finds in a text. The text itself is not sent to the ledger."""
        extract = extractor or self._caller.defaults.extractor
        if extract is None:
            raise InvalidStateError("there is no extractor; give one here or to `Ledger`")
        found = extract(text)
        facts = await found if isinstance(found, Awaitable) else found
        return await self.remember_all(with_evidence(list(facts), evidence))

    async def forget(self, keys: Names, *, reason: str = "") -> Receipt:
        """Removes facts from the profile. Their history stays until it is erased."""
        return await self._caller.run(operations.remove_attributes(self.id, keys, reason))

    def profile(self) -> AsyncIterator[ProfileFact]:
        """Lists the person's profile. For the person and stewards; a service learns facts from `use` only."""
        return self._caller.pages(lambda token: operations.get_profile(self.id, token))

    # --- what the person says ---

    async def say_yes(
        self,
        purposes: Names,
        *,
        notice: str,
        channel: str = "chat",
        categories: Names = (),
        recipients: Names = (),
        chats: Names = (),
        explicit: bool = False,
        until: datetime | None = None,
        guardian: bool = False,
        idempotency_key: str | None = None,
    ) -> Said:
        """Records that the person consents, having seen a notice. Needs a channel's, the person's or a steward's role.

        Special categories need `explicit`, and have to be named in `categories`.

        Raises:
            RefusedByPersonError: The person refused it with their own credential.
            NotAllowedError: The credential is not one through which people speak.
        """
        return await self._said(
            operations.record_consent(
                self.id,
                "given",
                purposes,
                categories=categories,
                recipients=recipients,
                chats=chats,
                explicit=explicit,
                until=until,
                notice=notice,
                channel=channel,
                guardian=guardian,
                idempotency_key=idempotency_key,
            )
        )

    async def say_no(
        self,
        purposes: Names = (),
        *,
        channel: str = "chat",
        categories: Names = (),
        recipients: Names = (),
        chats: Names = (),
        idempotency_key: str | None = None,
    ) -> Said:
        """Records that the person refuses. Without purposes, it is a no to all. Every role may record it."""
        return await self._no("refused", purposes, channel, categories, recipients, chats, idempotency_key)

    async def withdraw(
        self,
        purposes: Names = (),
        *,
        channel: str = "chat",
        categories: Names = (),
        recipients: Names = (),
        chats: Names = (),
        idempotency_key: str | None = None,
    ) -> Said:
        """Records that the person withdraws consent. Without purposes, it is all consent. Every role may record it."""
        return await self._no("withdrawn", purposes, channel, categories, recipients, chats, idempotency_key)

    async def _no(
        self,
        decision: str,
        purposes: Names,
        channel: str,
        categories: Names,
        recipients: Names,
        chats: Names,
        idempotency_key: str | None,
    ) -> Said:
        return await self._said(
            operations.record_consent(
                self.id,
                decision,
                purposes,
                categories=categories,
                recipients=recipients,
                chats=chats,
                channel=channel,
                idempotency_key=idempotency_key,
            )
        )

    async def object(self, purposes: Names = (), *, idempotency_key: str | None = None) -> Said:
        """Records that the person objects. Without purposes, it is to all."""
        return await self.signal("objection", purposes, idempotency_key=idempotency_key)

    async def signal(
        self,
        kind: Words,
        purposes: Names = (),
        *,
        lift: bool = False,
        chat: str = "",
        idempotency_key: str | None = None,
    ) -> Said:
        """Records a signal of the person, or lifts one. A pause may be limited to a chat."""
        return await self._said(
            operations.record_signal(self.id, kind, purposes, lift=lift, chat=chat, idempotency_key=idempotency_key)
        )

    async def _said(self, operation: Operation[Said]) -> Said:
        """Records what the person says, and ends the uses of this process that it revokes."""
        said = await self._caller.run(operation)
        self._caller.open_uses.revoked(said.revoked_grants, "revoked")
        return said

    def consents(self) -> AsyncIterator[Consent]:
        """Lists the person's decisions, oldest first, and which of them are in force."""
        return self._caller.pages(lambda token: operations.list_consents(self.id, token))

    # --- the person's rights ---

    async def erase(
        self,
        scope: str = "all",
        *,
        key: str = "",
        category: str = "",
        details: str = "",
        idempotency_key: str | None = None,
    ) -> Erasure:
        """Erases the person (`all`), their `profile`, one `key` or one `category`. For the person and stewards."""
        operation = operations.erase(
            self.id, scope, key=key, category=category, details=details, idempotency_key=idempotency_key
        )
        return await self._caller.run(operation, max(self._caller.defaults.timeout, 60.0))

    async def export(
        self, to: StrPath, *, kind: str = "access", request_id: str = "", timeout: float | None = 600.0
    ) -> int:
        """Writes everything about the person to a new ZIP file, and returns its size. For the person and stewards.

        `kind` is `access` (everything) or `portability` (what the person provided). If the export fails, no file is
        left.
        """
        async with ExportFile(to) as file:
            try:
                operation = operations.export(self.id, kind, request_id)
                async for part in self._caller.open(operation, timeout):
                    await asyncio.to_thread(file.write, operation.read(part))
            except grpc.RpcError as error:
                raise error_of(error) from error
        return file.size
