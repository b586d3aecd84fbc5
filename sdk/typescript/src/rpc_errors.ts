/** Turns an error of Connect into an error of this package. */

import { Code, ConnectError } from "@connectrpc/connect";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  PreconditionFailureSchema,
  QuotaFailureSchema,
  RetryInfoSchema,
} from "./generated/google/rpc/error_details_pb.js";
import {
  BY_CODE,
  BY_REASON,
  type ErrorClass,
  type ErrorDetail,
  InternalError,
  SaysoError,
  type Violation,
} from "./errors.js";
import { millisecondsOf } from "./wire.js";

/** Returns the error that the ledger, or the connection to it, reported. */
export function errorOf(error: unknown): SaysoError {
  if (error instanceof SaysoError) return error;
  const found = ConnectError.from(error);
  const info = found.findDetails(ErrorInfoSchema)[0];
  const reason = info?.reason ?? "";
  const code = reason === "" && isLostConnection(found) ? "UNAVAILABLE" : nameOfCode(found.code);
  const message = found.rawMessage === "" ? `the call failed with ${code}` : found.rawMessage;
  const kind = classOf(reason, code);
  return new kind(message, { reason, code, detail: detailOf(found, info?.metadata ?? {}), cause: error });
}

function classOf(reason: string, code: string): ErrorClass {
  const byReason: Readonly<Partial<Record<string, ErrorClass>>> = BY_REASON;
  return byReason[reason] ?? BY_CODE[code] ?? InternalError;
}

function detailOf(error: ConnectError, metadata: Record<string, string>): ErrorDetail {
  const delay = error.findDetails(RetryInfoSchema)[0]?.retryDelay;
  return {
    metadata,
    violations: violationsOf(error),
    retryAfterMs: delay === undefined ? undefined : millisecondsOf(delay),
    requestId: error.metadata.get("x-request-id") ?? "",
  };
}

function violationsOf(error: ConnectError): readonly Violation[] {
  const fields = error.findDetails(BadRequestSchema).flatMap((found) => found.fieldViolations);
  const unmet = error.findDetails(PreconditionFailureSchema).flatMap((found) => found.violations);
  const quotas = error.findDetails(QuotaFailureSchema).flatMap((found) => found.violations);
  return [
    ...fields.map(({ field, description }) => ({ subject: field, description })),
    ...unmet.map(({ subject, type, description }) => ({ subject: subject === "" ? type : subject, description })),
    ...quotas.map(({ subject, description }) => ({ subject, description })),
  ];
}

/** `InvalidArgument` is `INVALID_ARGUMENT`. */
function nameOfCode(code: Code): string {
  const name = Code[code] as string | undefined;
  return name === undefined ? "UNKNOWN" : name.replace(/(?<=[a-z])(?=[A-Z])/g, "_").toUpperCase();
}

/**
 * Whether there is no connection, or it was lost during the call.
 *
 * Connect reports that as `Unavailable`, `Aborted` or `Canceled`, or as `Internal` or `Unknown` with the error of the
 * platform, depending on when it happened. An answer of the daemon has the header `x-request-id`, and an error of its
 * own has a reason.
 */
function isLostConnection(error: ConnectError): boolean {
  if (error.metadata.has("x-request-id")) return false;
  const codes = [Code.Unavailable, Code.Aborted, Code.Canceled];
  const fromBelow = [Code.Internal, Code.Unknown];
  return codes.includes(error.code) || (fromBelow.includes(error.code) && error.cause instanceof Error);
}
