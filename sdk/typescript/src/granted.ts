/** A grant and its time, measured with the ledger's clock and not with this machine's. */

import type { Stopwatch } from "./clock.js";
import type { RequestGrantResponse } from "./generated/sayso/v1/grant_pb.js";
import { receiptOf } from "./grants.js";
import { dateOf } from "./wire.js";

/** A grant that was given. */
export class Granted {
  readonly grantId: string;
  readonly expiresAt: Date;
  readonly #at: Date;
  readonly #isReplayed: boolean;
  readonly #lastsMs: number;
  readonly #since: Stopwatch;

  /** Takes the ledger's answer to a question that was asked when `since` was made. */
  constructor(answer: RequestGrantResponse, since: Stopwatch) {
    const receipt = receiptOf(answer.receipt);
    this.grantId = answer.grantId;
    this.#at = receipt.recordedAt ?? new Date(0);
    this.expiresAt = dateOf(answer.expiresAt) ?? this.#at;
    this.#isReplayed = receipt.isReplayed;
    this.#since = since;
    const lastsMs = this.expiresAt.getTime() - this.#at.getTime();
    // The ledger reuses a grant only if at least half of its time is left. How much more is not known here.
    this.#lastsMs = this.#isReplayed ? lastsMs / 2 : lastsMs;
  }

  /** Whether it may have ended by itself. */
  get isExpired(): boolean {
    return this.#since.elapsedMs() >= this.#lastsMs;
  }

  /** The time now by the ledger's clock, as far as it is known, but not after the end of the grant. */
  now(): Date {
    const at = this.#at.getTime();
    const now = this.#isReplayed ? Math.max(Date.now(), at) : at + this.#since.elapsedMs();
    return new Date(Math.min(now, this.expiresAt.getTime()));
  }
}
