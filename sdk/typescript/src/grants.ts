/** The calls about grants, and how their answers are read. */

import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import type {
  AllowedFact,
  Check,
  Embedding,
  Explanation,
  OneOrMore,
  Receipt,
  RecordedUse,
  Revocation,
  Withheld,
} from "./answers.js";
import type { Caller, Page } from "./caller.js";
import {
  type DenialReason,
  DenialReasonSchema,
  type Receipt as ReceiptMessage,
} from "./generated/sayso/v1/common_pb.js";
import {
  type ErasureScope,
  ErasureScopeSchema,
  type LegalBasis,
  LegalBasisSchema,
  type Provenance,
  ProvenanceSchema,
  type Tier,
  TierSchema,
} from "./generated/sayso/v1/events_pb.js";
import {
  GrantService,
  type RelevanceSchema,
  type RequestGrantRequestSchema,
  type RequestGrantResponse,
  type RevocationReason,
  RevocationReasonSchema,
  type UseKind,
  UseKindSchema,
  type WatchRevocationsResponse,
} from "./generated/sayso/v1/grant_pb.js";
import { jsonValue } from "./json.js";
import { remedyOf } from "./remedies.js";
import { compareText } from "./text.js";
import { dateOf, durationOf, embeddingOf, listOf, nameOf, timestampOf, writeOptions } from "./wire.js";

/** What is asked for. */
export interface GrantOptions {
  /** The service's own name of the conversation, at most 128 bytes. Within it, grants are reused. */
  readonly chat?: string;
  /** Only facts of these categories and their subcategories. */
  readonly categories?: OneOrMore;
  /** Only facts with these keys. */
  readonly keys?: OneOrMore;
  /** How long the grant lasts, in milliseconds: 1 second to 24 hours. Default: 10 minutes. */
  readonly ttlMs?: number;
  /** A text, such as what the person wrote, of at most 8 KiB. Only facts that fit it are asked for. */
  readonly about?: string;
  /** The most facts to choose, 1 to 256, with `about` or `embedding`. Default: 8. */
  readonly topK?: number;
  /** A vector for the text, of the model that computed those of the facts. */
  readonly embedding?: Embedding;
}

/**
 * Asks what may be used. In a chat, the ledger answers a repeated request with the existing grant.
 *
 * An idempotency key would prevent that, so a request in a chat has none: repeating it is safe without. A request
 * about a text always gets a new grant, so it has one.
 */
export async function requestGrant(
  caller: Caller,
  person: string,
  purpose: string,
  options: GrantOptions,
): Promise<RequestGrantResponse> {
  const relevance = relevanceOf(options);
  const chat = options.chat ?? "";
  const request: MessageInitShape<typeof RequestGrantRequestSchema> = {
    subject: person,
    purpose,
    categories: listOf(options.categories),
    keys: listOf(options.keys),
    interaction: chat,
    ...(options.ttlMs === undefined ? {} : { ttl: durationOf(options.ttlMs) }),
    ...(relevance === undefined ? {} : { relevance }),
    options: relevance !== undefined || chat === "" ? writeOptions() : {},
  };
  return caller.call(GrantService.method.requestGrant, request, caller.defaults.replyTimeoutMs);
}

function relevanceOf(options: GrantOptions): MessageInitShape<typeof RelevanceSchema> | undefined {
  const { about = "", topK = 8, embedding } = options;
  if (about === "" && embedding === undefined) return undefined;
  return { text: about, topK, ...(embedding === undefined ? {} : { embedding: embeddingOf(embedding) }) };
}

/**
 * Reads what a grant allows, in an order that depends on nothing else.
 *
 * What was asked about a text stays in the order of its relevance, the best first.
 */
export function allowedOf(answer: RequestGrantResponse): readonly AllowedFact[] {
  const facts = answer.allowed.map((found) => ({
    key: found.key,
    value: jsonValue(found.valueJson),
    json: found.valueJson,
    category: found.category,
    provenance: nameOf<typeof Provenance>(ProvenanceSchema, found.provenance),
    observedAt: dateOf(found.observedAt),
    confidence: found.confidence,
    eventId: found.eventId,
    consentEventId: found.consentEventId,
    legalBasis: nameOf<typeof LegalBasis>(LegalBasisSchema, found.legalBasis),
    score: found.score,
  }));
  return answer.ranking === undefined ? facts.sort(inOrder) : facts;
}

function inOrder(a: AllowedFact, b: AllowedFact): number {
  return compareText(a.category, b.category) || compareText(a.key, b.key) || compareText(a.eventId, b.eventId);
}

/** Reads what a grant withholds. */
export function withheldOf(answer: RequestGrantResponse, purpose: string): readonly Withheld[] {
  return answer.withheld.map((found) => {
    const reason = nameOf<typeof DenialReason>(DenialReasonSchema, found.reason);
    return {
      category: found.category,
      provenance: nameOf<typeof Provenance>(ProvenanceSchema, found.provenance),
      count: found.count,
      reason,
      decidedBy: nameOf<typeof Tier>(TierSchema, found.decidedBy),
      policy: found.policy,
      article: found.article,
      explanation: found.explanation,
      remedy: remedyOf(reason, found.policy, purpose, found.category),
    };
  });
}

/** Reads a receipt. */
export function receiptOf(receipt: ReceiptMessage | undefined): Receipt {
  const events = receipt?.events ?? [];
  return {
    eventIds: events.map((event) => event.eventId),
    positions: events.map((event) => event.position),
    recordedAt: dateOf(events.at(-1)?.recordedAt),
    checkpoint: receipt?.checkpoint ?? "",
    isReplayed: receipt?.replayed ?? false,
  };
}

/** Asks whether one of the caller's grants is valid. */
export async function checkGrant(caller: Caller, grantId: string, timeoutMs?: number): Promise<Check> {
  const answer = await caller.call(GrantService.method.checkGrant, { grantId }, timeoutMs);
  return {
    valid: answer.valid,
    expiresAt: dateOf(answer.expiresAt),
    reason: nameOf<typeof RevocationReason>(RevocationReasonSchema, answer.reason),
    erasedKeys: answer.erasedKeys,
  };
}

/** A report of a reply. */
export interface Report {
  readonly grantId: string;
  readonly reply: string;
  readonly shapedBy: readonly string[];
  readonly aiDisclosed: boolean;
  /** When the grant was used, if it has ended since then. */
  readonly about: Timestamp | undefined;
  readonly idempotencyKey: string;
}

/** Reports that a grant was used for a reply. */
export async function reportUse(caller: Caller, report: Report): Promise<Receipt> {
  const answer = await caller.call(GrantService.method.reportUse, {
    grantId: report.grantId,
    reply: report.reply,
    shapedBy: [...report.shapedBy],
    aiDisclosureShown: report.aiDisclosed,
    options: writeOptions(report.idempotencyKey, report.about),
  });
  return receiptOf(answer.receipt);
}

/** Says that the revocation at a cursor was carried out. */
export async function acknowledge(caller: Caller, cursor: bigint): Promise<Receipt> {
  const answer = await caller.call(GrantService.method.acknowledge, { cursor, options: writeOptions() });
  return receiptOf(answer.receipt);
}

/** Receives revocations after a cursor, or from now on. */
export async function* watchRevocations(
  caller: Caller,
  after: bigint | undefined,
  signal: AbortSignal,
): AsyncGenerator<Revocation, void, undefined> {
  const request = after === undefined ? {} : { afterCursor: after };
  for await (const answer of caller.stream(GrantService.method.watchRevocations, request, { signal })) {
    yield revocationOf(answer);
  }
}

function revocationOf(answer: WatchRevocationsResponse): Revocation {
  return {
    cursor: answer.cursor,
    grantIds: answer.grantIds,
    artifactIds: answer.artifactIds,
    reason: nameOf<typeof RevocationReason>(RevocationReasonSchema, answer.reason),
    recordedAt: dateOf(answer.recordedAt),
    erasedScope: nameOf<typeof ErasureScope>(ErasureScopeSchema, answer.erasedScope),
    isSuspension: answer.grantIds.length === 0 && answer.artifactIds.length === 0,
  };
}

/** Asks on whose say-so a grant was given, and what came of it. */
export async function explainGrant(caller: Caller, grantId: string): Promise<Explanation> {
  const answer = await caller.call(GrantService.method.explainGrant, { grantId });
  return {
    text: answer.text,
    grantId: answer.grantId,
    purpose: answer.purpose,
    chat: answer.interaction,
    valid: answer.valid,
    reason: nameOf<typeof RevocationReason>(RevocationReasonSchema, answer.reason),
    allowed: answer.allowed.map((fact) => fact.key),
    replies: answer.uses.map((use) => use.reply),
    message: answer,
  };
}

/** Which uses to list. */
export interface UsesFilter {
  /** Only uses of facts in this category or below it. */
  readonly category?: string;
  /** Only uses by this service. */
  readonly recipient?: string;
  /** Only uses at this time or later. */
  readonly since?: Date;
  /** Only uses before this time. */
  readonly until?: Date;
}

/** Lists a page of uses, oldest first. */
export async function listUses(
  caller: Caller,
  person: string,
  filter: UsesFilter,
  token: string,
): Promise<Page<RecordedUse>> {
  const answer = await caller.call(GrantService.method.listUses, {
    subject: person,
    category: filter.category ?? "",
    recipient: filter.recipient ?? "",
    ...(filter.since === undefined ? {} : { from: timestampOf(filter.since) }),
    ...(filter.until === undefined ? {} : { to: timestampOf(filter.until) }),
    pageToken: token,
  });
  const items = answer.uses.map((found) => ({
    kind: nameOf<typeof UseKind>(UseKindSchema, found.kind),
    recipient: found.recipient,
    purpose: found.purpose,
    chat: found.interaction,
    grantId: found.grantId,
    reply: found.reply,
    keys: found.attributes.map((used) => used.key),
    recordedAt: dateOf(found.recordedAt),
    message: found,
  }));
  return { items, next: answer.nextPageToken };
}
