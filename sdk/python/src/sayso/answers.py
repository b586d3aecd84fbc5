"""What the ledger answers, as plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from sayso.errors import SaysoError

__all__ = [
    "AllowedFact",
    "Check",
    "Consent",
    "Embedding",
    "Erasure",
    "Explanation",
    "Fact",
    "Outcome",
    "ProfileFact",
    "Provenance",
    "Receipt",
    "RecordedUse",
    "Remedy",
    "Remembered",
    "Revocation",
    "Said",
    "Withheld",
]

Provenance = Literal["declared", "observed", "inferred"]
Outcome = Literal["recorded", "unchanged", "superseded", "refused"]


@dataclass(frozen=True)
class Embedding:
    """A vector that a model computed from a text. The ledger compares only vectors of the same model."""

    model: str
    values: Sequence[float]
    """1 to 4,096 numbers."""


@dataclass(frozen=True)
class Fact:
    """Something to remember about a person."""

    key: str
    value: Any
    """Anything that is JSON."""
    category: str = ""
    """The id of a category of the vocabulary. Empty lets the ledger's categorizer choose."""
    provenance: Provenance = "observed"
    """Whether the person declared it, the service observed it, or a model inferred it."""
    evidence: Sequence[str] = ()
    """The evidence for it, such as ids of messages."""
    derived_from: Sequence[str] = ()
    """Event ids of the facts about the same person that it was derived from."""
    confidence: float | None = None
    """From 0 to 1. Only for inferences."""
    model: str = ""
    """The model that inferred it. Only for inferences."""
    observed_at: datetime | None = None
    expires_at: datetime | None = None
    corrects: str = ""
    """The event id of the fact that this one corrects."""
    from_replies: Sequence[str] = ()
    """The replies that an inference was drawn from."""
    embedding: Embedding | None = None
    """A vector for the value, to rank by. The ledger keeps it sealed, in half precision."""


@dataclass(frozen=True)
class Receipt:
    """The receipt of a write. It is durable."""

    event_ids: tuple[str, ...]
    positions: tuple[int, ...]
    recorded_at: datetime | None
    checkpoint: str = field(repr=False)
    is_replayed: bool
    """The same request was made before, and nothing new was written."""


@dataclass(frozen=True)
class Remembered:
    """What became of one fact. It is true if the fact is in the person's profile now."""

    fact: Fact
    outcome: Outcome
    """`recorded`; `unchanged`, if the same request was made before; `superseded`, if the fact was recorded but what
    the person said, or a later observation, is in the profile instead; or `refused`."""
    event_id: str = ""
    position: int | None = None
    why: str = ""
    """Why it is not held, or was refused."""
    error: SaysoError | None = None
    """The refusal, with its `reason` and `hint`."""
    revoked_grants: tuple[str, ...] = ()
    """The caller's grants that ended because this replaces what they allowed. (Of a batch: those of the batch.)"""
    similar_keys: tuple[str, ...] = ()
    """Existing keys that could be confused with this one."""

    def __bool__(self) -> bool:
        return self.outcome in ("recorded", "unchanged")


@dataclass(frozen=True)
class AllowedFact:
    """A fact that may be used, for the purpose and the time of its grant."""

    key: str
    value: Any
    category: str
    provenance: str
    observed_at: datetime | None
    confidence: float | None
    event_id: str
    consent_event_id: str
    """The consent that allows it. Empty if the use rests on another legal basis."""
    legal_basis: str
    score: float | None = None
    """How well it fits the text of `about`. None if there was no such text."""


RemedyKind = Literal[
    "consent",
    "explicit_consent",
    "consent_for_this_chat",
    "guardian_consent",
    "lift_signal",
    "confirm",
    "record_again",
    "allow_sources",
    "ask_for_less",
    "change_own_rules",
    "withdraw_erasure",
    "operator",
    "publisher",
    "none",
]


@dataclass(frozen=True)
class Remedy:
    """What would change a decision, for programs. `Withheld.explanation` says it to people."""

    kind: RemedyKind
    purpose: str
    category: str
    only_by_person: bool
    """Don't ask for it: the person said no, and can change it at any time."""


@dataclass(frozen=True)
class Withheld:
    """A class of facts that may not be used, and why."""

    category: str
    provenance: str
    count: int
    reason: str
    """Such as `no_consent`, `consent_withdrawn`, `not_explicit` or `objected` (`DenialReason` in the API)."""
    decided_by: str
    """`public` (the law), `provider` or `individual` (the person)."""
    policy: str
    article: str
    explanation: str
    remedy: Remedy

    def __str__(self) -> str:
        return self.explanation


@dataclass(frozen=True)
class Check:
    """Whether a grant is valid now."""

    valid: bool
    expires_at: datetime | None
    reason: str
    """Why it is not valid (`RevocationReason` in the API)."""
    erased_keys: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.valid


@dataclass(frozen=True)
class Said:
    """What the ledger did with a decision or a signal of the person."""

    receipt: Receipt
    revoked_grants: tuple[str, ...]
    """The caller's grants that ended because of it."""
    unmatched: tuple[str, ...]
    """Which parts matched nothing in the ledger, such as `subject` or `consent`. An id may be mistyped. Always empty
    for a service that is not a channel."""
    remaining_uses: tuple[str, ...]
    """Purposes for which data is still used despite a no, because they rest on a contract or a legal obligation."""


@dataclass(frozen=True)
class Consent:
    """A decision of the person."""

    decision: str
    """`given`, `refused`, `renewed` or `withdrawn`."""
    purposes: tuple[str, ...]
    categories: tuple[str, ...]
    recipients: tuple[str, ...]
    is_explicit: bool
    is_in_force: bool
    recorded_at: datetime | None
    until: datetime | None
    notice: str
    event_id: str


@dataclass(frozen=True)
class Explanation:
    """On whose say-so a reply was personalized."""

    text: str
    """The whole explanation, for people."""
    grant_id: str
    purpose: str
    chat: str
    valid: bool
    reason: str
    """Why the grant is no longer valid."""
    allowed: tuple[str, ...]
    """The keys that the grant allowed."""
    replies: tuple[str, ...]
    """The replies that were reported."""
    message: Any = field(repr=False)
    """The whole answer (`ExplainGrantResponse` of the API)."""

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class RecordedUse:
    """A use of facts about a person."""

    kind: str
    """`granted`, `reused`, `reported` or `built`."""
    recipient: str
    purpose: str
    chat: str
    grant_id: str
    reply: str
    keys: tuple[str, ...]
    recorded_at: datetime | None
    message: Any = field(repr=False)
    """The whole answer (`ListedUse` of the API), with the consents and rules that allowed the use."""


@dataclass(frozen=True)
class ProfileFact:
    """A fact in a person's profile, as the person and stewards see it."""

    key: str
    value: Any
    category: str
    provenance: str
    recorded_by: str
    recorded_at: datetime | None
    is_contested: bool
    is_confirmed: bool
    event_id: str


@dataclass(frozen=True)
class Erasure:
    """A request for erasure, and what became of it. It is true once the erasure is complete."""

    request_id: str
    state: str
    """`completed`, or `partly`, `open` or `refused` if a hold prevents it or a steward has to decide."""
    reason: str
    completed_at: datetime | None
    entries_destroyed: int
    erased_by_category: Mapping[str, int]
    certificate: str = field(repr=False)
    """A document that `sayso verify` checks offline."""

    def __bool__(self) -> bool:
        return self.state == "completed"


@dataclass(frozen=True)
class Revocation:
    """Grants and artifacts of the caller may no longer be used. Delete what was built from them."""

    cursor: int
    grant_ids: tuple[str, ...]
    artifact_ids: tuple[str, ...]
    reason: str
    """Why (`RevocationReason` in the API), such as `consent_withdrawn`."""
    recorded_at: datetime | None
    """Absent if it is in effect but not recorded yet; then it is reported once more."""
    erased_scope: str

    @property
    def is_suspension(self) -> bool:
        """No grant at all is valid for now, because the log was restored or the clock is in doubt."""
        return not self.grant_ids and not self.artifact_ids
