"""Errors of the ledger, one class for each family of reasons.

Decide by the class or by `reason`, not by the message, because messages may change. `docs/errors.md` of Sayso explains
every reason. A use that is not allowed is not an error: it is part of the answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = [
    "BusyError",
    "ConfigurationError",
    "ConflictError",
    "CredentialError",
    "CursorError",
    "ErasedError",
    "InternalError",
    "InvalidRequestError",
    "InvalidStateError",
    "LimitReachedError",
    "NotAllowedError",
    "NotFoundError",
    "RecordingRefusedError",
    "RefusedByPersonError",
    "SaysoError",
    "TimedOutError",
    "UnavailableError",
]


@dataclass(frozen=True)
class Detail:
    """What else the ledger said about an error."""

    metadata: Mapping[str, str] = field(default_factory=dict)
    """Numbers and names, such as `allowed_roles` or `current_version`."""
    violations: tuple[tuple[str, str], ...] = ()
    """Pairs of a field, class or caller, and what is wrong with it."""
    retry_after: float | None = None
    """How many seconds to wait before the next try."""
    request_id: str = ""
    """The id of the call in the daemon's log (`x-request-id`)."""


class SaysoError(Exception):
    """An error of the ledger, or of the way to it."""

    hint = "See docs/errors.md of Sayso."
    """What to do next."""

    def __init__(self, message: str, *, reason: str = "", code: str = "", detail: Detail | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.code = code
        self.detail = detail or Detail()
        self.hint = HINTS.get(reason, type(self).hint)

    def __reduce__(self) -> tuple[object, ...]:
        """Pickles the error with what it knows."""
        return (_rebuild, (type(self), self.message, self.reason, self.code, self.detail))

    def __str__(self) -> str:
        reason = f" [{self.reason}]" if self.reason else ""
        return f"{self.message}{reason}. {self.hint}"


def _rebuild(kind: type[SaysoError], message: str, reason: str, code: str, detail: Detail) -> SaysoError:
    return kind(message, reason=reason, code=code, detail=detail)


class ConfigurationError(SaysoError):
    """The client was set up in a way that cannot work or is not safe."""

    hint = "Correct the arguments or the environment of `Ledger`."


class CursorError(SaysoError):
    """A cursor of revocations cannot be read or written."""

    hint = "Restore the file, or remove it to receive all revocations again."


class InvalidRequestError(SaysoError):
    """A field is malformed, exceeds a limit, or names an unknown purpose or category. Nothing was written."""

    hint = "Correct the request; `detail.violations` names the fields."


class CredentialError(SaysoError):
    """The credential is missing, malformed, expired or revoked, or it comes from an unknown issuer."""

    hint = "Get a new credential."


class NotAllowedError(SaysoError):
    """The credential's role may not do this."""

    hint = "Use a credential with another role, or change the request."


class RefusedByPersonError(NotAllowedError):
    """The person said no, or said something else. Do not retry."""

    hint = "Only the person or a steward can change it. Do not retry."


class RecordingRefusedError(NotAllowedError):
    """Bounds forbid recording an attribute. `detail.violations` says which class of attributes, and why."""

    hint = "Leave out these attributes, or ask the person for the consent that the message names."


class NotFoundError(SaysoError):
    """The person, grant or other item does not exist, was erased, or does not belong to the caller."""

    hint = "Check the id. Do not retry."


class ConflictError(SaysoError):
    """Something else happened in the meantime, or an idempotency key was used before for another request."""

    hint = "Read again, decide again, and send a new request."


class ErasedError(SaysoError):
    """What the request is about was erased. Delete your copy."""

    hint = "Do not retry. Delete your copy."


class InvalidStateError(SaysoError):
    """The request does not fit the current state, for example because the grant has ended."""

    hint = "Read the current state, and change the request."


class LimitReachedError(SaysoError):
    """A limit for attributes, grants or artifacts is reached. `detail.metadata` has the numbers."""

    hint = "Remove what is no longer needed."


class BusyError(SaysoError):
    """Too much at once. Nothing was written. `detail.retry_after` has the time to wait."""

    hint = "Wait as long as `detail.retry_after` says, then retry with growing delays."


class UnavailableError(SaysoError):
    """The daemon cannot be reached, is stopping, or its store does not accept writes."""

    hint = "Retry with growing delays. If it lasts, ask the operator of the daemon."


class TimedOutError(UnavailableError):
    """The deadline has passed. A write may still complete, so repeat it with the same idempotency key."""

    hint = "Repeat a write with the same idempotency key."


class InternalError(SaysoError):
    """The daemon has a defect, or data is damaged."""

    hint = "Report `detail.request_id` to the operator of the daemon."


BY_REASON: Mapping[str, type[SaysoError]] = {
    "INVALID_REQUEST": InvalidRequestError,
    "INVALID_CREDENTIAL": CredentialError,
    "TOO_MANY_INVALID_CREDENTIALS": CredentialError,
    "ROLE_NOT_ALLOWED": NotAllowedError,
    "REQUEST_NOT_ALLOWED": NotAllowedError,
    "CHANNEL_ROLE_REQUIRED": NotAllowedError,
    "SERVICE_ROLE_REQUIRED": NotAllowedError,
    "REFUSED_BY_SUBJECT": RefusedByPersonError,
    "STATED_BY_SUBJECT": RefusedByPersonError,
    "RECORDED_BY_ANOTHER": NotAllowedError,
    "STATED_BY_STEWARD": NotAllowedError,
    "NOT_FOUND": NotFoundError,
    "IDEMPOTENCY_KEY_REUSED": ConflictError,
    "STALE_VERSION": ConflictError,
    "ERASED_DURING_EXPORT": ConflictError,
    "ERASED": ErasedError,
    "RECORDING_REFUSED": RecordingRefusedError,
    "INVALID_STATE": InvalidStateError,
    "CLOCK_SKEWED": InvalidStateError,
    "ATTRIBUTE_LIMIT_REACHED": LimitReachedError,
    "OPEN_LIMIT_REACHED": LimitReachedError,
    "TOO_MANY_CALLS": BusyError,
    "TOO_MANY_BYTES_IN_PROGRESS": BusyError,
    "OVERLOADED": BusyError,
    "WATCHER_TOO_SLOW": BusyError,
    "PREVIEW_TIMED_OUT": TimedOutError,
    "STORE_UNAVAILABLE": UnavailableError,
    "SHUTTING_DOWN": UnavailableError,
    "STORE_FAILED": UnavailableError,
    "INTERNAL": InternalError,
}
"""The class of each reason. A test compares the reasons with docs/errors.md."""

BY_CODE: Mapping[str, type[SaysoError]] = {
    "INVALID_ARGUMENT": InvalidRequestError,
    "UNAUTHENTICATED": CredentialError,
    "PERMISSION_DENIED": NotAllowedError,
    "UNIMPLEMENTED": NotAllowedError,
    "NOT_FOUND": NotFoundError,
    "ALREADY_EXISTS": ConflictError,
    "ABORTED": ConflictError,
    "FAILED_PRECONDITION": InvalidStateError,
    "RESOURCE_EXHAUSTED": BusyError,
    "DEADLINE_EXCEEDED": TimedOutError,
    "UNAVAILABLE": UnavailableError,
}
"""The class of an error that has no reason, because it does not come from the ledger itself."""

HINTS: Mapping[str, str] = {
    "TOO_MANY_INVALID_CREDENTIALS": "Wait as long as `detail.retry_after` says, then send a valid credential.",
    "ROLE_NOT_ALLOWED": "Use a credential with one of the roles in `detail.metadata['allowed_roles']`.",
    "REQUEST_NOT_ALLOWED": (
        "Change the request, or use a credential with one of the roles in `detail.metadata['allowed_roles']`."
    ),
    "CHANNEL_ROLE_REQUIRED": "Use a credential with the role `channel` or `service-channel`.",
    "SERVICE_ROLE_REQUIRED": "Use a credential with the role `service` or `service-channel`.",
    "STATED_BY_SUBJECT": "Only a declaration by the person replaces what the person said. Do not retry.",
    "RECORDED_BY_ANOTHER": "Change only attributes that this service recorded.",
    "STATED_BY_STEWARD": "Only a steward can change this description.",
    "IDEMPOTENCY_KEY_REUSED": "Use a new idempotency key for a new request.",
    "ERASED_DURING_EXPORT": "Discard what you received, and start the export again.",
    "CLOCK_SKEWED": "Try again later; the operator has to correct or accept the clock of the daemon's machine.",
    "OPEN_LIMIT_REACHED": "Name the chat, so that grants are reused, or wait until a grant expires.",
    "STORE_FAILED": "The operator has to restart the daemon; then repeat with the same idempotency key.",
}
