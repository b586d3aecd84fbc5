"""Converts between the types of the API and those of this package."""

from __future__ import annotations

import json
import math
import struct
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import uuid4

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from sayso.answers import Embedding
from sayso.v1 import common_pb2, profile_pb2

__all__ = [
    "duration",
    "embedding",
    "json_text",
    "moment",
    "name_of",
    "number_of",
    "time_of",
    "value_of",
    "write_options",
]


def name_of(kind: Any, number: int) -> str:
    """Returns the name of a value of an enum: `DENIAL_REASON_NO_CONSENT` is `no_consent`.

    A value that this version of the package does not know is `unknown_<number>`, and one that is not set is empty.
    """
    if number == 0:
        return ""
    descriptor = kind.DESCRIPTOR
    found = descriptor.values_by_number.get(number)
    return f"unknown_{number}" if found is None else found.name[len(_prefix(kind)) :].lower()


def number_of(kind: Any, name: str) -> int:
    """Returns the number of a value of an enum by its name.

    Raises:
        ValueError: The enum has no such value.
    """
    found = kind.DESCRIPTOR.values_by_name.get(_prefix(kind) + name.upper().replace("-", "_"))
    if found is None or found.number == 0:
        names = ", ".join(name_of(kind, number) for number in kind.DESCRIPTOR.values_by_number if number)
        raise ValueError(f"unknown name {name!r}; the names are {names}")
    return int(found.number)


def _prefix(kind: Any) -> str:
    """The prefix of all values: that of the first one, which is `…_UNSPECIFIED`."""
    return str(kind.DESCRIPTOR.values_by_number[0].name).removesuffix("UNSPECIFIED")


def json_text(value: Any) -> str:
    """Returns a value as JSON text, always the same for the same value.

    Raises:
        ValueError: The value is not JSON, for example because it contains a NaN.
    """
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True)
    except TypeError as error:
        raise ValueError(f"the value is not JSON: {error}") from error


def value_of(text: str) -> Any:
    """Returns the value of JSON text. Text that is not JSON is returned as it is."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def moment(at: datetime | None) -> Timestamp | None:
    """Returns a time as the API has it.

    Raises:
        ValueError: The time has no time zone.
    """
    if at is None:
        return None
    if at.tzinfo is None:
        raise ValueError("a time needs a time zone, such as datetime.now(timezone.utc)")
    stamp = Timestamp()
    stamp.FromDatetime(at.astimezone(timezone.utc).replace(tzinfo=None))
    return stamp


def time_of(stamp: Timestamp) -> datetime | None:
    """Returns a time of the API, in UTC, or `None` if it is not set."""
    if stamp.seconds == 0 and stamp.nanos == 0:
        return None
    return datetime.fromtimestamp(0, timezone.utc) + timedelta(seconds=stamp.seconds, microseconds=stamp.nanos // 1000)


def embedding(vector: Embedding | None) -> profile_pb2.EmbeddingInput | None:
    """Returns a vector as the API has it: in half precision, little-endian."""
    if vector is None:
        return None
    values = struct.pack(f"<{len(vector.values)}e", *vector.values)
    return profile_pb2.EmbeddingInput(model=vector.model, values=values)


def duration(length: timedelta | float | None) -> Duration | None:
    """Returns a length of time, in seconds or as a timedelta, as the API has it."""
    if length is None:
        return None
    seconds = length.total_seconds() if isinstance(length, timedelta) else float(length)
    if not math.isfinite(seconds):
        raise ValueError("a length of time must be finite")
    whole = Duration()
    whole.FromTimedelta(timedelta(seconds=seconds))
    return whole


def write_options(
    *, idempotency_key: str | None = None, about: datetime | None = None, is_keyed: bool = True
) -> common_pb2.WriteOptions:
    """Returns the options of a write: with the caller's idempotency key, or else with a new one."""
    key = idempotency_key or (str(uuid4()) if is_keyed else "")
    return common_pb2.WriteOptions(idempotency_key=key, about=moment(about))
