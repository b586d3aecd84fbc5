/** A token in a file, which is read again when it changes. */

import { readFile, stat } from "node:fs/promises";
import { checkedToken } from "./tokens.js";

/** Returns a function that returns the token in a file. */
export function tokenFile(path: string): () => Promise<string> {
  let seen = "";
  let token = "";
  return async () => {
    const { mtimeMs, size, ino } = await stat(path);
    const now = `${mtimeMs} ${size} ${ino}`;
    if (now !== seen) {
      token = checkedToken(await readFile(path, "utf8"));
      seen = now;
    }
    return token;
  };
}
