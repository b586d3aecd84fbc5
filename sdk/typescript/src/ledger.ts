/** A connection to a ledger. */

import type { Transport } from "@connectrpc/connect";
import type { Check, Explanation, Receipt } from "./answers.js";
import type { Caller } from "./caller.js";
import { type NoticeOptions, publishNotice } from "./consents.js";
import { InvalidRequestError } from "./errors.js";
import { checkGrant, explainGrant } from "./grants.js";
import { Person, type WhyOptions } from "./person.js";
import { type OnRevoked, Watch, type WatchOptions } from "./watch.js";

/** A connection to a ledger, which `connect` makes. Calls may run at the same time. */
export class Ledger implements Disposable {
  readonly #caller: Caller;

  constructor(caller: Caller) {
    this.#caller = caller;
  }

  /** The transport, for the calls of `sayso/v1` that this class does not have. It adds no token. */
  get transport(): Transport {
    return this.#caller.transport;
  }

  /** Returns what can be asked and said about a person, by the controller's own id of them, 1 to 256 bytes. */
  person(id: string): Person {
    return new Person(this.#caller, id);
  }

  /** Asks whether one of the caller's grants is valid now. */
  async check(grant: string): Promise<Check> {
    return checkGrant(this.#caller, grant);
  }

  /**
   * Explains on whose say-so a reply was made, by the name of the reply or by the id of its grant.
   *
   * A reply is found if `use` named it, or if this process reported it. For other replies, give the grant.
   *
   * @throws NotFoundError The reply or the grant is not known.
   * @throws InvalidRequestError Neither was given.
   */
  async why({ reply = "", grant = "" }: WhyOptions): Promise<Explanation> {
    if (reply === "" && grant === "") throw new InvalidRequestError("give a reply or a grant");
    return explainGrant(this.#caller, grant || this.#caller.replies.grantOf(reply));
  }

  /** Publishes a version of a notice, the text that people see when they consent, at most 64 KiB. For stewards. */
  async publishNotice(id: string, text: string, options: NoticeOptions = {}): Promise<Receipt> {
    return publishNotice(this.#caller, id, text, options);
  }

  /**
   * Calls a function for each revocation of the caller's grants and artifacts.
   *
   * Once the function has ended, the revocation is acknowledged and its cursor is saved. If the function throws, the
   * revocation is delivered again.
   */
  onRevoked(carryOut: OnRevoked, options: WatchOptions = {}): Watch {
    return new Watch(this.#caller, carryOut, options);
  }

  /** Closes the connection. In Node, an open connection keeps the process running. */
  close(): void {
    this.#caller.close();
  }

  /** Closes the connection at the end of its scope. */
  [Symbol.dispose](): void {
    this.close();
  }
}
