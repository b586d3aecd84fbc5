/** A reply that has to be reported. */

import type { AllowedFact, Receipt } from "./answers.js";
import { compareText } from "./text.js";

/** How a reply came about. */
export interface ReplyOptions {
  /** The keys that shaped the reply. Default: every key of the block. */
  readonly shapedBy?: readonly string[];
  /** The person was informed that the reply came from an AI system. */
  readonly aiDisclosed?: boolean;
}

/** A reply to report. */
export interface Reply {
  readonly name: string;
  readonly shapedBy: readonly string[];
  readonly aiDisclosed: boolean;
  /** The idempotency key, so the report can be repeated. */
  readonly key: string;
  /** The receipt of the report, once it was made. */
  receipt: Receipt | undefined;
}

const SHAPED_BY_MAX = 1024;
const SHAPED_BY_BYTES_MAX = 65_536;

/** Returns a reply to report, and the keys of `shapedBy` that its grant does not allow. These are left out. */
export function replyOf(
  name: string,
  facts: readonly AllowedFact[],
  options: ReplyOptions,
): { reply: Reply; unknown: readonly string[] } {
  const allowed = new Set(facts.map((fact) => fact.key));
  const named = new Set(options.shapedBy ?? allowed);
  const shapedBy = withinLimits([...named].filter((key) => allowed.has(key)).sort(compareText));
  const aiDisclosed = options.aiDisclosed ?? false;
  const unknown = [...named].filter((key) => !allowed.has(key));
  return { reply: { name, shapedBy, aiDisclosed, key: crypto.randomUUID(), receipt: undefined }, unknown };
}

/** A report without keys is about everything that the grant allowed, and that is true where there are too many. */
function withinLimits(keys: readonly string[]): readonly string[] {
  const size = keys.reduce((sum, key) => sum + new TextEncoder().encode(key).length, 0);
  return keys.length <= SHAPED_BY_MAX && size <= SHAPED_BY_BYTES_MAX ? keys : [];
}
