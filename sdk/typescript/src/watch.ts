/** Watching revocations: where to resume, what to acknowledge, and when to give up. */

import type { Revocation } from "./answers.js";
import type { Caller } from "./caller.js";
import { sleep } from "./clock.js";
import { type CursorStore, MemoryCursor } from "./cursor.js";
import { ConfigurationError, InvalidRequestError, NotAllowedError, SaysoError } from "./errors.js";
import { acknowledge, watchRevocations } from "./grants.js";

const BACKOFF_FIRST_MS = 200;
const BACKOFF_MAX_MS = 30_000;
// These do not go away by themselves.
const PERMANENT = [ConfigurationError, InvalidRequestError, NotAllowedError];

/** Carries out a revocation: it deletes what was built from what may no longer be used. */
export type OnRevoked = (revocation: Revocation) => void | Promise<void>;

/** How a watch works. */
export interface WatchOptions {
  /**
   * Keeps the cursor. With it, the watch continues where the last one ended, even in another process; if the store is
   * empty, it starts at the beginning of the log. Without it, the watch starts with new revocations.
   */
  readonly cursorStore?: CursorStore;
  /** Learns of each interruption. */
  readonly onError?: (error: Error) => void;
}

/**
 * A watch of revocations. It connects again by itself.
 *
 * A revocation is carried out (by the function), then acknowledged, then its cursor is saved. If something fails in
 * between, it is delivered again. So every revocation is delivered at least once.
 */
export class Watch implements AsyncDisposable {
  readonly #caller: Caller;
  readonly #carryOut: OnRevoked;
  readonly #options: WatchOptions;
  readonly #store: CursorStore;
  readonly #stopping = new AbortController();
  readonly #done: Promise<void>;
  #started: () => void = () => undefined;
  readonly #hasStarted = new Promise<void>((resolve) => {
    this.#started = resolve;
  });
  #isAlive = true;
  #error: Error | undefined;
  #tries = 0;

  /** Starts the watch. */
  constructor(caller: Caller, carryOut: OnRevoked, options: WatchOptions) {
    this.#caller = caller;
    this.#carryOut = carryOut;
    this.#options = options;
    this.#store = options.cursorStore ?? new MemoryCursor();
    this.#done = this.#work();
  }

  /** Why the watch gave up, if it did. */
  get error(): Error | undefined {
    return this.#error;
  }

  /** Whether the watch is still running. */
  get alive(): boolean {
    return this.#isAlive;
  }

  /** Waits until the ledger has confirmed the watch, and says whether it has. */
  async waitStarted(timeoutMs = 10_000): Promise<boolean> {
    const waiting = new AbortController();
    const late = sleep(timeoutMs, waiting.signal).then(() => false);
    const ended = this.#done.then(() => false);
    const hasStarted = await Promise.race([this.#hasStarted.then(() => true), ended, late]);
    waiting.abort();
    return hasStarted;
  }

  /** Stops the watch, and waits for the function that runs. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#done;
  }

  /** Stops the watch at the end of its scope. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #work(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      try {
        await this.#receive(signal);
      } catch (error) {
        if (isAborted(signal)) break;
        const waitMs = this.#failed(error instanceof Error ? error : new Error(String(error)));
        if (waitMs === undefined) break;
        await sleep(waitMs, signal);
      }
    }
    this.#isAlive = false;
  }

  async #receive(signal: AbortSignal): Promise<void> {
    const saved = await this.#store.load();
    const after = saved ?? (this.#options.cursorStore === undefined ? undefined : 0n);
    let isFirst = true;
    for await (const revocation of watchRevocations(this.#caller, after, signal)) {
      if (isFirst) {
        isFirst = false;
        await this.#begin(revocation);
        if (revocation.reason === "") continue;
      }
      await this.#handle(revocation);
      if (isAborted(signal)) return;
    }
  }

  /** Takes the first message. Its cursor is an earlier one if a restore lost a part of the log. */
  async #begin(first: Revocation): Promise<void> {
    if ((await this.#store.load()) !== first.cursor) await this.#store.save(first.cursor);
    this.#started();
  }

  async #handle(revocation: Revocation): Promise<void> {
    if (revocation.isSuspension) this.#caller.openUses.suspended(revocation.reason);
    this.#caller.openUses.revoked(revocation.grantIds, revocation.reason);
    await this.#carryOut(revocation);
    const isRecorded = revocation.recordedAt !== undefined;
    if (isRecorded && !revocation.isSuspension) await acknowledge(this.#caller, revocation.cursor);
    this.#tries = 0;
    if (isRecorded) await this.#store.save(revocation.cursor);
  }

  /** Returns how many milliseconds to wait before the next try, or nothing if there is no point in one. */
  #failed(problem: Error): number | undefined {
    this.#options.onError?.(problem);
    const shown = problem instanceof SaysoError && problem.reason !== "" ? problem.reason : problem.name;
    if (PERMANENT.some((kind) => problem instanceof kind)) {
      this.#error = problem;
      this.#caller.defaults.log(`sayso: the watch of revocations has ended: ${shown}`);
      return undefined;
    }
    this.#caller.defaults.log(`sayso: the watch of revocations is interrupted: ${shown}`);
    const asked = problem instanceof SaysoError ? (problem.detail.retryAfterMs ?? 0) : 0;
    const longest = Math.min(BACKOFF_FIRST_MS * 2 ** Math.min(this.#tries, 16), BACKOFF_MAX_MS);
    this.#tries++;
    return Math.max(asked, longest * (0.5 + Math.random() / 2));
  }
}

function isAborted(signal: AbortSignal): boolean {
  return signal.aborted;
}
