"""The calls of the ledger as values: what is sent, and how the answer is read. Nothing here does I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

from google.protobuf.message import Message

from sayso import _wire as wire
from sayso._remedies import remedy_of
from sayso.answers import (
    AllowedFact,
    Check,
    Consent,
    Embedding,
    Erasure,
    Explanation,
    Fact,
    ProfileFact,
    Receipt,
    RecordedUse,
    Revocation,
    Said,
    Withheld,
)
from sayso.v1 import bounds_pb2, common_pb2, consent_pb2, events_pb2, grant_pb2, profile_pb2, rights_pb2

__all__ = ["Names", "Operation", "Page", "Words", "names"]

A = TypeVar("A")
Names = str | Iterable[str]
"""One name, or several."""
Words = Literal["objection", "restriction", "opt_out", "limit_sensitive", "pause", "opt_out_automated"]


@dataclass(frozen=True)
class Operation(Generic[A]):
    """One call."""

    path: str
    request: Message
    answer: type[Message]
    read: Callable[[Any], A]


@dataclass(frozen=True)
class Page(Generic[A]):
    """A page of a list, and the token of the next one, which is empty on the last page."""

    items: tuple[A, ...]
    next_token: str


def names(given: Names) -> list[str]:
    """Returns one or several names as a list."""
    return [given] if isinstance(given, str) else list(given)


def receipt_of(receipt: common_pb2.Receipt) -> Receipt:
    """Reads a receipt."""
    events = receipt.events
    return Receipt(
        tuple(event.event_id for event in events),
        tuple(event.position for event in events),
        wire.time_of(events[-1].recorded_at) if events else None,
        receipt.checkpoint,
        receipt.replayed,
    )


# --- grants ---


def request_grant(
    person: str,
    purpose: str,
    *,
    chat: str,
    categories: Names,
    keys: Names,
    ttl: float | None,
    about: str = "",
    top_k: int = 8,
    embedding: Embedding | None = None,
) -> Operation[grant_pb2.RequestGrantResponse]:
    """Asks what may be used. In a chat, the ledger answers a repeated request with the existing grant.

    An idempotency key would prevent that, so a request in a chat has none: repeating it is safe without. A request
    about a text always gets a new grant, so it has one.
    """
    relevance = None
    if about or embedding is not None:
        relevance = grant_pb2.Relevance(text=about, top_k=top_k, embedding=wire.embedding(embedding))
    request = grant_pb2.RequestGrantRequest(
        subject=person,
        purpose=purpose,
        categories=names(categories),
        keys=names(keys),
        ttl=wire.duration(ttl),
        interaction=chat,
        options=wire.write_options(is_keyed=relevance is not None or not chat),
        relevance=relevance,
    )
    return Operation(
        "/sayso.v1.GrantService/RequestGrant", request, grant_pb2.RequestGrantResponse, lambda answer: answer
    )


def allowed_of(answer: grant_pb2.RequestGrantResponse) -> tuple[AllowedFact, ...]:
    """Reads what a grant allows, in an order that depends on nothing else.

    What was asked about a text stays in the order of its relevance, the best first.
    """
    facts = (
        AllowedFact(
            found.key,
            wire.value_of(found.value_json),
            found.category,
            wire.name_of(events_pb2.Provenance, found.provenance),
            wire.time_of(found.observed_at),
            found.confidence if found.HasField("confidence") else None,
            found.event_id,
            found.consent_event_id,
            wire.name_of(events_pb2.LegalBasis, found.legal_basis),
            found.score if found.HasField("score") else None,
        )
        for found in answer.allowed
    )
    if answer.HasField("ranking"):
        return tuple(facts)
    return tuple(sorted(facts, key=lambda fact: (fact.category, fact.key, fact.event_id)))


def withheld_of(answer: grant_pb2.RequestGrantResponse, purpose: str) -> tuple[Withheld, ...]:
    """Reads what a grant withholds."""

    def read(found: common_pb2.Withheld) -> Withheld:
        reason = wire.name_of(common_pb2.DenialReason, found.reason)
        return Withheld(
            found.category,
            wire.name_of(events_pb2.Provenance, found.provenance),
            found.count,
            reason,
            wire.name_of(events_pb2.Tier, found.decided_by),
            found.policy,
            found.article,
            found.explanation,
            remedy_of(reason, found.policy, purpose, found.category),
        )

    return tuple(map(read, answer.withheld))


def check_grant(grant_id: str, keys: Sequence[str] = ()) -> Operation[Check]:
    """Asks whether a grant is valid now."""

    def read(answer: grant_pb2.CheckGrantResponse) -> Check:
        reason = wire.name_of(grant_pb2.RevocationReason, answer.reason)
        return Check(answer.valid, wire.time_of(answer.expires_at), reason, tuple(answer.erased_keys))

    request = grant_pb2.CheckGrantRequest(grant_id=grant_id, keys=keys)
    return Operation("/sayso.v1.GrantService/CheckGrant", request, grant_pb2.CheckGrantResponse, read)


def report_use(
    grant_id: str,
    reply: str,
    *,
    shaped_by: Sequence[str],
    ai_disclosed: bool,
    about: datetime | None,
    idempotency_key: str | None = None,
) -> Operation[Receipt]:
    """Reports that a grant was used for a reply."""
    request = grant_pb2.ReportUseRequest(
        grant_id=grant_id,
        reply=reply,
        shaped_by=shaped_by,
        ai_disclosure_shown=ai_disclosed,
        options=wire.write_options(idempotency_key=idempotency_key, about=about),
    )
    return Operation(
        "/sayso.v1.GrantService/ReportUse",
        request,
        grant_pb2.ReportUseResponse,
        lambda answer: receipt_of(answer.receipt),
    )


def acknowledge(cursor: int) -> Operation[Receipt]:
    """Says that the revocation at a cursor was carried out."""
    request = grant_pb2.AcknowledgeRequest(cursor=cursor, options=wire.write_options())
    return Operation(
        "/sayso.v1.GrantService/Acknowledge",
        request,
        grant_pb2.AcknowledgeResponse,
        lambda answer: receipt_of(answer.receipt),
    )


def watch_revocations(after: int | None) -> Operation[Revocation]:
    """Receives revocations after a cursor, or from now on."""

    def read(answer: grant_pb2.WatchRevocationsResponse) -> Revocation:
        return Revocation(
            answer.cursor,
            tuple(answer.grant_ids),
            tuple(answer.artifact_ids),
            wire.name_of(grant_pb2.RevocationReason, answer.reason),
            wire.time_of(answer.recorded_at),
            wire.name_of(events_pb2.ErasureScope, answer.erased_scope),
        )

    request = grant_pb2.WatchRevocationsRequest(after_cursor=after)
    return Operation("/sayso.v1.GrantService/WatchRevocations", request, grant_pb2.WatchRevocationsResponse, read)


def explain_grant(grant_id: str) -> Operation[Explanation]:
    """Asks on whose say-so a grant was given, and what came of it."""

    def read(answer: grant_pb2.ExplainGrantResponse) -> Explanation:
        return Explanation(
            answer.text,
            answer.grant_id,
            answer.purpose,
            answer.interaction,
            answer.valid,
            wire.name_of(grant_pb2.RevocationReason, answer.reason),
            tuple(fact.key for fact in answer.allowed),
            tuple(use.reply for use in answer.uses),
            answer,
        )

    request = grant_pb2.ExplainGrantRequest(grant_id=grant_id)
    return Operation("/sayso.v1.GrantService/ExplainGrant", request, grant_pb2.ExplainGrantResponse, read)


def list_uses(
    person: str,
    token: str,
    *,
    category: str = "",
    recipient: str = "",
    since: datetime | None = None,
    until: datetime | None = None,
) -> Operation[Page[RecordedUse]]:
    """Lists a page of uses, oldest first."""

    def read(found: grant_pb2.ListedUse) -> RecordedUse:
        return RecordedUse(
            wire.name_of(grant_pb2.UseKind, found.kind),
            found.recipient,
            found.purpose,
            found.interaction,
            found.grant_id,
            found.reply,
            tuple(used.key for used in found.attributes),
            wire.time_of(found.recorded_at),
            found,
        )

    def read_page(answer: grant_pb2.ListUsesResponse) -> Page[RecordedUse]:
        return Page(tuple(map(read, answer.uses)), answer.next_page_token)

    request = grant_pb2.ListUsesRequest(
        subject=person, category=category, recipient=recipient, to=wire.moment(until), page_token=token
    )
    if since is not None:
        # `from` is a keyword of Python.
        getattr(request, "from").CopyFrom(wire.moment(since))
    return Operation("/sayso.v1.GrantService/ListUses", request, grant_pb2.ListUsesResponse, read_page)


# --- the profile ---


def record_attributes(
    person: str, facts: Sequence[Fact], idempotency_key: str | None = None
) -> Operation[profile_pb2.RecordAttributesResponse]:
    """Records facts, all or none."""
    request = profile_pb2.RecordAttributesRequest(
        subject=person,
        attributes=map(_attribute, facts),
        options=wire.write_options(idempotency_key=idempotency_key),
    )
    return Operation(
        "/sayso.v1.ProfileService/RecordAttributes",
        request,
        profile_pb2.RecordAttributesResponse,
        lambda answer: answer,
    )


def _attribute(fact: Fact) -> profile_pb2.AttributeInput:
    return profile_pb2.AttributeInput(
        key=fact.key,
        value_json=wire.json_text(fact.value),
        category=fact.category,
        provenance=wire.number_of(events_pb2.Provenance, fact.provenance),  # type: ignore[arg-type]
        evidence=fact.evidence,
        derived_from=fact.derived_from,
        confidence=fact.confidence,
        model=fact.model,
        observed_at=wire.moment(fact.observed_at),
        expires_at=wire.moment(fact.expires_at),
        corrects=fact.corrects,
        from_replies=fact.from_replies,
        embedding=wire.embedding(fact.embedding),
    )


def remove_attributes(person: str, keys: Names, reason: str) -> Operation[Receipt]:
    """Removes facts from the profile."""
    request = profile_pb2.RemoveAttributesRequest(
        subject=person, keys=names(keys), reason=reason, options=wire.write_options()
    )
    return Operation(
        "/sayso.v1.ProfileService/RemoveAttributes",
        request,
        profile_pb2.RemoveAttributesResponse,
        lambda answer: receipt_of(answer.receipt),
    )


def get_profile(person: str, token: str) -> Operation[Page[ProfileFact]]:
    """Reads a page of the profile."""

    def read(found: profile_pb2.ProfileAttribute) -> ProfileFact:
        return ProfileFact(
            found.key,
            wire.value_of(found.value_json),
            found.category,
            wire.name_of(events_pb2.Provenance, found.provenance),
            found.recorded_by.name or wire.name_of(events_pb2.Role, found.recorded_by.role),
            wire.time_of(found.recorded_at),
            found.contested,
            found.confirmed,
            found.event_id,
        )

    def read_page(answer: profile_pb2.GetProfileResponse) -> Page[ProfileFact]:
        return Page(tuple(map(read, answer.attributes)), answer.next_page_token)

    request = profile_pb2.GetProfileRequest(subject=person, page_token=token)
    return Operation("/sayso.v1.ProfileService/GetProfile", request, profile_pb2.GetProfileResponse, read_page)


# --- what the person says ---


def record_consent(
    person: str,
    decision: str,
    purposes: Names,
    *,
    categories: Names = (),
    recipients: Names = (),
    chats: Names = (),
    explicit: bool = False,
    until: datetime | None = None,
    notice: str = "",
    channel: str = "",
    guardian: bool = False,
    idempotency_key: str | None = None,
) -> Operation[Said]:
    """Records a decision of the person."""
    choice = consent_pb2.ConsentChoice(
        decision=wire.number_of(consent_pb2.ConsentDecision, decision),  # type: ignore[arg-type]
        purposes=names(purposes),
        categories=names(categories),
        recipients=names(recipients),
        interactions=names(chats),
        explicit=explicit,
        expires_at=wire.moment(until),
    )
    request = consent_pb2.RecordConsentRequest(
        subject=person,
        choices=[choice],
        notice=consent_pb2.NoticeServed(id=notice) if notice else None,
        channel=channel,
        guardian=guardian,
        options=wire.write_options(idempotency_key=idempotency_key),
    )
    return Operation("/sayso.v1.ConsentService/RecordConsent", request, consent_pb2.RecordConsentResponse, _said)


def record_signal(
    person: str, kind: Words, purposes: Names, *, lift: bool, chat: str, idempotency_key: str | None = None
) -> Operation[Said]:
    """Records or lifts a signal of the person."""
    request = consent_pb2.RecordSignalRequest(
        subject=person,
        kind=wire.number_of(events_pb2.SignalKind, kind),  # type: ignore[arg-type]
        purposes=names(purposes),
        lift=lift,
        interaction=chat,
        options=wire.write_options(idempotency_key=idempotency_key),
    )
    return Operation("/sayso.v1.ConsentService/RecordSignal", request, consent_pb2.RecordSignalResponse, _said)


def _said(answer: consent_pb2.RecordConsentResponse | consent_pb2.RecordSignalResponse) -> Said:
    return Said(
        receipt_of(answer.receipt),
        tuple(answer.revoked_grants),
        tuple(wire.name_of(consent_pb2.UnmatchedKind, found.kind) for found in answer.unmatched),
        tuple(use.purpose for use in answer.remaining_uses),
    )


def list_consents(person: str, token: str) -> Operation[Page[Consent]]:
    """Lists a page of decisions, oldest first."""

    def read(found: consent_pb2.ConsentRecord) -> Consent:
        return Consent(
            wire.name_of(consent_pb2.ConsentDecision, found.decision),
            tuple(found.purposes),
            tuple(found.categories),
            tuple(found.recipients),
            found.explicit,
            found.in_force,
            wire.time_of(found.recorded_at),
            wire.time_of(found.expires_at),
            found.notice.id,
            found.event_id,
        )

    def read_page(answer: consent_pb2.ListConsentsResponse) -> Page[Consent]:
        return Page(tuple(map(read, answer.consents)), answer.next_page_token)

    request = consent_pb2.ListConsentsRequest(subject=person, page_token=token)
    return Operation("/sayso.v1.ConsentService/ListConsents", request, consent_pb2.ListConsentsResponse, read_page)


def publish_notice(notice: str, text: str, version: str, language: str) -> Operation[Receipt]:
    """Publishes a version of a notice."""
    request = bounds_pb2.PublishNoticeRequest(
        id=notice, version=version, language=language, text=text, options=wire.write_options()
    )
    return Operation(
        "/sayso.v1.BoundsService/PublishNotice",
        request,
        bounds_pb2.PublishNoticeResponse,
        lambda answer: receipt_of(answer.receipt),
    )


# --- the person's rights ---


def erase(
    person: str, scope: str, *, key: str, category: str, details: str, idempotency_key: str | None = None
) -> Operation[Erasure]:
    """Requests an erasure, which is carried out before the ledger answers, unless something prevents it."""

    def read(answer: rights_pb2.SubmitRequestResponse) -> Erasure:
        certificate = answer.certificate
        return Erasure(
            answer.request_id,
            wire.name_of(rights_pb2.RequestState, answer.request.state),
            answer.request.reason,
            wire.time_of(certificate.completed_at),
            certificate.entries_discarded,
            dict(certificate.erased_by_category),
            certificate.document,
        )

    request = rights_pb2.SubmitRequestRequest(
        subject=person,
        kind=events_pb2.REQUEST_KIND_ERASURE,
        scope=wire.number_of(events_pb2.ErasureScope, scope),  # type: ignore[arg-type]
        keys=[key] if key else [],
        category=category,
        details=details,
        options=wire.write_options(idempotency_key=idempotency_key),
    )
    return Operation("/sayso.v1.RightsService/SubmitRequest", request, rights_pb2.SubmitRequestResponse, read)


def export(person: str, kind: str, request_id: str) -> Operation[bytes]:
    """Receives a person's package, one ZIP file, in parts."""
    request = rights_pb2.ExportSubjectRequest(
        subject=person,
        kind=wire.number_of(events_pb2.PackageKind, kind),  # type: ignore[arg-type]
        request_id=request_id,
    )
    return Operation(
        "/sayso.v1.RightsService/ExportSubject",
        request,
        rights_pb2.ExportSubjectResponse,
        lambda part: bytes(part.chunk),
    )
