/** What the ledger answers, as plain values. */

import type { ConsentDecision, UnmatchedKind } from "./generated/sayso/v1/consent_pb.js";
import type { DenialReason } from "./generated/sayso/v1/common_pb.js";
import type {
  ErasureScope,
  LegalBasis,
  PackageKind,
  Provenance,
  SignalKind,
  Tier,
} from "./generated/sayso/v1/events_pb.js";
import type { ExplainGrantResponse, ListedUse, RevocationReason, UseKind } from "./generated/sayso/v1/grant_pb.js";
import type { RequestState } from "./generated/sayso/v1/rights_pb.js";
import type { SaysoError } from "./errors.js";
import type { Json } from "./json.js";

/** The names of an enum of the API in lower case, without its prefix and without `unspecified`. */
export type KnownName<E> = Lowercase<Exclude<keyof E & string, "UNSPECIFIED">>;

/** A name of an enum of the API. It is empty if it is not set, and `unknown_<number>` if a newer ledger sent it. */
export type NameOf<E> = KnownName<E> | "" | `unknown_${number}`;

/** One name, or several. */
export type OneOrMore = string | readonly string[];

/** A vector that a model computed from a text. The ledger compares only vectors of the same model. */
export interface Embedding {
  /** The model and its version, 1 to 128 bytes. */
  readonly model: string;
  /** 1 to 4,096 finite numbers. They are sent in half precision, so none may be larger than 65,504. */
  readonly values: Iterable<number>;
}

/** What else can be said about a fact. */
export interface FactOptions {
  /** The id of a category of the vocabulary. Absent lets the ledger's categorizer choose. */
  readonly category?: string;
  /** Whether the person declared it, the service observed it, or a model inferred it. Default: `observed`. */
  readonly provenance?: KnownName<typeof Provenance>;
  /** The evidence for it, such as ids of messages: at most 64, each of at most 256 bytes. */
  readonly evidence?: readonly string[];
  /** Event ids of the facts about the same person that it was derived from: at most 64. */
  readonly derivedFrom?: readonly string[];
  /** From 0 to 1. Only for inferences. */
  readonly confidence?: number;
  /** The model that inferred it. Only for inferences. */
  readonly model?: string;
  /** When it was observed. It must not be in the future. Default: now. */
  readonly observedAt?: Date;
  /** When it may no longer be used. Default for inferences: after 365 days. */
  readonly expiresAt?: Date;
  /** The event id of the fact that this one corrects. */
  readonly corrects?: string;
  /** The replies that an inference was drawn from. */
  readonly fromReplies?: readonly string[];
  /** A vector for the value, to rank by. The ledger keeps it sealed, in half precision. */
  readonly embedding?: Embedding;
}

/** Something to remember about a person. */
export interface Fact extends FactOptions {
  /** Its name, 1 to 256 bytes. A fact replaces an earlier one with the same key. */
  readonly key: string;
  /** Anything that is JSON, at most 16 KiB of it. */
  readonly value: Json;
}

/** The receipt of a write. It is durable. */
export interface Receipt {
  readonly eventIds: readonly string[];
  /** The positions of the events in the log. */
  readonly positions: readonly bigint[];
  readonly recordedAt: Date | undefined;
  /** A signed checkpoint of a tree that contains the events. */
  readonly checkpoint: string;
  /** The same request was made before, and nothing new was written. */
  readonly isReplayed: boolean;
}

/**
 * What became of a fact: `recorded`; `unchanged`, if the same request was made before; `superseded`, if it was recorded
 * but something that the person said, or a later observation, is in the profile instead; or `refused`.
 */
export type Outcome = "recorded" | "unchanged" | "superseded" | "refused";

/** What became of one fact. */
export interface Remembered {
  readonly fact: Fact;
  readonly outcome: Outcome;
  /** The fact is in the person's profile now. */
  readonly isInProfile: boolean;
  readonly eventId: string;
  readonly position: bigint | undefined;
  /** Why it is not in the profile, or was refused. */
  readonly why: string;
  /** The refusal, with its `reason` and `hint`. */
  readonly error: SaysoError | undefined;
  /** The caller's grants that ended because this replaces what they allowed. (Of a batch: those of the batch.) */
  readonly revokedGrants: readonly string[];
  /** Existing keys that could be confused with this one. */
  readonly similarKeys: readonly string[];
}

/** A fact that may be used, for the purpose and the time of its grant. */
export interface AllowedFact {
  readonly key: string;
  readonly value: Json;
  /** The value as it was recorded, as JSON text. */
  readonly json: string;
  readonly category: string;
  readonly provenance: NameOf<typeof Provenance>;
  readonly observedAt: Date | undefined;
  /** The confidence of an inference, from 0 to 1. */
  readonly confidence: number | undefined;
  readonly eventId: string;
  /** The consent that allows it. Empty if the use rests on another legal basis. */
  readonly consentEventId: string;
  readonly legalBasis: NameOf<typeof LegalBasis>;
  /** How well it fits the text of `about`. Absent if there was no such text. */
  readonly score: number | undefined;
}

/** What would change a decision. */
export type RemedyKind =
  | "consent"
  | "explicit_consent"
  | "consent_for_this_chat"
  | "guardian_consent"
  | "lift_signal"
  | "confirm"
  | "record_again"
  | "allow_sources"
  | "ask_for_less"
  | "change_own_rules"
  | "withdraw_erasure"
  | "operator"
  | "publisher"
  | "none";

/** What would change a decision, for programs. `Withheld.explanation` says it to people. */
export interface Remedy {
  readonly kind: RemedyKind;
  readonly purpose: string;
  readonly category: string;
  /** Don't ask for it: the person said no, and can change it at any time. */
  readonly onlyByPerson: boolean;
}

/** A class of facts that may not be used, and why. */
export interface Withheld {
  readonly category: string;
  readonly provenance: NameOf<typeof Provenance>;
  /** How many facts. */
  readonly count: number;
  readonly reason: NameOf<typeof DenialReason>;
  /** `public` (the law), `provider` or `individual` (the person). */
  readonly decidedBy: NameOf<typeof Tier>;
  /** The policy that decided, as `pack/id`. */
  readonly policy: string;
  readonly article: string;
  /** The reason as a sentence for people. */
  readonly explanation: string;
  readonly remedy: Remedy;
}

/** Whether a grant is valid now. */
export interface Check {
  readonly valid: boolean;
  readonly expiresAt: Date | undefined;
  /** Why it is not valid: a reason of the ledger, `unavailable`, or the status of a use that has no grant. */
  readonly reason: string;
  readonly erasedKeys: readonly string[];
}

/** What the ledger did with a decision or a signal of the person. */
export interface Said {
  readonly receipt: Receipt;
  /** The caller's grants that ended because of it. */
  readonly revokedGrants: readonly string[];
  /**
   * Which parts matched nothing in the ledger, such as `subject` or `consent`. An id may be mistyped. Always empty for
   * a service that is not a channel.
   */
  readonly unmatched: readonly NameOf<typeof UnmatchedKind>[];
  /** Purposes for which data is still used despite a no, because they rest on a contract or a legal obligation. */
  readonly remainingUses: readonly string[];
}

/** A signal of the person. */
export type SignalName = KnownName<typeof SignalKind>;

/** A decision of the person. */
export interface Consent {
  readonly decision: NameOf<typeof ConsentDecision>;
  readonly purposes: readonly string[];
  readonly categories: readonly string[];
  readonly recipients: readonly string[];
  readonly isExplicit: boolean;
  readonly isInForce: boolean;
  readonly recordedAt: Date | undefined;
  readonly until: Date | undefined;
  /** The id of the notice that the person saw. */
  readonly notice: string;
  readonly eventId: string;
}

/** On whose say-so a reply was personalized. */
export interface Explanation {
  /** The whole explanation, for people. */
  readonly text: string;
  readonly grantId: string;
  readonly purpose: string;
  readonly chat: string;
  readonly valid: boolean;
  /** Why the grant is no longer valid. */
  readonly reason: NameOf<typeof RevocationReason>;
  /** The keys that the grant allowed. */
  readonly allowed: readonly string[];
  /** The replies that were reported. */
  readonly replies: readonly string[];
  /** The whole answer. */
  readonly message: ExplainGrantResponse;
}

/** A use of facts about a person. */
export interface RecordedUse {
  readonly kind: NameOf<typeof UseKind>;
  readonly recipient: string;
  readonly purpose: string;
  readonly chat: string;
  readonly grantId: string;
  readonly reply: string;
  readonly keys: readonly string[];
  readonly recordedAt: Date | undefined;
  /** The whole answer, with the consents and rules that allowed the use. */
  readonly message: ListedUse;
}

/** A fact in a person's profile, as the person and stewards see it. */
export interface ProfileFact {
  readonly key: string;
  readonly value: Json;
  /** The value as it was recorded, as JSON text. */
  readonly json: string;
  readonly category: string;
  readonly provenance: NameOf<typeof Provenance>;
  readonly recordedBy: string;
  readonly recordedAt: Date | undefined;
  readonly isContested: boolean;
  readonly isConfirmed: boolean;
  readonly eventId: string;
}

/** What an erasure is about. */
export type ErasureScopeName = Exclude<KnownName<typeof ErasureScope>, "retention">;

/** What a package contains: everything (`access`), or what the person provided (`portability`). */
export type PackageName = KnownName<typeof PackageKind>;

/** A request for erasure, and what became of it. */
export interface Erasure {
  readonly requestId: string;
  /** `completed`, or `partly`, `open` or `refused` if a hold prevents it or a steward has to decide. */
  readonly state: NameOf<typeof RequestState>;
  readonly isComplete: boolean;
  readonly reason: string;
  readonly completedAt: Date | undefined;
  readonly entriesDestroyed: bigint;
  /** The number of erased facts by category. */
  readonly erasedByCategory: Readonly<Record<string, number>>;
  /** A document that `sayso verify` checks offline. */
  readonly certificate: string;
}

/** Grants and artifacts of the caller may no longer be used. Delete what was built from them. */
export interface Revocation {
  /** The place in the log from which a watch continues. */
  readonly cursor: bigint;
  readonly grantIds: readonly string[];
  readonly artifactIds: readonly string[];
  readonly reason: NameOf<typeof RevocationReason>;
  /** Absent if it is in effect but not recorded yet; then it is reported once more. */
  readonly recordedAt: Date | undefined;
  readonly erasedScope: NameOf<typeof ErasureScope>;
  /** No grant at all is valid for now, because the log was restored or the clock is in doubt. */
  readonly isSuspension: boolean;
}
