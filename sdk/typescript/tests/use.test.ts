/** Using facts: what is allowed, what is withheld, and that everything fails closed. */

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import {
  connect,
  CredentialError,
  InvalidRequestError,
  type Ledger,
  NotFoundError,
  type Person,
  type SignalName,
  UnavailableError,
} from "../src/index.js";
import { all, Daemon, until } from "./daemon.js";

let daemon: Daemon;
let ledger: Ledger;
let steward: Ledger;
let people = 0;

before(async () => {
  daemon = await Daemon.withNotice();
  [ledger, steward] = [daemon.ledger(), daemon.ledger("steward")];
});

after(async () => {
  ledger.close();
  steward.close();
  await daemon.stop();
});

/** A person whom no other test knows. */
function someone(): Person {
  return ledger.person(`person-${++people}`);
}

/** Records a fact and a consent to `memory`. */
async function consenting(person = someone()): Promise<Person> {
  assert((await person.remember("tone", "brief and dry", { category: "communication-style" })).isInProfile);
  await person.sayYes("memory", { notice: "welcome" });
  return person;
}

test("without consent nothing may be used, and the answer says what would change that", async () => {
  const person = someone();
  await person.remember("tone", "brief", { category: "communication-style" });
  const use = await person.use("memory");
  assert.deepEqual([use.block, use.facts, use.status], ["", [], "nothing_allowed"]);
  const [withheld] = use.withheld;
  await use.close();
  assert.deepEqual([withheld?.reason, withheld?.decidedBy, withheld?.count], ["no_consent", "public", 1]);
  assert.deepEqual(withheld?.remedy, {
    kind: "consent",
    purpose: "memory",
    category: "communication-style",
    onlyByPerson: false,
  });
  assert.match(withheld.explanation, /Consent by the person would change it\./);
  assert(!use.reported);
});

test("the block says who said it and since when, and is the same each time", async () => {
  const person = someone();
  await person.rememberAll([
    { key: "tone", value: "brief and dry", category: "communication-style", provenance: "declared" },
    { key: "job", value: "nurse", category: "work", provenance: "inferred", confidence: 0.8, model: "m1" },
    { key: "city", value: { b: 1, a: "Köln\n- \u2028new" }, category: "location" },
  ]);
  await person.sayYes("memory", { notice: "welcome" });
  const blocks: string[] = [];
  for (let turn = 0; turn < 2; turn++) {
    await person.use("memory", { chat: "chat-1" }, (use) => blocks.push(use.block));
  }
  const today = new Date().toISOString().slice(0, 10);
  assert.equal(blocks[0], blocks[1]);
  assert.deepEqual(blocks[0]?.split("\n").slice(1), [
    `- "tone": "brief and dry" (said by the person, since ${today})`,
    `- "city": {"a":"Köln\\n- \\u2028new","b":1} (observed by a service, since ${today})`,
    `- "job": "nurse" (inferred by a model with confidence 0.80, since ${today})`,
  ]);
});

test("a use is reported with the reply's own id and explained by it", async () => {
  const person = await consenting();
  const use = await person.use("memory", { chat: "chat-1" });
  assert.notEqual(use.block, "");
  use.replied("reply-77", { shapedBy: ["tone"] });
  assert((await use.check()).valid);
  await use.close();
  assert.deepEqual([use.valid, use.reported, use.problem, use.reply], [true, true, undefined, "reply-77"]);
  const why = await person.why({ reply: "reply-77" });
  assert.deepEqual([why.grantId, why.purpose, why.chat], [use.grantId, "memory", "chat-1"]);
  assert.deepEqual([why.allowed, why.replies], [["tone"], ["reply-77"]]);
  assert.match(why.text, /shaped by: tone/);
});

test("a reply without a name gets one that finds its grant in every process", async () => {
  const person = await consenting();
  const use = await person.use("memory");
  assert.notEqual(use.block, "");
  await use.close();
  assert(use.reported);
  using other = daemon.ledger();
  assert.deepEqual((await other.why({ reply: use.reply })).replies, [use.reply]);
  await assert.rejects(other.why({ reply: "reply-of-nobody" }), NotFoundError);
});

test("one use may lead to several replies", async () => {
  const person = await consenting();
  const use = await person.use("memory");
  assert.equal(use.facts.length, 1);
  use.replied("first");
  use.replied("second", { shapedBy: [], aiDisclosed: true });
  await use.close();
  assert.equal(use.receipts.length, 2);
  const files = steward.person(person.id);
  const reported = (await all(files.uses())).filter((found) => found.kind === "reported");
  assert.deepEqual(
    reported.map((found) => found.reply),
    ["first", "second"],
  );
  assert.deepEqual((await files.why({ reply: "second" })).replies, ["first", "second"]);
});

test("what was not read and what failed is not reported", async () => {
  const person = await consenting();
  const failure = new Error("the model is away");
  {
    await using unread = await person.use("memory");
    assert.equal(unread.status, "allowed");
  }
  const failing = person.use("memory", {}, (use) => {
    assert.notEqual(use.block, "");
    throw failure;
  });
  await assert.rejects(failing, failure);
  const named = person.use("memory", {}, (use) => {
    assert.notEqual(use.block, "");
    use.replied("sent-before-the-error");
    throw failure;
  });
  await assert.rejects(named, failure);
  const reported = (await all(steward.person(person.id).uses())).filter((use) => use.kind === "reported");
  assert.deepEqual(
    reported.map((use) => use.reply),
    ["sent-before-the-error"],
  );
});

test("the end of a scope closes a use", async () => {
  const person = await consenting();
  let seen;
  {
    await using use = await person.use("memory");
    assert.notEqual(use.block, "");
    use.replied("reply-of-a-scope");
    seen = use;
  }
  assert.deepEqual([seen.reported, seen.block, seen.status], [true, "", "closed"]);
});

test("a withdrawal in mid-conversation empties the block at once", async () => {
  const person = await consenting();
  const use = await person.use("memory", { chat: "chat-1" });
  assert.notEqual(use.block, "");
  use.replied("reply-1");
  const said = await person.withdraw("memory");
  assert.deepEqual([use.block, use.facts, use.status], ["", [], "ended"]);
  await use.close();
  assert.deepEqual(said.revokedGrants, [use.grantId]);
  assert.deepEqual([use.valid, use.endedBecause, use.reported], [false, "consent_withdrawn", true]);
  const next = await person.use("memory", { chat: "chat-1" });
  assert.deepEqual([next.block, next.status], ["", "nothing_allowed"]);
  assert.equal(next.withheld[0]?.reason, "consent_withdrawn");
  assert(next.withheld[0].remedy.onlyByPerson);
});

test("a withdrawal elsewhere is found by the check before the reply is sent", async () => {
  const person = await consenting();
  using elsewhere = daemon.ledger("channel");
  const use = await person.use("memory");
  assert.notEqual(use.block, "");
  await elsewhere.person(person.id).withdraw("memory");
  const check = await use.check();
  assert.deepEqual([check.valid, check.reason, use.block], [false, "consent_withdrawn", ""]);
  use.replied("sent-all-the-same");
  await use.close();
  assert.deepEqual([use.valid, use.reported], [false, true]);
});

test("what a recording replaces ends the grants that allowed it", async () => {
  const person = await consenting();
  await using use = await person.use("memory");
  assert.notEqual(use.block, "");
  const became = await person.remember("tone", "warm", { category: "communication-style" });
  assert.deepEqual([became.revokedGrants, use.status], [[use.grantId], "ended"]);
});

for (const kind of ["objection", "restriction", "pause"] satisfies SignalName[]) {
  test(`each no of the person counts: ${kind}`, async () => {
    const person = await consenting();
    const chat = kind === "pause" ? "chat-1" : "";
    await person.signal(kind, { chat });
    const use = await person.use("memory", { chat: "chat-1" });
    assert.deepEqual([use.block, use.withheld[0]?.remedy.kind], ["", "lift_signal"]);
    await person.signal(kind, { lift: true, chat });
    await person.use("memory", { chat: "chat-1" }, ({ block }) => {
      assert.notEqual(block, "");
    });
  });
}

test("saying no and objecting stop every use", async () => {
  const person = await consenting();
  await person.sayNo();
  assert.equal((await person.use("memory")).withheld[0]?.reason, "consent_refused");
  await person.sayYes("memory", { notice: "welcome" });
  await person.object("memory");
  assert.equal((await person.use("memory")).withheld[0]?.reason, "objected");
  assert.deepEqual(
    (await all(person.consents())).map((consent) => consent.decision),
    ["given", "refused", "given"],
  );
});

test("a special category needs explicit consent that names it", async () => {
  const person = await consenting();
  await person.remember("sleep", "bad", { category: "health" });
  const use = await person.use("memory");
  assert.deepEqual(
    use.facts.map((fact) => fact.key),
    ["tone"],
  );
  const remedy = use.withheld[0]?.remedy;
  assert.deepEqual([remedy?.kind, remedy?.category], ["explicit_consent", "health"]);
  await person.sayYes("memory", { notice: "welcome", categories: ["health"], explicit: true });
  const keys = await person.use("memory", {}, ({ facts }) => facts.map((fact) => fact.key));
  assert.deepEqual(keys, ["tone", "sleep"]);
});

test("fewer categories or keys can be asked for", async () => {
  const person = await consenting();
  await person.remember("job", "nurse", { category: "work" });
  const jobs = await person.use("memory", { categories: "work" }, ({ facts }) => facts.map((fact) => fact.key));
  const tones = await person.use("memory", { keys: ["tone"] }, ({ facts }) => facts.map((fact) => fact.key));
  assert.deepEqual([jobs, tones], [["job"], ["tone"]]);
});

test("a person of whom nothing is known has an empty block", async () => {
  const use = await someone().use("memory");
  assert.deepEqual([use.block, use.status, use.grantId, use.problem], ["", "unknown_person", "", undefined]);
  assert(!(await use.check()).valid);
});

test("nothing outlives its grant or its use", async () => {
  const person = await consenting();
  const use = await person.use("memory", { ttlMs: 1_000 });
  assert.notEqual(use.block, "");
  await sleep(1_100);
  assert.deepEqual([use.block, use.facts, use.status], ["", [], "expired"]);
  use.replied("late");
  await use.close();
  assert(use.reported);
});

test("a grant that is given again counts for half of its time only", async () => {
  const person = await consenting();
  const first = await person.use("memory", { chat: "chat-1", ttlMs: 4_000 });
  const again = await person.use("memory", { chat: "chat-1", ttlMs: 4_000 });
  assert.notEqual(again.block, "");
  assert.deepEqual([again.grantId, again.expiresAt], [first.grantId, first.expiresAt]);
  await sleep(2_100);
  assert.deepEqual([again.status, first.status], ["expired", "allowed"]);
});

test("the clock of this machine does not prolong a grant", async (context) => {
  const person = await consenting();
  const use = await person.use("memory");
  assert.notEqual(use.block, "");
  const later = performance.now() + 11 * 60_000;
  context.mock.method(performance, "now", () => later);
  assert.equal(use.block, "");
});

test("an unreachable daemon means an empty block soon", async () => {
  const lines: string[] = [];
  using nowhere = connect({ address: "http://127.0.0.1:9", token: "none", log: (line) => lines.push(line) });
  const begun = performance.now();
  const use = await nowhere.person("ada").use("memory");
  assert.deepEqual([use.block, use.status], ["", "unavailable"]);
  use.replied("a-reply-without-facts");
  await use.close();
  assert(performance.now() - begun < 2_500);
  assert(use.problem instanceof UnavailableError);
  assert.match(use.says, /gave no answer/);
  assert.deepEqual(lines, ["sayso: a use went wrong: UnavailableError"]);
  await assert.rejects(nowhere.person("ada").use("memory", { strict: true }), UnavailableError);
});

test("a mistake means an empty block and is thrown on request", async () => {
  const person = await consenting();
  const use = await person.use("memmory");
  assert.deepEqual([use.block, use.status], ["", "unavailable"]);
  assert(use.problem instanceof InvalidRequestError);
  assert.equal(use.problem.reason, "INVALID_REQUEST");
  await assert.rejects(person.use("memmory", { strict: true }), InvalidRequestError);
  assert.equal((await person.use("memory", { ttlMs: NaN })).status, "unavailable");
});

test("a renderer that fails means an empty block", async () => {
  const person = await consenting();
  const renderer = () => {
    throw new Error("no template");
  };
  using other = daemon.ledger("service-channel", { renderer });
  const use = await other.person(person.id).use("memory");
  assert.deepEqual([use.block, use.facts, use.status], ["", [], "unavailable"]);
});

test("a report that fails is said and can be repeated", async () => {
  const own = await Daemon.withNotice();
  using short = own.ledger("service-channel", { timeoutMs: 500, replyTimeoutMs: 500 });
  const person = await consenting(short.person("ada"));
  const use = await person.use("memory");
  assert.notEqual(use.block, "");
  use.replied("reply-1");
  await own.stop();
  assert(!(await use.check()).valid);
  assert.equal(use.block, "");
  await use.close();
  assert.deepEqual([use.reported, use.valid], [false, undefined]);
  assert(use.problem instanceof UnavailableError);
  await own.start();
  await until(() => use.report());
  assert.deepEqual((await person.why({ reply: "reply-1" })).replies, ["reply-1"]);
  await own.stop();
});

test("a wrong credential is said", async () => {
  using wrong = connect({ address: daemon.address, token: "wrong", log: () => undefined });
  const use = await wrong.person("ada").use("memory");
  assert.equal(use.block, "");
  assert(use.problem instanceof CredentialError);
});

test("a use about a text has only the facts that fit it, the best first", async () => {
  const person = someone();
  await person.remember("pet", "has a black cat, a cat lover", { category: "preference" });
  await person.remember("flat", "the cat sleeps in the kitchen of the flat", { category: "location" });
  await person.remember("job", "works as a nurse", { category: "work" });
  await person.sayYes("memory", { notice: "welcome" });
  for (const chat of ["", "chat-1"]) {
    const use = await person.use("memory", { chat, about: "Which cat?", topK: 2 });
    assert.deepEqual(
      use.facts.map((fact) => fact.key),
      ["pet", "flat"],
    );
    const [first = 0, second = 0] = use.facts.map((fact) => fact.score);
    assert(first > second && second > 0);
  }
  const plain = await person.use("memory");
  assert.deepEqual(
    plain.facts.map((fact) => fact.score),
    [undefined, undefined, undefined],
  );
});

test("facts are found by vectors of the same model", async () => {
  const person = someone();
  await person.rememberAll([
    { key: "east", value: "x", category: "preference", embedding: { model: "m1", values: [1, 0] } },
    { key: "north", value: "x", category: "preference", embedding: { model: "m1", values: new Float32Array([0, 1]) } },
    { key: "none", value: "x", category: "preference" },
  ]);
  await person.sayYes("memory", { notice: "welcome" });
  const found = await person.use("memory", { embedding: { model: "m1", values: [2, 0.1] }, topK: 1 });
  assert.deepEqual(
    found.facts.map((fact) => fact.key),
    ["east"],
  );
  const other = await person.use("memory", { embedding: { model: "m2", values: [2, 0.1] } });
  assert.equal(other.status, "nothing_allowed");
});
