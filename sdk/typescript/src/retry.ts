/** Repeats calls that failed because the daemon could not be reached. */

import { sleep, type Stopwatch } from "./clock.js";
import { TimedOutError, UnavailableError } from "./errors.js";

const ATTEMPTS_MAX = 3;
const BACKOFF_FIRST_MS = 100;
const BACKOFF_MAX_MS = 1_000;
const BACKOFF_FACTOR = 2.5;

/** How a call is repeated. */
export interface Patience {
  /** The deadline of the call with all its attempts, in milliseconds after `since` was made. */
  readonly timeoutMs: number;
  readonly since: Stopwatch;
  /** Whether to try until the deadline, and not three times at most. */
  readonly isPatient: boolean;
}

/**
 * Makes an attempt, and repeats it with growing delays while the daemon cannot be reached.
 *
 * `UNAVAILABLE` is the only code that always means "try again": `RESOURCE_EXHAUSTED` can also mean that a person's
 * record is full. Every write has an idempotency key or may be repeated without one, so nothing is written twice.
 *
 * @param attempt Makes the call with the milliseconds that are left.
 */
export async function retried<T>(attempt: (leftMs: number) => Promise<T>, patience: Patience): Promise<T> {
  for (let attempts = 1; ; attempts++) {
    try {
      return await attempt(left(patience));
    } catch (error) {
      const wait = backoffMs(attempts);
      if (!isRetryable(error) || wait >= left(patience)) throw error;
      if (!patience.isPatient && attempts >= ATTEMPTS_MAX) throw error;
      await sleep(wait);
    }
  }
}

function left(patience: Patience): number {
  return Math.max(patience.timeoutMs - patience.since.elapsedMs(), 1);
}

function isRetryable(error: unknown): boolean {
  return error instanceof UnavailableError && !(error instanceof TimedOutError);
}

function backoffMs(attempts: number): number {
  const longest = Math.min(BACKOFF_FIRST_MS * BACKOFF_FACTOR ** (attempts - 1), BACKOFF_MAX_MS);
  return longest * (0.8 + 0.4 * Math.random());
}
