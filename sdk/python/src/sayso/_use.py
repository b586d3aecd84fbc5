"""One use of facts about a person, from the grant to the report: everything but the calls themselves.

A use fails closed. If anything goes wrong, its block is empty and `status` and `says` tell why. Its block is also empty
once the grant may have ended, once a check said so, and after the `with` block, so no grant outlives its time here.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Literal
from uuid import uuid4

from sayso import _operations as operations
from sayso import _wire as wire
from sayso._block import Renderer
from sayso.answers import AllowedFact, Check, Receipt, Withheld
from sayso.errors import InvalidStateError, SaysoError
from sayso.v1 import grant_pb2

__all__ = ["Reply", "Status", "UseState", "grant_in_reply", "now"]

Status = Literal[
    "not_entered", "allowed", "nothing_allowed", "unknown_person", "unavailable", "expired", "ended", "closed"
]
_SAYS: dict[Status, str] = {
    "not_entered": "Nothing was asked yet; use it in a `with` block.",
    "allowed": "Some facts may be used.",
    "nothing_allowed": "Nothing may be used. `withheld` says why, and what would change it.",
    "unknown_person": "Nothing is recorded about this person.",
    "unavailable": "Nothing is used, because the ledger gave no answer. `problem` says why.",
    "expired": "Nothing may be used now, because the grant has expired.",
    "ended": "Nothing may be used now, because the grant has ended. `ended_because` says why.",
    "closed": "Nothing may be used now, because the `with` block has ended.",
}
_SHAPED_BY_MAX = 1024
_SHAPED_BY_BYTES_MAX = 65_536

log = logging.getLogger("sayso")


def now() -> float:
    """Returns seconds of a clock that never goes back, and that runs while the machine sleeps, if it has one."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


def grant_in_reply(reply: str) -> str:
    """Returns the grant in the name of a reply that this package named, or nothing for any other name."""
    grant, dot, _ = reply.rpartition(".")
    return grant if dot and grant.startswith("g") and "-" in grant else ""


@dataclass
class Reply:
    """A reply to report."""

    name: str
    shaped_by: tuple[str, ...]
    ai_disclosed: bool
    key: str = field(default_factory=lambda: str(uuid4()))
    """The idempotency key, so the report can be repeated."""
    receipt: Receipt | None = None
    """The receipt of the report, once it was made."""


class UseState:
    """The state of one use. `sayso.Use` and `sayso.aio.Use` add the calls."""

    def __init__(
        self,
        request: Callable[[], operations.Operation[grant_pb2.RequestGrantResponse]],
        render: Renderer,
        strict: bool,
    ) -> None:
        self._request = request
        self._render = render
        self._strict = strict
        self._status: Status = "not_entered"
        self._facts: tuple[AllowedFact, ...] = ()
        self._block = ""
        self._valid_until = 0.0
        self._granted_at: datetime | None = None
        self._asked_at = 0.0
        self._used_at: datetime | None = None
        self._is_replayed = False
        self._replies: list[Reply] = []
        self._default_reply = ""
        self.grant_id = ""
        self.expires_at: datetime | None = None
        self.withheld: tuple[Withheld, ...] = ()
        self.problem: Exception | None = None
        self.valid: bool | None = None
        self.ended_because = ""

    # --- what a service reads ---

    @property
    def status(self) -> Status:
        """What the block is, or why it is empty."""
        if self._status == "allowed" and now() >= self._valid_until:
            return "expired"
        return self._status

    @property
    def says(self) -> str:
        """The status as a sentence for people."""
        return _SAYS[self.status]

    @property
    def block(self) -> str:
        """The block for the prompt: what may be used, who said it and since when. Empty if nothing may be used.

        A use whose block or facts were read is reported at the end of the `with` block.
        """
        return self._block if self._read() else ""

    @property
    def facts(self) -> tuple[AllowedFact, ...]:
        """The facts that may be used. Empty if nothing may be used."""
        return self._facts if self._read() else ()

    @property
    def reply(self) -> str:
        """The name of the reply: that of `replied`, or else one that this use makes. Keep it with the reply."""
        return self._replies[-1].name if self._replies else self._default_reply

    @property
    def reported(self) -> bool:
        """The ledger has a report of every reply of this use."""
        return bool(self._replies) and all(reply.receipt for reply in self._replies)

    @property
    def receipts(self) -> tuple[Receipt, ...]:
        """The receipts of the reports."""
        return tuple(reply.receipt for reply in self._replies if reply.receipt)

    def __bool__(self) -> bool:
        return self.status == "allowed"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.status} {self.grant_id}>"

    def replied(self, reply: str, *, shaped_by: Collection[str] | None = None, ai_disclosed: bool = False) -> None:
        """Names a reply that this use led to, with the service's own id of it.

        `shaped_by` has the keys that shaped the reply; without it, that is every key of the block. A reply that no fact
        shaped is none: then don't call this.
        """
        keys = {fact.key for fact in self._facts}
        if shaped_by is not None and not keys.issuperset(shaped_by):
            self._note(ValueError("`shaped_by` names keys that the grant does not allow; they are left out"))
        self._used_at = self._used_at or self._time_of_use()
        named = keys if shaped_by is None else keys.intersection(shaped_by)
        self._replies.append(Reply(reply, _within_limits(sorted(named)), ai_disclosed))

    def end(self, reason: str) -> None:
        """Ends the use: its block is empty from now on. A ledger does this when it learns of a revocation."""
        self.valid, self.ended_because = False, reason
        if self._status == "allowed":
            self._status = "ended"

    # --- what the calls do ---

    def _read(self) -> bool:
        is_allowed = self.status == "allowed"
        if is_allowed and self._used_at is None:
            self._used_at = self._time_of_use()
        return is_allowed

    def _time_of_use(self) -> datetime:
        """When the use happened, by the ledger's clock as far as it is known."""
        here = datetime.now(timezone.utc)
        if self._granted_at is None or self.expires_at is None:
            return here
        if self._is_replayed:
            return min(max(here, self._granted_at), self.expires_at)
        return min(self._granted_at + timedelta(seconds=now() - self._asked_at), self.expires_at)

    def _begin(self) -> operations.Operation[grant_pb2.RequestGrantResponse]:
        if self._status != "not_entered":
            raise InvalidStateError("a use can be entered once; call `use` again for the next reply")
        self._asked_at = now()
        return self._request()

    def _accept(self, answer: grant_pb2.RequestGrantResponse, purpose: str) -> None:
        """Takes the ledger's answer. The grant's time is measured with the ledger's clock, not with this machine's."""
        facts = operations.allowed_of(answer)
        self.withheld = operations.withheld_of(answer, purpose)
        receipt = operations.receipt_of(answer.receipt)
        if not answer.grant_id or answer.gaps:
            unknown = grant_pb2.GAP_UNKNOWN_SUBJECT in answer.gaps
            self._status = "unknown_person" if unknown else "nothing_allowed"
            return
        self.grant_id = answer.grant_id
        self._default_reply = f"{self.grant_id}.{uuid4().hex[:12]}"
        self.expires_at = wire.time_of(answer.expires_at)
        self._granted_at, self._is_replayed = receipt.recorded_at, receipt.is_replayed
        self._status = "nothing_allowed"
        if facts and self.expires_at and self._granted_at:
            lasts = (self.expires_at - self._granted_at).total_seconds()
            # The ledger reuses a grant only if at least half of its time is left. How much more is not known here.
            self._valid_until = self._asked_at + (lasts / 2 if self._is_replayed else lasts)
            self._facts, self._block = facts, self._render(facts)
            self._status = "allowed"

    def _fail(self, problem: Exception) -> None:
        """Notes that there is no grant to use."""
        self._status = "unavailable"
        self._facts, self._block = (), ""
        self._note(problem)

    def _note(self, problem: Exception) -> None:
        """Notes a problem, and raises it if the caller asked for that. Logs no personal data: only what kind it is."""
        self.problem = self.problem or problem
        reason = problem.reason if isinstance(problem, SaysoError) else ""
        log.warning("a use went wrong: %s", reason or type(problem).__name__)
        if self._strict:
            raise problem

    def _checked(self, check: Check) -> Check:
        if check.valid:
            self.valid, self.ended_because = True, ""
        else:
            self.end(check.reason)
        return check

    def _unchecked(self, problem: Exception) -> Check:
        """When in doubt, the grant has ended."""
        self.valid = None
        if self._status == "allowed":
            self._status = "ended"
        self._note(problem)
        return Check(False, self.expires_at, "unavailable")

    def _to_report(self, body_failed: bool) -> bool:
        """Whether there is something to report. A reply that failed before it was named is none."""
        if self._used_at is not None and not self._replies and not body_failed:
            self.replied(self._default_reply)
        return bool(self.grant_id) and any(reply.receipt is None for reply in self._replies)

    def _open_replies(self) -> list[Reply]:
        return [reply for reply in self._replies if reply.receipt is None]

    def _report(self, reply: Reply, *, is_past: bool) -> operations.Operation[Receipt]:
        """A use of a grant that has ended since then has to say when it was."""
        return operations.report_use(
            self.grant_id,
            reply.name,
            shaped_by=reply.shaped_by,
            ai_disclosed=reply.ai_disclosed,
            about=self._used_at if is_past else None,
            idempotency_key=f"{reply.key}/past" if is_past else reply.key,
        )

    def _close(self) -> None:
        if self._status == "allowed":
            self._status = "closed"
        self._facts, self._block = (), ""


def _within_limits(keys: Sequence[str]) -> tuple[str, ...]:
    """A report without keys is about everything that the grant allowed, and that is true where there are too many."""
    size = sum(len(key.encode("utf-8", "surrogatepass")) for key in keys)
    return tuple(keys) if len(keys) <= _SHAPED_BY_MAX and size <= _SHAPED_BY_BYTES_MAX else ()
