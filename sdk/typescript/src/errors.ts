/**
 * Errors of the ledger, one class for each family of reasons.
 *
 * Decide by the class or by `reason`, not by the message, because messages may change. `docs/errors.md` of Sayso
 * explains every reason. A use that is not allowed is not an error: it is part of the answer.
 */

/** What else the ledger said about an error. */
export interface ErrorDetail {
  /** Numbers and names, such as `allowed_roles` or `current_version`. */
  readonly metadata: Readonly<Record<string, string>>;
  /** What is wrong with which field, class or caller. */
  readonly violations: readonly Violation[];
  /** How many milliseconds to wait before the next try. */
  readonly retryAfterMs: number | undefined;
  /** The id of the call in the daemon's log (`x-request-id`). Empty if there was no answer. */
  readonly requestId: string;
}

/** One thing that is wrong with a request or that prevents it. */
export interface Violation {
  /** The field, class of attributes or caller. */
  readonly subject: string;
  /** What is wrong with it, for people. */
  readonly description: string;
}

/** What an error is made from. */
export interface ErrorParts {
  readonly reason?: Reason;
  readonly code?: string;
  readonly detail?: ErrorDetail;
  readonly cause?: unknown;
}

const NO_DETAIL: ErrorDetail = { metadata: {}, violations: [], retryAfterMs: undefined, requestId: "" };

/** An error of the ledger, or of the way to it. */
export class SaysoError extends Error {
  /** Why, for programs: a reason of docs/errors.md, `NO_TOKEN`, or empty if the ledger gave no reason. */
  readonly reason: Reason;
  /** The gRPC code, such as `INVALID_ARGUMENT`. Empty if no call was made. */
  readonly code: string;
  /** What else the ledger said. */
  readonly detail: ErrorDetail;

  constructor(message: string, parts: ErrorParts = {}) {
    super(message, parts.cause === undefined ? undefined : { cause: parts.cause });
    this.name = new.target.name;
    this.reason = parts.reason ?? "";
    this.code = parts.code ?? "";
    this.detail = parts.detail ?? NO_DETAIL;
  }

  /** What to do next, as a sentence for people. */
  get hint(): string {
    return HINTS[this.reason] ?? this.defaultHint();
  }

  /** The hint for reasons that have none of their own. */
  protected defaultHint(): string {
    return "See docs/errors.md of Sayso.";
  }

  /** The message, the reason and the hint. */
  override toString(): string {
    const reason = this.reason === "" ? "" : ` [${this.reason}]`;
    return `${this.name}: ${this.message}${reason}. ${this.hint}`;
  }
}

/** The client was set up in a way that cannot work or is not safe. */
export class ConfigurationError extends SaysoError {
  protected override defaultHint(): string {
    return "Correct the options of `connect` or the environment.";
  }
}

/** A cursor of revocations cannot be read or written. */
export class CursorError extends SaysoError {
  protected override defaultHint(): string {
    return "Restore the file, or remove it to receive all revocations again.";
  }
}

/** A field is malformed, exceeds a limit, or names an unknown purpose or category. Nothing was written. */
export class InvalidRequestError extends SaysoError {
  protected override defaultHint(): string {
    return "Correct the request; `detail.violations` names the fields.";
  }
}

/** The credential is missing, malformed, expired or revoked, or it comes from an unknown issuer. */
export class CredentialError extends SaysoError {
  protected override defaultHint(): string {
    return "Get a new credential.";
  }
}

/** The credential's role may not do this. */
export class NotAllowedError extends SaysoError {
  protected override defaultHint(): string {
    return "Use a credential with another role, or change the request.";
  }
}

/** The person said no, or said something else. Do not retry. */
export class RefusedByPersonError extends NotAllowedError {
  protected override defaultHint(): string {
    return "Only the person or a steward can change it. Do not retry.";
  }
}

/** Bounds forbid recording an attribute. `detail.violations` says which class of attributes, and why. */
export class RecordingRefusedError extends NotAllowedError {
  protected override defaultHint(): string {
    return "Leave out these attributes, or ask the person for the consent that the message names.";
  }
}

/** The person, grant or other item does not exist, was erased, or does not belong to the caller. */
export class NotFoundError extends SaysoError {
  protected override defaultHint(): string {
    return "Check the id. Do not retry.";
  }
}

/** Something else happened in the meantime, or an idempotency key was used before for another request. */
export class ConflictError extends SaysoError {
  protected override defaultHint(): string {
    return "Read again, decide again, and send a new request.";
  }
}

/** What the request is about was erased. Delete your copy. */
export class ErasedError extends SaysoError {
  protected override defaultHint(): string {
    return "Do not retry. Delete your copy.";
  }
}

/** The request does not fit the current state, for example because the grant has ended. */
export class InvalidStateError extends SaysoError {
  protected override defaultHint(): string {
    return "Read the current state, and change the request.";
  }
}

/** A limit for attributes, grants or artifacts is reached. `detail.metadata` has the numbers. */
export class LimitReachedError extends SaysoError {
  protected override defaultHint(): string {
    return "Remove what is no longer needed.";
  }
}

/** Too much at once. Nothing was written. `detail.retryAfterMs` has the time to wait. */
export class BusyError extends SaysoError {
  protected override defaultHint(): string {
    return "Wait as long as `detail.retryAfterMs` says, then retry with growing delays.";
  }
}

/** The daemon cannot be reached, is stopping, or its store does not accept writes. */
export class UnavailableError extends SaysoError {
  protected override defaultHint(): string {
    return "Retry with growing delays. If it lasts, ask the operator of the daemon.";
  }
}

/** The deadline has passed. A write may still complete, so repeat it with the same idempotency key. */
export class TimedOutError extends UnavailableError {
  protected override defaultHint(): string {
    return "Repeat a write with the same idempotency key.";
  }
}

/** The daemon has a defect, or data is damaged. */
export class InternalError extends SaysoError {
  protected override defaultHint(): string {
    return "Report `detail.requestId` to the operator of the daemon.";
  }
}

/** A class of errors. */
export type ErrorClass = new (message: string, parts?: ErrorParts) => SaysoError;

/** The class of each reason. A test compares the reasons with docs/errors.md. */
export const BY_REASON = {
  INVALID_REQUEST: InvalidRequestError,
  INVALID_CREDENTIAL: CredentialError,
  TOO_MANY_INVALID_CREDENTIALS: CredentialError,
  ROLE_NOT_ALLOWED: NotAllowedError,
  REQUEST_NOT_ALLOWED: NotAllowedError,
  CHANNEL_ROLE_REQUIRED: NotAllowedError,
  SERVICE_ROLE_REQUIRED: NotAllowedError,
  REFUSED_BY_SUBJECT: RefusedByPersonError,
  STATED_BY_SUBJECT: RefusedByPersonError,
  RECORDED_BY_ANOTHER: NotAllowedError,
  STATED_BY_STEWARD: NotAllowedError,
  NOT_FOUND: NotFoundError,
  IDEMPOTENCY_KEY_REUSED: ConflictError,
  STALE_VERSION: ConflictError,
  ERASED_DURING_EXPORT: ConflictError,
  ERASED: ErasedError,
  RECORDING_REFUSED: RecordingRefusedError,
  INVALID_STATE: InvalidStateError,
  CLOCK_SKEWED: InvalidStateError,
  ATTRIBUTE_LIMIT_REACHED: LimitReachedError,
  OPEN_LIMIT_REACHED: LimitReachedError,
  TOO_MANY_CALLS: BusyError,
  TOO_MANY_BYTES_IN_PROGRESS: BusyError,
  OVERLOADED: BusyError,
  WATCHER_TOO_SLOW: BusyError,
  PREVIEW_TIMED_OUT: TimedOutError,
  STORE_UNAVAILABLE: UnavailableError,
  SHUTTING_DOWN: UnavailableError,
  STORE_FAILED: UnavailableError,
  INTERNAL: InternalError,
} as const satisfies Record<string, ErrorClass>;

/** A reason that this package knows. */
export type KnownReason = keyof typeof BY_REASON;

/** Why a call failed: a known reason, one of this package, one that a newer ledger gave, or empty. */
export type Reason = KnownReason | "NO_TOKEN" | "" | (string & Record<never, never>);

/** The class of an error that has no reason, because it does not come from the ledger itself. */
export const BY_CODE: Readonly<Record<string, ErrorClass>> = {
  INVALID_ARGUMENT: InvalidRequestError,
  UNAUTHENTICATED: CredentialError,
  PERMISSION_DENIED: NotAllowedError,
  UNIMPLEMENTED: NotAllowedError,
  NOT_FOUND: NotFoundError,
  ALREADY_EXISTS: ConflictError,
  ABORTED: ConflictError,
  FAILED_PRECONDITION: InvalidStateError,
  RESOURCE_EXHAUSTED: BusyError,
  DEADLINE_EXCEEDED: TimedOutError,
  UNAVAILABLE: UnavailableError,
};

const HINTS: Readonly<Partial<Record<string, string>>> = {
  TOO_MANY_INVALID_CREDENTIALS: "Wait as long as `detail.retryAfterMs` says, then send a valid credential.",
  ROLE_NOT_ALLOWED: "Use a credential with one of the roles in `detail.metadata.allowed_roles`.",
  CHANNEL_ROLE_REQUIRED: "Use a credential with the role `channel` or `service-channel`.",
  SERVICE_ROLE_REQUIRED: "Use a credential with the role `service` or `service-channel`.",
  STATED_BY_SUBJECT: "Only a declaration by the person replaces what the person said. Do not retry.",
  RECORDED_BY_ANOTHER: "Change only attributes that this service recorded.",
  STATED_BY_STEWARD: "Only a steward can change this description.",
  IDEMPOTENCY_KEY_REUSED: "Use a new idempotency key for a new request.",
  ERASED_DURING_EXPORT: "Discard what you received, and start the export again.",
  CLOCK_SKEWED: "Try again later; the operator has to correct or accept the clock of the daemon's machine.",
  OPEN_LIMIT_REACHED: "Name the chat, so that grants are reused, or wait until a grant expires.",
  STORE_FAILED: "The operator has to restart the daemon; then repeat with the same idempotency key.",
};
