/** Where a watch of revocations keeps the cursor up to which it has carried them out. */

/** Keeps one cursor. */
export interface CursorStore {
  /** Returns the saved cursor, or nothing if none was ever saved. */
  load(): bigint | undefined | Promise<bigint | undefined>;
  /** Saves a cursor. It returns when the cursor is durable. */
  save(cursor: bigint): void | Promise<void>;
}

/** Keeps the cursor in memory only, so a new process starts anew. */
export class MemoryCursor implements CursorStore {
  #cursor: bigint | undefined;

  /** Returns the saved cursor. */
  load(): bigint | undefined {
    return this.#cursor;
  }

  /** Saves a cursor. */
  save(cursor: bigint): void {
    this.#cursor = cursor;
  }
}
