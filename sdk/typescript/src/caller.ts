/** Makes the calls of a ledger, over whichever transport. */

import {
  create,
  type DescMessage,
  type DescMethodServerStreaming,
  type DescMethodUnary,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import type { Transport } from "@connectrpc/connect";
import { Stopwatch, within } from "./clock.js";
import type { Defaults } from "./defaults.js";
import { CredentialError, TimedOutError } from "./errors.js";
import { OpenUses } from "./open_uses.js";
import { ReplyIndex } from "./replies.js";
import { type Patience, retried } from "./retry.js";
import { errorOf } from "./rpc_errors.js";
import { type TokenSource, tokenOf } from "./tokens.js";

/** A page of a list, and the token of the next one, which is empty on the last page. */
export interface Page<T> {
  readonly items: readonly T[];
  readonly next: string;
}

// Facts, reports and what a person says wait until the daemon can be reached, up to their deadline. A reply does not
// wait: it is made without personal data.
const PATIENT_SERVICES = new Set(["ConsentService", "ProfileService", "RightsService"]);
const PATIENT_METHODS = new Set(["Acknowledge", "ReportUse"]);

/** A connection to a daemon, and what the calls over it have in common. */
export class Caller {
  readonly replies = new ReplyIndex();
  readonly openUses = new OpenUses();
  readonly #token: TokenSource | undefined;

  constructor(
    readonly transport: Transport,
    token: TokenSource | undefined,
    readonly defaults: Defaults,
    readonly close: () => void,
  ) {
    this.#token = token;
  }

  /** Makes a call. If the credential is refused and there is a newer one by now, tries once more with that. */
  async call<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    timeoutMs: number = this.defaults.timeoutMs,
  ): Promise<MessageShape<O>> {
    const input = create(method.input, request);
    const patience = { timeoutMs, since: new Stopwatch(), isPatient: isPatient(method) };
    const token = await this.#currentToken(patience);
    const attempt = (headers: Headers) => (leftMs: number) => this.#attempt(method, input, leftMs, headers);
    try {
      return await retried(attempt(headersOf(token)), patience);
    } catch (error) {
      if (!(error instanceof CredentialError)) throw error;
      const newer = await this.#currentToken(patience);
      if (newer === token) throw error;
      return await retried(attempt(headersOf(newer)), patience);
    }
  }

  async #attempt<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    input: MessageShape<I>,
    timeoutMs: number,
    headers: Headers,
  ): Promise<MessageShape<O>> {
    try {
      // The types of an input and of its initial values are the same for a message that was created.
      const initial = input as MessageInitShape<I>;
      return (await this.transport.unary(method, undefined, timeoutMs, headers, initial)).message;
    } catch (error) {
      throw errorOf(error);
    }
  }

  /** Opens a stream of answers. Without a time, it has no deadline. */
  async *stream<I extends DescMessage, O extends DescMessage>(
    method: DescMethodServerStreaming<I, O>,
    request: MessageInitShape<I>,
    options: { readonly timeoutMs?: number; readonly signal?: AbortSignal },
  ): AsyncGenerator<MessageShape<O>, void, undefined> {
    const headers = headersOf(await tokenOf(this.#token));
    const requests = single(request);
    try {
      const answer = await this.transport.stream(method, options.signal, options.timeoutMs, headers, requests);
      yield* answer.message;
    } catch (error) {
      throw errorOf(error);
    }
  }

  /** Lists the items of all pages. */
  async *pages<T>(page: (token: string) => Promise<Page<T>>): AsyncGenerator<T, void, undefined> {
    let token = "";
    do {
      const found = await page(token);
      yield* found.items;
      token = found.next;
    } while (token !== "");
  }

  async #currentToken(patience: Patience): Promise<string> {
    const left = Math.max(patience.timeoutMs - patience.since.elapsedMs(), 1);
    return within(tokenOf(this.#token), left, () => new TimedOutError("no token came before the deadline"));
  }
}

// eslint-disable-next-line @typescript-eslint/require-await -- a stream of requests is an async iterable
async function* single<T>(item: T): AsyncGenerator<T, void, undefined> {
  yield item;
}

function headersOf(token: string): Headers {
  return new Headers(token === "" ? {} : { authorization: `Bearer ${token}` });
}

function isPatient(method: { readonly name: string; readonly parent: { readonly name: string } }): boolean {
  return PATIENT_SERVICES.has(method.parent.name) || PATIENT_METHODS.has(method.name);
}
