/**
 * One use of facts about a person, from the grant to the report.
 *
 * A use fails closed. If anything goes wrong, its block is empty, and `status` and `says` tell why. Its block is also
 * empty once the grant may have ended, once a check said so, and after it was closed. So no grant outlives its time
 * here.
 */

import type { AllowedFact, Check, Receipt, Withheld } from "./answers.js";
import type { Caller } from "./caller.js";
import { Stopwatch } from "./clock.js";
import { InvalidStateError, SaysoError } from "./errors.js";
import { Gap, type RequestGrantResponse } from "./generated/sayso/v1/grant_pb.js";
import { Granted } from "./granted.js";
import { allowedOf, checkGrant, type GrantOptions, reportUse, requestGrant, withheldOf } from "./grants.js";
import { nameReply } from "./replies.js";
import { type Reply, replyOf, type ReplyOptions } from "./reply.js";
import { SAYS, type Status } from "./status.js";
import { timestampOf } from "./wire.js";

/** What may be used, and how to deal with problems. */
export interface UseOptions extends GrantOptions {
  /** Throw errors. Without it, an error makes the block empty, and `problem` has it. Refusals are never errors. */
  readonly strict?: boolean;
}

/** One use of facts about a person, around the making of one reply. */
export class Use implements AsyncDisposable {
  readonly #caller: Caller;
  readonly #remove: () => void;
  readonly #replies: Reply[] = [];
  #isStrict: boolean;
  #isClosed = false;
  #status: Status = "nothing_allowed";
  #granted: Granted | undefined;
  #withheld: readonly Withheld[] = [];
  #facts: readonly AllowedFact[] = [];
  #block = "";
  #defaultReply = "";
  #usedAt: Date | undefined;
  #problem: Error | undefined;
  #valid: boolean | undefined;
  #endedBecause = "";

  /**
   * Asks the ledger. Everything that goes wrong makes the block empty.
   *
   * @throws SaysoError Only with `strict`.
   */
  static async begin(caller: Caller, person: string, purpose: string, options: UseOptions): Promise<Use> {
    const use = new Use(caller, options.strict ?? false);
    const since = new Stopwatch();
    try {
      use.#accept(await requestGrant(caller, person, purpose, options), purpose, since);
    } catch (error) {
      use.#fail(error);
    }
    return use;
  }

  private constructor(caller: Caller, isStrict: boolean) {
    this.#caller = caller;
    this.#isStrict = isStrict;
    this.#remove = caller.openUses.add(this);
  }

  #accept(answer: RequestGrantResponse, purpose: string, since: Stopwatch): void {
    this.#withheld = withheldOf(answer, purpose);
    if (answer.grantId === "" || answer.gaps.length > 0) {
      if (answer.gaps.includes(Gap.UNKNOWN_SUBJECT)) this.#status = "unknown_person";
      return;
    }
    this.#granted = new Granted(answer, since);
    this.#defaultReply = nameReply(answer.grantId);
    const facts = allowedOf(answer);
    if (facts.length === 0) return;
    this.#block = this.#caller.defaults.renderer(facts);
    this.#facts = facts;
    this.#status = "allowed";
    const revoked = this.#caller.openUses.revocationOf(answer.grantId);
    if (revoked !== undefined) this.end(revoked);
  }

  #fail(error: unknown): void {
    this.#status = "unavailable";
    if (this.#isStrict) this.#remove();
    this.#note(error);
  }

  /** Notes a problem, and throws it if the caller asked for that. The log line has no personal data. */
  #note(problem: unknown): void {
    const error = problem instanceof Error ? problem : new Error(String(problem));
    this.#problem ??= error;
    const reason = error instanceof SaysoError && error.reason !== "" ? error.reason : error.name;
    this.#caller.defaults.log(`sayso: a use went wrong: ${reason}`);
    if (this.#isStrict) throw problem;
  }

  // --- what a service reads ---

  /** What the block is, or why it is empty. */
  get status(): Status {
    return this.#status === "allowed" && this.#granted?.isExpired !== false ? "expired" : this.#status;
  }

  /** The status as a sentence for people. */
  get says(): string {
    return SAYS[this.status];
  }

  /**
   * The block for the prompt: what may be used, who said it and since when. Empty if nothing may be used.
   *
   * A use whose block or facts were read is reported when it is closed.
   */
  get block(): string {
    return this.#read() ? this.#block : "";
  }

  /** The facts that may be used. Empty if nothing may be used. */
  get facts(): readonly AllowedFact[] {
    return this.#read() ? this.#facts : [];
  }

  /** The id of the grant. Empty if there is none. */
  get grantId(): string {
    return this.#granted?.grantId ?? "";
  }

  /** When the grant expires, by the ledger's clock. */
  get expiresAt(): Date | undefined {
    return this.#granted?.expiresAt;
  }

  /** The classes of facts that may not be used, and why. */
  get withheld(): readonly Withheld[] {
    return this.#withheld;
  }

  /** The name of the reply: that of `replied`, or else one that this use makes. Keep it with the reply. */
  get reply(): string {
    return this.#replies.at(-1)?.name ?? this.#defaultReply;
  }

  /** The ledger has a report of every reply of this use. */
  get reported(): boolean {
    return this.#replies.length > 0 && this.#replies.every((reply) => reply.receipt !== undefined);
  }

  /** The receipts of the reports. */
  get receipts(): readonly Receipt[] {
    return this.#replies.flatMap((reply) => reply.receipt ?? []);
  }

  /** The first thing that went wrong. */
  get problem(): Error | undefined {
    return this.#problem;
  }

  /** Whether the grant was valid at the last check. Absent if that is not known. */
  get valid(): boolean | undefined {
    return this.#valid;
  }

  /** Why the grant ended: a reason of the ledger (`RevocationReason` of the API), or empty. */
  get endedBecause(): string {
    return this.#endedBecause;
  }

  /**
   * Names a reply that this use led to, with the service's own id of it, at most 128 bytes.
   *
   * A reply that no fact shaped is none: then don't call this.
   */
  replied(name: string, options: ReplyOptions = {}): void {
    const { reply, unknown } = replyOf(name, this.#facts, options);
    if (unknown.length > 0) this.#note(new TypeError("`shapedBy` names keys that the grant does not allow"));
    this.#usedAt ??= this.#now();
    this.#replies.push(reply);
  }

  // --- what it asks the ledger ---

  /** Asks whether the grant is still valid, for example before the reply is sent. When in doubt, it is not. */
  async check(): Promise<Check> {
    if (this.grantId === "") return { valid: false, expiresAt: undefined, reason: this.status, erasedKeys: [] };
    try {
      const check = await checkGrant(this.#caller, this.grantId, this.#caller.defaults.replyTimeoutMs);
      if (check.valid) this.#valid = true;
      else this.end(check.reason);
      return check;
    } catch (error) {
      this.#valid = undefined;
      if (this.#status === "allowed") this.#status = "ended";
      this.#note(error);
      return { valid: false, expiresAt: this.expiresAt, reason: "unavailable", erasedKeys: [] };
    }
  }

  /**
   * Reports the replies that are not reported yet, and says whether all are.
   *
   * `close` does this. Call it again if `reported` is false.
   */
  async report(): Promise<boolean> {
    for (const reply of this.#replies) {
      if (reply.receipt !== undefined) continue;
      try {
        reply.receipt = await this.#report(reply);
        this.#caller.replies.add(reply.name, this.grantId);
      } catch (error) {
        this.#note(error);
      }
    }
    return this.reported;
  }

  async #report(reply: Reply): Promise<Receipt> {
    if (this.#valid !== true) return this.#send(reply, true);
    try {
      return await this.#send(reply, false);
    } catch (error) {
      // The grant ended between the check and the report.
      if (error instanceof InvalidStateError) return this.#send(reply, true);
      throw error;
    }
  }

  /** A use of a grant that has ended since then has to say when it was. */
  async #send(reply: Reply, isPast: boolean): Promise<Receipt> {
    const about = isPast && this.#usedAt !== undefined ? timestampOf(this.#usedAt) : undefined;
    return reportUse(this.#caller, {
      grantId: this.grantId,
      reply: reply.name,
      shapedBy: reply.shapedBy,
      aiDisclosed: reply.aiDisclosed,
      about,
      idempotencyKey: isPast ? `${reply.key}/past` : reply.key,
    });
  }

  /**
   * Checks the grant again, reports the use, and empties the block. A second call does nothing.
   *
   * If the block or the facts were read and no reply was named, the use is reported under the name that `reply` has.
   */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    if (this.#usedAt !== undefined && this.#replies.length === 0) this.replied(this.#defaultReply);
    await this.#close();
  }

  /** Closes the use after the making of the reply failed: only replies that were named are reported. */
  async abandon(): Promise<void> {
    // An error of the reply is more important than one of its report.
    this.#isStrict = false;
    if (!this.#isClosed) await this.#close();
  }

  /** Closes the use at the end of its scope. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(): Promise<void> {
    this.#isClosed = true;
    try {
      if (this.grantId !== "" && this.#replies.length > 0 && !this.reported) {
        await this.check();
        await this.report();
      }
    } finally {
      this.#remove();
      if (this.#status === "allowed") this.#status = "closed";
      [this.#facts, this.#block] = [[], ""];
    }
  }

  /** Ends the use: its block is empty from now on. A ledger does this when it learns of a revocation. */
  end(reason: string): void {
    [this.#valid, this.#endedBecause] = [false, reason];
    if (this.#status === "allowed") this.#status = "ended";
  }

  #read(): boolean {
    const isAllowed = this.status === "allowed";
    if (isAllowed) this.#usedAt ??= this.#now();
    return isAllowed;
  }

  #now(): Date {
    return this.#granted?.now() ?? new Date();
  }
}
