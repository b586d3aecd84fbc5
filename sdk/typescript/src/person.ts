/** What can be asked and said about one person. */

import type {
  Consent,
  Erasure,
  ErasureScopeName,
  Explanation,
  Fact,
  FactOptions,
  OneOrMore,
  ProfileFact,
  Receipt,
  RecordedUse,
  Remembered,
  Said,
  SignalName,
} from "./answers.js";
import type { Caller } from "./caller.js";
import {
  type ConsentOptions,
  type Decision,
  type DecisionOptions,
  listConsents,
  recordConsent,
  recordSignal,
  type SignalOptions,
} from "./consents.js";
import type { Extractor } from "./defaults.js";
import { InvalidRequestError, InvalidStateError, NotAllowedError } from "./errors.js";
import { ConsentDecision } from "./generated/sayso/v1/consent_pb.js";
import { explainGrant, listUses, type UsesFilter } from "./grants.js";
import type { Json } from "./json.js";
import { getProfile, removeAttributes } from "./profile.js";
import { rememberFacts, withEvidence } from "./remembering.js";
import { type EraseOptions, erase, type ExportOptions, exportSubject } from "./rights.js";
import { Use, type UseOptions } from "./use.js";

/** A reply, or its grant. */
export interface WhyOptions {
  /** The name of the reply, as it was reported. */
  readonly reply?: string;
  /** The id of the grant. */
  readonly grant?: string;
}

/** Makes it safe to repeat a request. */
export interface KeyOptions {
  /** The key, at most 100 bytes. Default: a new one for each call. */
  readonly idempotencyKey?: string;
}

/** How facts are found in a text. */
export interface ExtractOptions {
  /** Finds them. Default: the extractor of the ledger. */
  readonly extractor?: Extractor;
  /** The evidence of facts that have none of their own. */
  readonly evidence?: readonly string[];
}

/** What can be asked and said about one person. */
export class Person {
  /** The controller's own id of the person. */
  readonly id: string;
  readonly #caller: Caller;

  constructor(caller: Caller, id: string) {
    this.#caller = caller;
    this.id = id;
  }

  // --- replies ---

  /**
   * Asks what may be used for a purpose, around the making of one reply.
   *
   * It fails closed: if anything goes wrong, the block is empty and says why, and nothing is thrown unless `strict` is
   * set. Close the use when the reply is made: with `await using`, with `close`, or by giving a function.
   */
  async use(purpose: string, options?: UseOptions): Promise<Use>;
  /** The same, closed when the function ends, whose result is returned. If it throws, only named replies are reported. */
  async use<T>(purpose: string, options: UseOptions, body: (use: Use) => T | Promise<T>): Promise<T>;
  async use<T>(purpose: string, options: UseOptions = {}, body?: (use: Use) => T | Promise<T>): Promise<Use | T> {
    const use = await Use.begin(this.#caller, this.id, purpose, options);
    if (body === undefined) return use;
    let result: T;
    try {
      result = await body(use);
    } catch (error) {
      await use.abandon();
      throw error;
    }
    await use.close();
    return result;
  }

  /**
   * Explains on whose say-so a reply was made, by the name of the reply or by the id of its grant.
   *
   * A reply is found if `use` named it, if this process reported it, or if the credential may list uses (that of the
   * person, a steward or an auditor). For other replies, give the grant.
   *
   * @throws NotFoundError The reply or the grant is not known.
   * @throws InvalidRequestError Neither was given.
   */
  async why({ reply = "", grant = "" }: WhyOptions): Promise<Explanation> {
    if (reply === "" && grant === "") throw new InvalidRequestError("give a reply or a grant");
    const known = grant || this.#caller.replies.find(reply) || (await this.#grantOfListed(reply));
    return explainGrant(this.#caller, known || this.#caller.replies.grantOf(reply));
  }

  async #grantOfListed(reply: string): Promise<string> {
    try {
      for await (const use of this.uses()) if (use.reply === reply) return use.grantId;
    } catch (error) {
      if (!(error instanceof NotAllowedError)) throw error;
    }
    return "";
  }

  /** Lists how services used facts about the person, oldest first. For the person, stewards and auditors. */
  uses(filter: UsesFilter = {}): AsyncIterable<RecordedUse> {
    return this.#caller.pages((token) => listUses(this.#caller, this.id, filter, token));
  }

  // --- facts ---

  /** Records a fact about the person, in place of an earlier one with the same key. A refusal is an answer. */
  async remember(key: string, value: Json, options: FactOptions & KeyOptions = {}): Promise<Remembered> {
    const { idempotencyKey, ...rest } = options;
    const [became] = await rememberFacts(this.#caller, this.id, [{ ...rest, key, value }], idempotencyKey);
    if (became === undefined) throw new InvalidStateError("the ledger said nothing about the fact");
    return became;
  }

  /**
   * Records facts about the person, each on its own, and says what became of each. A refusal is an answer.
   *
   * @throws SaysoError The ledger could not be asked. Some of the facts may be recorded; repeating them is harmless.
   */
  async rememberAll(facts: readonly Fact[], options: KeyOptions = {}): Promise<readonly Remembered[]> {
    return rememberFacts(this.#caller, this.id, facts, options.idempotencyKey);
  }

  /**
   * Records the facts that an extractor finds in a text. The text itself is not sent to the ledger.
   *
   * @throws InvalidStateError There is no extractor.
   */
  async rememberFrom(text: string, options: ExtractOptions = {}): Promise<readonly Remembered[]> {
    const extract = options.extractor ?? this.#caller.defaults.extractor;
    if (extract === undefined) throw new InvalidStateError("there is no extractor; give one here or to `connect`");
    return this.rememberAll(withEvidence(await extract(text), options.evidence ?? []));
  }

  /** Removes facts from the profile. Their history stays until it is erased. `reason` has at most 512 bytes. */
  async forget(keys: OneOrMore, reason = ""): Promise<Receipt> {
    return removeAttributes(this.#caller, this.id, keys, reason);
  }

  /** Lists the person's profile. For the person and stewards; a service learns facts from `use` only. */
  profile(): AsyncIterable<ProfileFact> {
    return this.#caller.pages((token) => getProfile(this.#caller, this.id, token));
  }

  // --- what the person says ---

  /**
   * Records that the person consents, having seen a notice. Needs a channel's, the person's or a steward's role.
   *
   * @throws RefusedByPersonError The person refused it with their own credential.
   * @throws NotAllowedError The credential is not one through which people speak.
   */
  async sayYes(purposes: OneOrMore, options: ConsentOptions): Promise<Said> {
    return this.#decided({ ...options, kind: ConsentDecision.GIVEN, purposes });
  }

  /** Records that the person refuses. Without purposes, it is a no to all. Every role may record it. */
  async sayNo(purposes?: OneOrMore, options: DecisionOptions = {}): Promise<Said> {
    return this.#decided({ ...options, kind: ConsentDecision.REFUSED, purposes });
  }

  /** Records that the person withdraws consent. Without purposes, it is all consent. Every role may record it. */
  async withdraw(purposes?: OneOrMore, options: DecisionOptions = {}): Promise<Said> {
    return this.#decided({ ...options, kind: ConsentDecision.WITHDRAWN, purposes });
  }

  /** Records that the person objects. Without purposes, it is to all. */
  async object(purposes: OneOrMore = [], options: KeyOptions = {}): Promise<Said> {
    return this.signal("objection", { ...options, purposes });
  }

  /** Records a signal of the person, or lifts one. A pause may be limited to a chat. */
  async signal(kind: SignalName, options: SignalOptions = {}): Promise<Said> {
    return this.#noted(recordSignal(this.#caller, this.id, kind, options));
  }

  async #decided(decision: Decision): Promise<Said> {
    return this.#noted(recordConsent(this.#caller, this.id, decision));
  }

  /** Ends the uses of this process that something revokes that the person said. */
  async #noted(saying: Promise<Said>): Promise<Said> {
    const said = await saying;
    this.#caller.openUses.revoked(said.revokedGrants, "revoked");
    return said;
  }

  /** Lists the person's decisions, oldest first, and which of them are in force. */
  consents(): AsyncIterable<Consent> {
    return this.#caller.pages((token) => listConsents(this.#caller, this.id, token));
  }

  // --- the person's rights ---

  /** Erases the person (`all`), their `profile`, one `key` or one `category`. For the person and stewards. */
  async erase(scope: ErasureScopeName = "all", options: EraseOptions = {}): Promise<Erasure> {
    return erase(this.#caller, this.id, scope, options);
  }

  /**
   * Receives everything about the person as the parts of one ZIP file. For the person and stewards.
   *
   * The package is whole only if the iteration ends without an error. In Node, `writeExport` writes it to a file.
   */
  export(options: ExportOptions = {}): AsyncIterable<Uint8Array> {
    return exportSubject(this.#caller, this.id, options);
  }
}
