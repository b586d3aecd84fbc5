"""Turns an error of gRPC into an error of this package."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import grpc
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, PreconditionFailure, QuotaFailure, RetryInfo
from google.rpc.status_pb2 import Status

from sayso.errors import BY_CODE, BY_REASON, Detail, InternalError, SaysoError

__all__ = ["error_of", "stream_error"]

_DETAILS = "grpc-status-details-bin"


def error_of(error: grpc.RpcError) -> SaysoError:
    """Returns the error that the ledger, or gRPC itself, reported."""
    # Every error of a call has these methods, in both flavors of grpc; the base class does not declare them.
    call: Any = error
    code: grpc.StatusCode = call.code()
    message = call.details() or f"the call failed with {code.name}"
    trailing: Iterable[tuple[str, str | bytes]] = call.trailing_metadata() or ()
    headers: Iterable[tuple[str, str | bytes]] = ()
    if isinstance(error, grpc.aio.AioRpcError):
        headers = error.initial_metadata() or ()
    reason, detail = _details([*headers, *trailing])
    kind = BY_REASON.get(reason) or BY_CODE.get(code.name, InternalError)
    return kind(message, reason=reason, code=code.name, detail=detail)


def stream_error(code: str, reason: str, message: str) -> SaysoError:
    """Returns the error of one message of a stream."""
    kind = BY_REASON.get(reason) or BY_CODE.get(code, InternalError)
    return kind(message, reason=reason, code=code)


def _details(metadata: Iterable[tuple[str, str | bytes]]) -> tuple[str, Detail]:
    """Reads the details of the status. What cannot be read is left out: the code still says what happened."""
    reason, extra, retry_after, request_id = "", dict[str, str](), None, ""
    violations: list[tuple[str, str]] = []
    for key, value in metadata:
        if key == "x-request-id":
            request_id = value if isinstance(value, str) else value.decode("ascii", "replace")
        if key != _DETAILS or not isinstance(value, bytes):
            continue
        for packed in Status.FromString(value).details:
            info, retry = ErrorInfo(), RetryInfo()
            bad, unmet = BadRequest(), PreconditionFailure()
            quota = QuotaFailure()
            if packed.Unpack(info):
                reason, extra = info.reason, dict(info.metadata)
            elif packed.Unpack(retry):
                retry_after = retry.retry_delay.ToTimedelta().total_seconds()
            elif packed.Unpack(bad):
                violations += [(field.field, field.description) for field in bad.field_violations]
            elif packed.Unpack(unmet):
                violations += [(found.subject or found.type, found.description) for found in unmet.violations]
            elif packed.Unpack(quota):
                violations += [(found.subject, found.description) for found in quota.violations]
    return reason, Detail(extra, tuple(violations), retry_after, request_id)
