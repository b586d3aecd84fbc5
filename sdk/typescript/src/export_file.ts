/** Writes a person's package to a file. */

import { open, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";

/**
 * Writes the parts of a package to a new file that only its owner may read, and returns its size in bytes.
 *
 * The file appears only when it is whole. If anything fails, nothing is left of it.
 */
export async function writeExport(parts: AsyncIterable<Uint8Array>, path: string): Promise<number> {
  const temporary = join(dirname(path), `.${basename(path)}.${process.pid}.partial`);
  try {
    const size = await write(parts, temporary);
    await rename(temporary, path);
    return size;
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

async function write(parts: AsyncIterable<Uint8Array>, path: string): Promise<number> {
  const file = await open(path, "w", 0o600);
  let size = 0;
  try {
    for await (const part of parts) {
      await file.writeFile(part);
      size += part.length;
    }
    await file.sync();
  } finally {
    await file.close();
  }
  return size;
}
