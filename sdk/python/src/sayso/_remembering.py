"""Recording facts one by one or together, with what became of each: everything but the calls themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from sayso import _operations as operations
from sayso import _wire as wire
from sayso.answers import Fact, Remembered
from sayso.errors import InvalidRequestError, SaysoError
from sayso.v1 import profile_pb2

__all__ = ["Categorizer", "Remembering", "is_refusal"]

Categorizer = Callable[[str, Any], str]
"""Chooses the category of a fact that has none, by its key and value."""

_FACTS_MAX = 128
_BATCH_BYTES_MAX = 1024 * 1024
# What the ledger, its rules or the person refuse about a fact. Every other error is about the call as a whole.
_REFUSALS = frozenset(
    {
        "ATTRIBUTE_LIMIT_REACHED",
        "CHANNEL_ROLE_REQUIRED",
        "ERASED",
        "INVALID_REQUEST",
        "RECORDED_BY_ANOTHER",
        "RECORDING_REFUSED",
        "REFUSED_BY_SUBJECT",
        "SERVICE_ROLE_REQUIRED",
        "STATED_BY_SUBJECT",
    }
)


def is_refusal(error: SaysoError) -> bool:
    """Whether an error says what became of a fact, so that it is an answer."""
    return error.reason in _REFUSALS


class Remembering:
    """Facts to record, in batches, and what became of each.

    The ledger records all facts of a call or none. So if it refuses a batch, its facts are sent again one by one.
    """

    def __init__(
        self, person: str, facts: Sequence[Fact], categorizer: Categorizer | None, idempotency_key: str | None
    ) -> None:
        self._person = person
        self._key = idempotency_key
        self._facts = [_categorized(fact, categorizer) for fact in facts]
        self._became: dict[int, Remembered] = {}

    def batches(self) -> Iterator[list[int]]:
        """Yields the facts to send together, by index. A fact that cannot be sent is refused here."""
        batch: list[int] = []
        size = 0
        for index, fact in enumerate(self._facts):
            try:
                length = operations.record_attributes(self._person, [fact]).request.ByteSize()
            except (TypeError, ValueError) as error:
                # The message does not repeat what was to be recorded.
                wrong = InvalidRequestError(f"the fact cannot be sent: {error}", reason="INVALID_REQUEST")
                self._became[index] = Remembered(fact, "refused", why=wrong.message, error=wrong)
                continue
            if batch and (len(batch) == _FACTS_MAX or size + length > _BATCH_BYTES_MAX):
                yield batch
                batch, size = [], 0
            batch.append(index)
            size += length
        if batch:
            yield batch

    def operation(self, batch: Sequence[int]) -> operations.Operation[profile_pb2.RecordAttributesResponse]:
        """Returns the call that records a batch."""
        key = self._key and f"{self._key}/{batch[0]}-{batch[-1]}"
        return operations.record_attributes(self._person, [self._facts[index] for index in batch], key)

    def took(self, batch: Sequence[int], answer: profile_pb2.RecordAttributesResponse) -> None:
        """Notes that a batch was recorded."""
        receipt = operations.receipt_of(answer.receipt)
        for at, index in enumerate(batch):
            is_current = at not in answer.superseded
            outcome = "superseded" if not is_current else "unchanged" if receipt.is_replayed else "recorded"
            self._became[index] = Remembered(
                self._facts[index],
                outcome,  # type: ignore[arg-type]
                receipt.event_ids[at] if at < len(receipt.event_ids) else "",
                receipt.positions[at] if at < len(receipt.positions) else None,
                "" if is_current else "what the person said, or a later observation, is in the profile instead",
                revoked_grants=tuple(answer.revoked_grants),
                similar_keys=tuple(found.key for found in answer.similar_keys if found.attribute == at),
            )

    def refused(self, batch: Sequence[int], error: SaysoError) -> list[int]:
        """Notes why a batch was refused. Returns the facts to send one by one, because it is not known which it was.

        Raises:
            SaysoError: The error is about the call and not about a fact.
        """
        if not is_refusal(error):
            raise error
        if len(batch) > 1:
            return list(batch)
        why = "; ".join(description for _, description in error.detail.violations) or error.message
        self._became[batch[0]] = Remembered(self._facts[batch[0]], "refused", why=why, error=error)
        return []

    def became(self) -> tuple[Remembered, ...]:
        """Returns what became of each fact, in order."""
        return tuple(self._became[index] for index in range(len(self._facts)))


def _categorized(fact: Fact, categorizer: Categorizer | None) -> Fact:
    return fact if fact.category or categorizer is None else replace(fact, category=categorizer(fact.key, fact.value))


def with_evidence(facts: Sequence[Fact], evidence: Sequence[str]) -> list[Fact]:
    """Returns the facts, with the evidence added to those that have none of their own."""
    return [fact if fact.evidence else replace(fact, evidence=tuple(evidence)) for fact in facts]


def json_of(fact: Fact) -> str:
    """Returns the value of a fact as it is sent."""
    return wire.json_text(fact.value)
