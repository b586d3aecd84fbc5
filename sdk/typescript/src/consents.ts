/** The calls about what a person says, and how their answers are read. */

import type { Consent, OneOrMore, Receipt, Said, SignalName } from "./answers.js";
import type { Caller, Page } from "./caller.js";
import { BoundsService } from "./generated/sayso/v1/bounds_pb.js";
import {
  ConsentDecision,
  ConsentDecisionSchema,
  ConsentService,
  type RecordConsentResponse,
  type RecordSignalResponse,
  type UnmatchedKind,
  UnmatchedKindSchema,
} from "./generated/sayso/v1/consent_pb.js";
import { SignalKindSchema } from "./generated/sayso/v1/events_pb.js";
import { receiptOf } from "./grants.js";
import { dateOf, listOf, nameOf, numberOf, timestampOf, writeOptions } from "./wire.js";

/** What a decision covers. */
export interface DecisionOptions {
  /** How the person spoke, such as `web` or `voice`. Default: `chat`. */
  readonly channel?: string;
  /** Only these categories. A yes without categories covers all of them but the special ones. */
  readonly categories?: OneOrMore;
  /** Only these services. */
  readonly recipients?: OneOrMore;
  /** Only these conversations. */
  readonly chats?: OneOrMore;
  /** Makes it safe to repeat the request, even in another process. Default: a new key for each call. */
  readonly idempotencyKey?: string;
}

/** What a consent covers. */
export interface ConsentOptions extends DecisionOptions {
  /** The id of the published notice that the person saw. */
  readonly notice: string;
  /** The person consented explicitly. Special categories need that, and have to be named in `categories`. */
  readonly explicit?: boolean;
  /** When the consent ends. */
  readonly until?: Date;
  /** The decision comes from the holder of parental responsibility. */
  readonly guardian?: boolean;
}

/** What the person decided. */
export interface Decision extends DecisionOptions, Partial<ConsentOptions> {
  readonly kind: ConsentDecision.GIVEN | ConsentDecision.REFUSED | ConsentDecision.WITHDRAWN;
  readonly purposes: OneOrMore | undefined;
}

/** Records a decision of the person. */
export async function recordConsent(caller: Caller, person: string, decision: Decision): Promise<Said> {
  const choice = {
    decision: decision.kind,
    purposes: listOf(decision.purposes),
    categories: listOf(decision.categories),
    recipients: listOf(decision.recipients),
    interactions: listOf(decision.chats),
    explicit: decision.explicit ?? false,
    ...(decision.until === undefined ? {} : { expiresAt: timestampOf(decision.until) }),
  };
  const answer = await caller.call(ConsentService.method.recordConsent, {
    subject: person,
    choices: [choice],
    ...(decision.notice === undefined ? {} : { notice: { id: decision.notice } }),
    channel: decision.channel ?? "chat",
    guardian: decision.guardian ?? false,
    options: writeOptions(decision.idempotencyKey),
  });
  return saidOf(answer);
}

/** How a signal is recorded. */
export interface SignalOptions {
  /** Only these purposes. Default: all. */
  readonly purposes?: OneOrMore;
  /** Lifts an earlier signal instead. */
  readonly lift?: boolean;
  /** Limits a pause to a conversation. */
  readonly chat?: string;
  /** Makes it safe to repeat the request, even in another process. Default: a new key for each call. */
  readonly idempotencyKey?: string;
}

/** Records or lifts a signal of the person. */
export async function recordSignal(
  caller: Caller,
  person: string,
  kind: SignalName,
  options: SignalOptions,
): Promise<Said> {
  const answer = await caller.call(ConsentService.method.recordSignal, {
    subject: person,
    kind: numberOf(SignalKindSchema, kind),
    purposes: listOf(options.purposes),
    lift: options.lift ?? false,
    interaction: options.chat ?? "",
    options: writeOptions(options.idempotencyKey),
  });
  return saidOf(answer);
}

function saidOf(answer: RecordConsentResponse | RecordSignalResponse): Said {
  return {
    receipt: receiptOf(answer.receipt),
    revokedGrants: answer.revokedGrants,
    unmatched: answer.unmatched.map((found) => nameOf<typeof UnmatchedKind>(UnmatchedKindSchema, found.kind)),
    remainingUses: answer.remainingUses.map((use) => use.purpose),
  };
}

/** Lists a page of decisions, oldest first. */
export async function listConsents(caller: Caller, person: string, token: string): Promise<Page<Consent>> {
  const answer = await caller.call(ConsentService.method.listConsents, { subject: person, pageToken: token });
  const items = answer.consents.map((found) => ({
    decision: nameOf<typeof ConsentDecision>(ConsentDecisionSchema, found.decision),
    purposes: found.purposes,
    categories: found.categories,
    recipients: found.recipients,
    isExplicit: found.explicit,
    isInForce: found.inForce,
    recordedAt: dateOf(found.recordedAt),
    until: dateOf(found.expiresAt),
    notice: found.notice?.id ?? "",
    eventId: found.eventId,
  }));
  return { items, next: answer.nextPageToken };
}

/** How a notice is published. */
export interface NoticeOptions {
  /** Default: `1`. */
  readonly version?: string;
  /** As in BCP 47. Default: `en`. */
  readonly language?: string;
}

/** Publishes a version of a notice. */
export async function publishNotice(
  caller: Caller,
  id: string,
  text: string,
  { version = "1", language = "en" }: NoticeOptions,
): Promise<Receipt> {
  const request = { id, version, language, text, options: writeOptions() };
  return receiptOf((await caller.call(BoundsService.method.publishNotice, request)).receipt);
}
