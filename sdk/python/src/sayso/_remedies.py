"""What would change a decision: the same as the ledger says in words, for programs.

A test compares the reasons with those of the API. The wording is in `src/domain/wording.rs` of Sayso.
"""

from __future__ import annotations

from collections.abc import Mapping

from sayso.answers import Remedy, RemedyKind

__all__ = ["REMEDIES", "remedy_of"]

REMEDIES: Mapping[str, tuple[RemedyKind, bool]] = {
    "no_consent": ("consent", False),
    "consent_expired": ("consent", False),
    "words_changed": ("consent", False),
    "notice_outdated": ("consent", False),
    "consent_too_old": ("consent", False),
    "guardian_ended": ("consent", False),
    "consent_refused": ("consent", True),
    "consent_withdrawn": ("consent", True),
    "not_explicit": ("explicit_consent", False),
    "not_asked": ("consent_for_this_chat", False),
    "guardian_needed": ("guardian_consent", False),
    "restricted": ("lift_signal", True),
    "objected": ("lift_signal", True),
    "paused": ("lift_signal", True),
    "opted_out": ("lift_signal", True),
    "opted_out_automated": ("lift_signal", True),
    "sensitive_limited": ("lift_signal", True),
    "contested": ("confirm", True),
    "kept_only": ("withdraw_erasure", True),
    "attribute_expired": ("record_again", False),
    "source_withheld": ("allow_sources", False),
    "answer_full": ("ask_for_less", False),
    "restore_unconfirmed": ("operator", False),
    "clock_skewed": ("operator", False),
    "forbidden": ("publisher", False),
    "not_permitted": ("publisher", False),
    "policy_error": ("publisher", False),
}
"""What would change each reason, and whether only the person may bring it up."""


def remedy_of(reason: str, policy: str, purpose: str, category: str) -> Remedy:
    """Returns what would change a decision. A reason that this package does not know has no remedy."""
    kind, only_by_person = REMEDIES.get(reason, ("none", False))
    if policy.startswith("personal/") and reason != "not_asked":
        kind, only_by_person = "change_own_rules", True
    return Remedy(kind, purpose, category, only_by_person)
