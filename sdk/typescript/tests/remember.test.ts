/** Recording facts: what became of each, extractors, and refusals as answers. */

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  connect,
  type Fact,
  InvalidStateError,
  type Json,
  type Ledger,
  NotAllowedError,
  type Person,
  UnavailableError,
} from "../src/index.js";
import { all, Daemon } from "./daemon.js";

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

function someone(): Person {
  return ledger.person(`person-${++people}`);
}

async function keysOf(person: Person): Promise<string[]> {
  return (await all(steward.person(person.id).profile())).map((fact) => fact.key).sort();
}

test("each fact has its own outcome", async () => {
  const person = someone();
  const became = await person.rememberAll([
    { key: "job", value: "nurse", category: "work", evidence: ["chat-4/turn-2"] },
    { key: "mood", value: "sad", category: "mental-health", provenance: "inferred", confidence: 0.5 },
    { key: "pet", value: "cat", category: "no-such-category" },
    { key: "bad", value: NaN, category: "work" },
    { key: "city", value: "Bern", category: "location" },
  ]);
  assert.deepEqual(
    became.map((found) => found.outcome),
    ["recorded", "refused", "refused", "refused", "recorded"],
  );
  assert.deepEqual(
    became.map((found) => found.error?.reason),
    [undefined, "RECORDING_REFUSED", "INVALID_REQUEST", "INVALID_REQUEST", undefined],
  );
  assert.match(became[1]?.why ?? "", /no explicit consent names that category/);
  assert.match(became[2]?.why ?? "", /category/);
  assert.deepEqual(await keysOf(person), ["city", "job"]);
});

test("what the person said is not replaced by an observation", async () => {
  const person = someone();
  await person.remember("tone", "brief", { category: "communication-style", provenance: "declared" });
  const refused = await person.remember("tone", "long", { category: "communication-style" });
  assert.deepEqual([refused.outcome, refused.error?.reason], ["refused", "STATED_BY_SUBJECT"]);
  using service = daemon.ledger("service");
  const stated = await service.person(person.id).remember("age", 7, { category: "age", provenance: "declared" });
  assert.deepEqual([stated.outcome, stated.error?.reason], ["refused", "CHANNEL_ROLE_REQUIRED"]);
});

test("an older observation is recorded but superseded", async () => {
  const person = someone();
  const now = Date.now();
  await person.remember("city", "Bern", { category: "location", observedAt: new Date(now) });
  const observedAt = new Date(now - 86_400_000);
  const older = await person.remember("city", "Basel", { category: "location", observedAt });
  assert.deepEqual([older.outcome, older.isInProfile], ["superseded", false]);
  assert.notEqual(older.eventId, "");
  assert.match(older.why, /later observation/);
});

test("a repeated request records nothing new", async () => {
  const person = someone();
  const options = { category: "work", idempotencyKey: "k1" };
  const first = await person.remember("job", "nurse", options);
  const again = await person.remember("job", "nurse", options);
  assert.deepEqual([first.outcome, again.outcome, again.eventId], ["recorded", "unchanged", first.eventId]);
  assert.deepEqual(await keysOf(person), ["job"]);
});

test("many facts go in batches", async () => {
  const facts = Array.from({ length: 300 }, (_, at): Fact => ({ key: `k${at}`, value: at, category: "interest" }));
  const became = await someone().rememberAll(facts);
  assert(became.every((found) => found.isInProfile));
  assert.equal(new Set(became.map((found) => found.eventId)).size, 300);
});

test("a full record refuses what does not fit and keeps the rest", async () => {
  const value = "x".repeat(16_000);
  const facts = Array.from({ length: 80 }, (_, at): Fact => ({ key: `large${at}`, value, category: "interest" }));
  const became = await someone().rememberAll(facts);
  const fitted = became.filter((found) => found.isInProfile).length;
  assert(fitted > 0 && fitted < 80);
  assert(became.slice(0, fitted).every((found) => found.isInProfile));
  const refused = became.at(-1)?.error;
  assert.equal(refused?.reason, "ATTRIBUTE_LIMIT_REACHED");
  assert.equal(refused.detail.metadata["max_bytes"], "1048576");
});

test("a value comes back as it was recorded", async () => {
  const person = someone();
  const value: Json = { a: [1, 2.5, null, true], ü: { nested: "text" } };
  assert((await person.remember("odd", value, { category: "interest" })).isInProfile);
  await person.sayYes("memory", { notice: "welcome" });
  await person.use("memory", {}, ({ facts }) => {
    assert.deepEqual(facts[0]?.value, value);
  });
});

test("an extractor and a categorizer are plugged in", async () => {
  const seen: string[] = [];
  const extractor = (text: string): Fact[] => {
    seen.push(text);
    const style = { key: "tone", value: "brief", category: "communication-style", evidence: ["own"] };
    return [{ key: "job", value: text.split(" ").at(-1) ?? "" }, style];
  };
  const categorizer = (key: string, value: Json) => {
    assert.deepEqual([key, value], ["job", "nurse"]);
    return "work";
  };
  const person = someone();
  using other = daemon.ledger("service-channel", { extractor, categorizer });
  const became = await other.person(person.id).rememberFrom("I am a nurse", { evidence: ["chat-1/turn-3"] });
  assert.deepEqual(seen, ["I am a nurse"]);
  assert.deepEqual(
    became.map(({ outcome, fact }) => [outcome, fact.category, fact.evidence]),
    [
      ["recorded", "work", ["chat-1/turn-3"]],
      ["recorded", "communication-style", ["own"]],
    ],
  );
  assert.deepEqual(await person.rememberFrom("x", { extractor: () => [] }), []);
  await assert.rejects(person.rememberFrom("I am a nurse"), InvalidStateError);
});

test("forgetting removes a fact from the profile", async () => {
  const person = someone();
  await person.remember("job", "nurse", { category: "work" });
  assert.equal((await person.forget("job", "moved on")).positions.length, 1);
  assert.deepEqual(await keysOf(person), []);
});

test("an error that is about no fact is thrown", async () => {
  using auditor = daemon.ledger("auditor");
  const refused = auditor.person("ada").remember("job", "nurse", { category: "work" });
  await assert.rejects(refused, (error) => {
    assert(error instanceof NotAllowedError);
    assert.equal(error.reason, "ROLE_NOT_ALLOWED");
    assert.match(error.detail.metadata["allowed_roles"] ?? "", /service/);
    assert.notEqual(error.detail.requestId, "");
    return true;
  });
  using nowhere = connect({ address: "http://127.0.0.1:9", token: "none", timeoutMs: 300 });
  await assert.rejects(nowhere.person("ada").remember("job", "nurse", { category: "work" }), UnavailableError);
});
