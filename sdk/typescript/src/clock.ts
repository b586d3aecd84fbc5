/** Measures how long something takes, and never too short. */

/**
 * Measures time since it was made.
 *
 * The monotonic clock of some machines stands still while they sleep, and the clock of the day may be set back. The
 * longer of both times counts, so a grant is never used too long.
 */
export class Stopwatch {
  readonly #monotonic = performance.now();
  readonly #day = Date.now();

  /** Returns the milliseconds since this was made. */
  elapsedMs(): number {
    return Math.max(performance.now() - this.#monotonic, Date.now() - this.#day);
  }
}

/** Waits, or returns early if the signal is aborted. Other work of the process goes on. */
export async function sleep(milliseconds: number, signal?: AbortSignal): Promise<void> {
  if (signal?.aborted === true) return;
  await new Promise<void>((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, milliseconds);
    signal?.addEventListener("abort", done);
  });
}

/** Returns the result of a promise, or fails with an error if it takes longer than a time. */
export async function within<T>(promise: Promise<T>, milliseconds: number, late: () => Error): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const timeout = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(late());
    }, milliseconds);
  });
  try {
    return await Promise.race([promise, timeout]);
  } finally {
    clearTimeout(timer);
  }
}
