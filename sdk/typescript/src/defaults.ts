/** What a ledger's calls do by default, and the functions that a service plugs in. */

import type { Fact } from "./answers.js";
import { render, type Renderer } from "./block.js";
import type { Json } from "./json.js";

/** Finds facts about a person in a text. */
export type Extractor = (text: string) => readonly Fact[] | Promise<readonly Fact[]>;

/** Chooses the category of a fact that has none, by its key and value. */
export type Categorizer = (key: string, value: Json) => string;

/** Options that Node and browsers have in common. */
export interface CommonOptions {
  /** The deadline of a call with all its retries, in milliseconds. Default: 10,000. */
  readonly timeoutMs?: number;
  /** The deadline of the calls that a reply waits for, in milliseconds. Default: 2,000. */
  readonly replyTimeoutMs?: number;
  /** Finds the facts in a text, for `rememberFrom`. */
  readonly extractor?: Extractor;
  /** Chooses the category of a fact that has none. */
  readonly categorizer?: Categorizer;
  /** Makes the block of a use. Default: `render`. */
  readonly renderer?: Renderer;
  /** Takes lines that name reasons, never people or values. Default: `console.warn`. */
  readonly log?: (line: string) => void;
}

/** The same, with all defaults resolved. */
export interface Defaults {
  readonly timeoutMs: number;
  readonly replyTimeoutMs: number;
  readonly extractor: Extractor | undefined;
  readonly categorizer: Categorizer | undefined;
  readonly renderer: Renderer;
  readonly log: (line: string) => void;
}

/** Resolves the defaults. */
export function defaultsOf(options: CommonOptions): Defaults {
  return {
    timeoutMs: options.timeoutMs ?? 10_000,
    replyTimeoutMs: options.replyTimeoutMs ?? 2_000,
    extractor: options.extractor,
    categorizer: options.categorizer,
    renderer: options.renderer ?? render,
    log:
      options.log ??
      ((line) => {
        console.warn(line);
      }),
  };
}
