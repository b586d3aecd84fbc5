"""Errors have a class for each reason, and the reasons are those of docs/errors.md and of the API."""

from __future__ import annotations

import pickle
import re

from daemon import REPOSITORY

from sayso._remedies import REMEDIES
from sayso._wire import name_of
from sayso.errors import BY_REASON, BusyError, Detail, SaysoError
from sayso.v1 import common_pb2


def test_every_documented_reason_has_a_class_and_a_hint() -> None:
    page = (REPOSITORY / "docs" / "errors.md").read_text()
    documented = set(re.findall(r"^\| `([A-Z_]+)` \|", page, re.MULTILINE))
    assert documented == set(BY_REASON)
    for reason, kind in BY_REASON.items():
        assert kind("message", reason=reason).hint != SaysoError.hint


def test_every_reason_of_a_denial_has_a_remedy() -> None:
    numbers = common_pb2.DenialReason.DESCRIPTOR.values_by_number
    assert {name_of(common_pb2.DenialReason, number) for number in numbers if number} == set(REMEDIES)


def test_an_error_says_its_reason_and_what_to_do_and_can_be_pickled() -> None:
    error = BusyError("too many calls", reason="TOO_MANY_CALLS", detail=Detail(retry_after=2.0))
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert (type(copy), copy.reason, copy.detail.retry_after) == (BusyError, "TOO_MANY_CALLS", 2.0)
    assert str(copy) == f"too many calls [TOO_MANY_CALLS]. {BusyError.hint}"
