/** The calls about a person's facts, and how their answers are read. */

import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Fact, OneOrMore, ProfileFact, Receipt } from "./answers.js";
import type { Caller, Page } from "./caller.js";
import { type Provenance, ProvenanceSchema, RoleSchema } from "./generated/sayso/v1/events_pb.js";
import {
  type AttributeInputSchema,
  ProfileService,
  type RecordAttributesRequestSchema,
} from "./generated/sayso/v1/profile_pb.js";
import { receiptOf } from "./grants.js";
import { jsonText, jsonValue } from "./json.js";
import { dateOf, embeddingOf, listOf, nameOf, numberOf, timestampOf, writeOptions } from "./wire.js";

/**
 * Returns the request that records facts, all or none.
 *
 * @throws TypeError | RangeError A fact cannot be sent, because its value is not JSON or a name is unknown.
 */
export function recordRequest(
  person: string,
  facts: readonly Fact[],
  idempotencyKey?: string,
): MessageInitShape<typeof RecordAttributesRequestSchema> {
  return { subject: person, attributes: facts.map(attributeOf), options: writeOptions(idempotencyKey) };
}

function attributeOf(fact: Fact): MessageInitShape<typeof AttributeInputSchema> {
  return {
    key: fact.key,
    valueJson: jsonText(fact.value),
    category: fact.category ?? "",
    provenance: numberOf(ProvenanceSchema, fact.provenance ?? "observed"),
    evidence: [...(fact.evidence ?? [])],
    derivedFrom: [...(fact.derivedFrom ?? [])],
    model: fact.model ?? "",
    corrects: fact.corrects ?? "",
    fromReplies: [...(fact.fromReplies ?? [])],
    ...optionalFields(fact),
  };
}

function optionalFields(fact: Fact): MessageInitShape<typeof AttributeInputSchema> {
  return {
    ...(fact.confidence === undefined ? {} : { confidence: fact.confidence }),
    ...(fact.observedAt === undefined ? {} : { observedAt: timestampOf(fact.observedAt) }),
    ...(fact.expiresAt === undefined ? {} : { expiresAt: timestampOf(fact.expiresAt) }),
    ...(fact.embedding === undefined ? {} : { embedding: embeddingOf(fact.embedding) }),
  };
}

/** Removes facts from the profile. */
export async function removeAttributes(
  caller: Caller,
  person: string,
  keys: OneOrMore,
  reason: string,
): Promise<Receipt> {
  const request = { subject: person, keys: listOf(keys), reason, options: writeOptions() };
  return receiptOf((await caller.call(ProfileService.method.removeAttributes, request)).receipt);
}

/** Reads a page of the profile. */
export async function getProfile(caller: Caller, person: string, token: string): Promise<Page<ProfileFact>> {
  const answer = await caller.call(ProfileService.method.getProfile, { subject: person, pageToken: token });
  const items = answer.attributes.map((found) => {
    const author = found.recordedBy;
    return {
      key: found.key,
      value: jsonValue(found.valueJson),
      json: found.valueJson,
      category: found.category,
      provenance: nameOf<typeof Provenance>(ProvenanceSchema, found.provenance),
      recordedBy: author?.name === "" ? nameOf(RoleSchema, author.role) : (author?.name ?? ""),
      recordedAt: dateOf(found.recordedAt),
      isContested: found.contested,
      isConfirmed: found.confirmed,
      eventId: found.eventId,
    };
  });
  return { items, next: answer.nextPageToken };
}
