/** Records facts one by one or together, and says what became of each. */

import { create, toBinary } from "@bufbuild/protobuf";
import type { Fact, Remembered } from "./answers.js";
import type { Caller } from "./caller.js";
import type { Categorizer } from "./defaults.js";
import { InvalidRequestError, SaysoError } from "./errors.js";
import {
  ProfileService,
  RecordAttributesRequestSchema,
  type RecordAttributesResponse,
} from "./generated/sayso/v1/profile_pb.js";
import { receiptOf } from "./grants.js";
import { recordRequest } from "./profile.js";

const FACTS_MAX = 128;
const BATCH_BYTES_MAX = 1024 * 1024;
const SUPERSEDED = "what the person said, or a later observation, is in the profile instead";
// What the ledger, its rules or the person refuse about a fact. Every other error is about the call as a whole.
const REFUSALS: ReadonlySet<string> = new Set([
  "ATTRIBUTE_LIMIT_REACHED",
  "CHANNEL_ROLE_REQUIRED",
  "ERASED",
  "INVALID_REQUEST",
  "RECORDED_BY_ANOTHER",
  "RECORDING_REFUSED",
  "REFUSED_BY_SUBJECT",
  "SERVICE_ROLE_REQUIRED",
  "STATED_BY_SUBJECT",
]);

/** A fact, and its place in what the caller gave. */
interface Numbered {
  readonly index: number;
  readonly fact: Fact;
}

/**
 * Records facts in batches, and says what became of each, in order.
 *
 * The ledger records all facts of a call or none. So if it refuses a batch, its facts are sent again one by one.
 *
 * @throws SaysoError The error is about the call and not about a fact.
 */
export async function rememberFacts(
  caller: Caller,
  person: string,
  given: readonly Fact[],
  idempotencyKey: string | undefined,
): Promise<readonly Remembered[]> {
  const became = new Map<number, Remembered>();
  const facts = given.map((fact, index) => ({ index, fact: categorized(fact, caller.defaults.categorizer) }));
  for (const batch of batchesOf(person, facts, became)) {
    if (await record(caller, person, batch, idempotencyKey, became)) continue;
    for (const alone of batch) await record(caller, person, [alone], idempotencyKey, became);
  }
  return [...became].sort(([a], [b]) => a - b).map(([, remembered]) => remembered);
}

/** Yields the facts to send together. A fact that cannot be sent is refused here. */
function* batchesOf(
  person: string,
  facts: readonly Numbered[],
  became: Map<number, Remembered>,
): Generator<readonly Numbered[], void, undefined> {
  let batch: Numbered[] = [];
  let size = 0;
  for (const numbered of facts) {
    const length = sizeOf(person, numbered, became);
    if (length === undefined) continue;
    if (batch.length > 0 && (batch.length === FACTS_MAX || size + length > BATCH_BYTES_MAX)) {
      yield batch;
      [batch, size] = [[], 0];
    }
    batch.push(numbered);
    size += length;
  }
  if (batch.length > 0) yield batch;
}

function sizeOf(person: string, { index, fact }: Numbered, became: Map<number, Remembered>): number | undefined {
  try {
    const request = create(RecordAttributesRequestSchema, recordRequest(person, [fact]));
    return toBinary(RecordAttributesRequestSchema, request).length;
  } catch (error) {
    // The message does not repeat what was to be recorded.
    const why = error instanceof Error ? error.message : "it cannot be encoded";
    const message = `the fact cannot be sent: ${why}`;
    became.set(index, refused(fact, message, new InvalidRequestError(message, { reason: "INVALID_REQUEST" })));
    return undefined;
  }
}

/** Records a batch, and returns false if its facts have to be sent one by one, because one of them was refused. */
async function record(
  caller: Caller,
  person: string,
  batch: readonly Numbered[],
  idempotencyKey: string | undefined,
  became: Map<number, Remembered>,
): Promise<boolean> {
  const key = keyOf(batch, idempotencyKey);
  const facts = batch.map(({ fact }) => fact);
  try {
    const answer = await caller.call(ProfileService.method.recordAttributes, recordRequest(person, facts, key));
    batch.forEach(({ index, fact }, at) => became.set(index, taken(fact, at, answer)));
    caller.openUses.revoked(answer.revokedGrants, "attribute_replaced");
    return true;
  } catch (error) {
    if (!(error instanceof SaysoError) || !REFUSALS.has(error.reason)) throw error;
    if (batch.length > 1) return false;
    const violations = error.detail.violations.map(({ description }) => description).join("; ");
    for (const { index, fact } of batch) became.set(index, refused(fact, violations || error.message, error));
    return true;
  }
}

function keyOf(batch: readonly Numbered[], idempotencyKey: string | undefined): string | undefined {
  if (idempotencyKey === undefined) return undefined;
  return `${idempotencyKey}/${batch[0]?.index ?? 0}-${batch.at(-1)?.index ?? 0}`;
}

function taken(fact: Fact, at: number, answer: RecordAttributesResponse): Remembered {
  const receipt = receiptOf(answer.receipt);
  const isInProfile = !answer.superseded.includes(at);
  return {
    fact,
    outcome: !isInProfile ? "superseded" : receipt.isReplayed ? "unchanged" : "recorded",
    isInProfile,
    eventId: receipt.eventIds[at] ?? "",
    position: receipt.positions[at],
    why: isInProfile ? "" : SUPERSEDED,
    error: undefined,
    revokedGrants: answer.revokedGrants,
    similarKeys: answer.similarKeys.filter((found) => found.attribute === at).map((found) => found.key),
  };
}

function refused(fact: Fact, why: string, error: SaysoError): Remembered {
  const nothing = { eventId: "", position: undefined, revokedGrants: [], similarKeys: [] };
  return { fact, outcome: "refused", isInProfile: false, why, error, ...nothing };
}

function categorized(fact: Fact, categorizer: Categorizer | undefined): Fact {
  if (categorizer === undefined || (fact.category ?? "") !== "") return fact;
  return { ...fact, category: categorizer(fact.key, fact.value) };
}

/** Returns the facts, with the evidence added to those that have none of their own. */
export function withEvidence(facts: readonly Fact[], evidence: readonly string[]): readonly Fact[] {
  return facts.map((fact) => ((fact.evidence ?? []).length > 0 ? fact : { ...fact, evidence }));
}
