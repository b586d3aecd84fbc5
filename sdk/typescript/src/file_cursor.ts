/** Keeps the cursor of a watch in a file. */

import { open, readFile, rename } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { CursorStore } from "./cursor.js";
import { CursorError } from "./errors.js";

/**
 * Keeps the cursor in a file, which is replaced atomically: a crash leaves the old or the new cursor.
 *
 * The file has the same form as that of the Python client.
 */
export class FileCursor implements CursorStore {
  /** The file. Its folder must exist. */
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  /**
   * Returns the saved cursor, or nothing if there is no file.
   *
   * @throws CursorError The file cannot be read, or it has no cursor in it.
   */
  async load(): Promise<bigint | undefined> {
    const text = await this.#read();
    if (text === undefined) return undefined;
    if (!/^\d{1,20}\n$/.test(text)) throw new CursorError(`${this.path} has no cursor in it`);
    return BigInt(text.trim());
  }

  async #read(): Promise<string | undefined> {
    try {
      return await readFile(this.path, "latin1");
    } catch (error) {
      if (codeOf(error) === "ENOENT") return undefined;
      throw new CursorError(`${this.path} cannot be read: ${codeOf(error)}`, { cause: error });
    }
  }

  /**
   * Saves a cursor. It returns when the cursor is on disk.
   *
   * @throws CursorError The file cannot be written.
   */
  async save(cursor: bigint): Promise<void> {
    const folder = dirname(this.path);
    const temporary = join(folder, `.${basename(this.path)}.${process.pid}.partial`);
    try {
      await writeDurably(temporary, `${cursor}\n`);
      await rename(temporary, this.path);
      await syncFolder(folder);
    } catch (error) {
      throw new CursorError(`${this.path} cannot be written: ${codeOf(error)}`, { cause: error });
    }
  }
}

async function writeDurably(path: string, text: string): Promise<void> {
  const file = await open(path, "w");
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
}

async function syncFolder(folder: string): Promise<void> {
  const opened = await open(folder, "r");
  try {
    await opened.sync();
  } finally {
    await opened.close();
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "unknown error";
}
