/** The calls with which a person's rights are exercised, and how their answers are read. */

import type { Erasure, ErasureScopeName, PackageName } from "./answers.js";
import type { Caller } from "./caller.js";
import { ErasureScopeSchema, PackageKindSchema, RequestKind } from "./generated/sayso/v1/events_pb.js";
import {
  type RequestState,
  RequestStateSchema,
  RightsService,
  type SubmitRequestResponse,
} from "./generated/sayso/v1/rights_pb.js";
import { dateOf, nameOf, numberOf, writeOptions } from "./wire.js";

const ERASURE_TIMEOUT_MS = 60_000;
const EXPORT_TIMEOUT_MS = 600_000;

/** How an erasure is requested. */
export interface EraseOptions {
  /** The key, for the scope `key`. */
  readonly key?: string;
  /** The category, for the scope `category`. */
  readonly category?: string;
  /** The person's own words, at most 2 KiB. */
  readonly details?: string;
  /** Makes it safe to repeat the request, even in another process. Default: a new key for each call. */
  readonly idempotencyKey?: string;
}

/** Requests an erasure, which is carried out before the ledger answers, unless something prevents it. */
export async function erase(
  caller: Caller,
  person: string,
  scope: ErasureScopeName,
  options: EraseOptions,
): Promise<Erasure> {
  const request = {
    subject: person,
    kind: RequestKind.ERASURE,
    scope: numberOf(ErasureScopeSchema, scope),
    keys: options.key === undefined ? [] : [options.key],
    category: options.category ?? "",
    details: options.details ?? "",
    options: writeOptions(options.idempotencyKey),
  };
  const timeoutMs = Math.max(caller.defaults.timeoutMs, ERASURE_TIMEOUT_MS);
  const answer = await caller.call(RightsService.method.submitRequest, request, timeoutMs);
  return erasureOf(answer);
}

function erasureOf({ requestId, request, certificate }: SubmitRequestResponse): Erasure {
  const state = nameOf<typeof RequestState>(RequestStateSchema, request?.state ?? 0);
  return {
    requestId,
    state,
    isComplete: state === "completed",
    reason: request?.reason ?? "",
    completedAt: dateOf(certificate?.completedAt),
    entriesDestroyed: certificate?.entriesDiscarded ?? 0n,
    erasedByCategory: { ...certificate?.erasedByCategory },
    certificate: certificate?.document ?? "",
  };
}

/** What to export. */
export interface ExportOptions {
  /** Default: `access`. */
  readonly kind?: PackageName;
  /** The id of the request that the package answers, and completes. */
  readonly requestId?: string;
  /** The deadline, in milliseconds. Default: 600,000. */
  readonly timeoutMs?: number;
}

/** Receives a person's package, one ZIP file, in parts. */
export async function* exportSubject(
  caller: Caller,
  person: string,
  options: ExportOptions,
): AsyncGenerator<Uint8Array, void, undefined> {
  const request = {
    subject: person,
    kind: numberOf(PackageKindSchema, options.kind ?? "access"),
    requestId: options.requestId ?? "",
  };
  const timeoutMs = options.timeoutMs ?? EXPORT_TIMEOUT_MS;
  for await (const part of caller.stream(RightsService.method.exportSubject, request, { timeoutMs })) yield part.chunk;
}
