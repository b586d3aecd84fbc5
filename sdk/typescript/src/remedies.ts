/**
 * What would change a decision: the same as the ledger says in words, for programs.
 *
 * A type checks that every reason of the API is here. The wording is in `src/domain/wording.rs` of Sayso.
 */

import type { DenialReason } from "./generated/sayso/v1/common_pb.js";
import type { KnownName, Remedy, RemedyKind } from "./answers.js";

type Change = readonly [kind: RemedyKind, onlyByPerson: boolean];

const REMEDIES: Readonly<Record<KnownName<typeof DenialReason>, Change>> = {
  no_consent: ["consent", false],
  consent_expired: ["consent", false],
  words_changed: ["consent", false],
  notice_outdated: ["consent", false],
  consent_too_old: ["consent", false],
  guardian_ended: ["consent", false],
  consent_refused: ["consent", true],
  consent_withdrawn: ["consent", true],
  not_explicit: ["explicit_consent", false],
  not_asked: ["consent_for_this_chat", false],
  guardian_needed: ["guardian_consent", false],
  restricted: ["lift_signal", true],
  objected: ["lift_signal", true],
  paused: ["lift_signal", true],
  opted_out: ["lift_signal", true],
  opted_out_automated: ["lift_signal", true],
  sensitive_limited: ["lift_signal", true],
  contested: ["confirm", true],
  kept_only: ["withdraw_erasure", true],
  attribute_expired: ["record_again", false],
  source_withheld: ["allow_sources", false],
  answer_full: ["ask_for_less", false],
  restore_unconfirmed: ["operator", false],
  clock_skewed: ["operator", false],
  forbidden: ["publisher", false],
  not_permitted: ["publisher", false],
  policy_error: ["publisher", false],
};

/** Returns what would change a decision. A reason that this package does not know has no remedy. */
export function remedyOf(reason: string, policy: string, purpose: string, category: string): Remedy {
  if (policy.startsWith("personal/") && reason !== "not_asked") {
    return { kind: "change_own_rules", purpose, category, onlyByPerson: true };
  }
  const known: Readonly<Partial<Record<string, Change>>> = REMEDIES;
  const [kind, onlyByPerson] = known[reason] ?? ["none", false];
  return { kind, purpose, category, onlyByPerson };
}
