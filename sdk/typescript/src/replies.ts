/** Names of replies, and which grant a reply was reported for. */

import { NotFoundError } from "./errors.js";

const REPLIES_MAX = 10_000;

/** Makes a name for a reply, which contains the id of its grant. */
export function nameReply(grantId: string): string {
  return `${grantId}.${crypto.randomUUID().replaceAll("-", "").slice(0, 12)}`;
}

/** Returns the grant in the name of a reply that this package named, or nothing for any other name. */
export function grantInReply(reply: string): string {
  const dot = reply.lastIndexOf(".");
  const grant = reply.slice(0, Math.max(dot, 0));
  return grant.startsWith("g") && grant.includes("-") ? grant : "";
}

/** The newest replies of this process, by name. It has ids only, and nothing about people. */
export class ReplyIndex {
  readonly #grants = new Map<string, string>();

  /** Notes the grant of a reply. */
  add(reply: string, grant: string): void {
    this.#grants.delete(reply);
    this.#grants.set(reply, grant);
    if (this.#grants.size <= REPLIES_MAX) return;
    for (const oldest of this.#grants.keys()) {
      this.#grants.delete(oldest);
      return;
    }
  }

  /** Returns the grant of a reply, or nothing if it is not known. */
  find(reply: string): string {
    return this.#grants.get(reply) ?? grantInReply(reply);
  }

  /**
   * Returns the grant of a reply.
   *
   * @throws NotFoundError It is not known.
   */
  grantOf(reply: string): string {
    const found = this.find(reply);
    if (found !== "") return found;
    throw new NotFoundError("this reply is not known here; give the id of its grant", { reason: "NOT_FOUND" });
  }
}
