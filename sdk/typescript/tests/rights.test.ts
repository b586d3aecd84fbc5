/** The person's rights: erasure, export, and who may list what. */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import {
  connect,
  ErasedError,
  InvalidRequestError,
  type Ledger,
  NotAllowedError,
  NotFoundError,
  type Person,
  RefusedByPersonError,
  SaysoError,
  writeExport,
} from "../src/index.js";
import { all, Daemon, run, temporaryFolder } from "./daemon.js";

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

/** A person whom no other test knows, with a job. */
async function nurse(): Promise<Person> {
  const person = ledger.person(`person-${++people}`);
  await person.remember("job", "nurse", { category: "work" });
  return person;
}

/** Returns the error that a call fails with. */
async function failure(call: Promise<unknown>): Promise<SaysoError> {
  try {
    await call;
  } catch (error) {
    if (error instanceof SaysoError) return error;
    throw error;
  }
  throw new Error("the call did not fail");
}

test("an erasure destroys the record and leaves a certificate", async () => {
  const person = await nurse();
  await person.sayYes("memory", { notice: "welcome" });
  await person.use("memory", {}, (use) => {
    assert.notEqual(use.block, "");
    use.replied("reply-1");
  });
  const erasure = await steward.person(person.id).erase();
  assert.deepEqual([erasure.state, erasure.isComplete, erasure.erasedByCategory], ["completed", true, { work: 1 }]);
  const certificate = join(temporaryFolder(), "certificate");
  writeFileSync(certificate, erasure.certificate);
  assert.match(run("verify", certificate, "--key", join(daemon.data, "dev", "log.vkey")), /verified/);
  const use = await person.use("memory");
  assert.deepEqual([use.block, use.status], ["", "unknown_person"]);
  assert((await failure(person.why({ reply: "reply-1" }))) instanceof ErasedError);
});

test("a part can be erased", async () => {
  const person = await nurse();
  await person.remember("city", "Bern", { category: "location" });
  const files = steward.person(person.id);
  assert.deepEqual((await files.erase("key", { key: "job" })).erasedByCategory, { work: 1 });
  assert.deepEqual(
    (await all(files.profile())).map((fact) => fact.key),
    ["city"],
  );
  assert((await files.erase("category", { category: "location" })).isComplete);
  assert.deepEqual(await all(files.profile()), []);
});

test("a service cannot erase or list uses", async () => {
  const person = await nurse();
  assert((await failure(person.erase())) instanceof NotAllowedError);
  assert((await failure(all(person.uses()))) instanceof NotAllowedError);
});

test("an export is a file that only its owner may read", async () => {
  const person = await nurse();
  const folder = temporaryFolder();
  const target = join(folder, "ada.zip");
  const size = await writeExport(steward.person(person.id).export(), target);
  assert.deepEqual([statSync(target).size, statSync(target).mode & 0o777], [size, 0o600]);
  const list = "import sys,zipfile; print(zipfile.ZipFile(sys.argv[1]).read('package.json').decode())";
  assert.match(execFileSync("python3", ["-c", list, target], { encoding: "utf8" }), /nurse/);
  const missing = writeExport(steward.person("nobody-at-all").export(), join(folder, "other.zip"));
  assert((await failure(missing)) instanceof NotFoundError);
  assert.deepEqual(readdirSync(folder), ["ada.zip"]);
});

test("uses are listed by time and recipient", async () => {
  const person = await nurse();
  await person.sayYes("memory", { notice: "welcome" });
  await person.use("memory", { chat: "chat-1" }, (use) => {
    assert.notEqual(use.block, "");
    use.replied("reply-1");
  });
  const files = steward.person(person.id);
  assert((await failure(files.why({}))) instanceof InvalidRequestError);
  assert((await failure(steward.why({}))) instanceof InvalidRequestError);
  const found = await all(files.uses({ recipient: "dev-service-channel" }));
  assert.deepEqual(
    found.map(({ kind, reply, keys }) => [kind, reply, keys]),
    [
      ["granted", "", ["job"]],
      ["reported", "reply-1", ["job"]],
    ],
  );
  // The grant is still valid then, and nothing is reported. Later, it has expired.
  const later = Date.now() + 60_000;
  const kinds = (await all(files.uses({ since: new Date(later) }))).map((use) => use.kind);
  assert.deepEqual(kinds, ["granted"]);
  assert.deepEqual(await all(files.uses({ since: new Date(later + 2 * 86_400_000) })), []);
  assert.equal((await all(files.uses({ until: new Date(later) }))).length, 2);
  await assert.rejects(all(files.uses({ since: new Date("no time") })), TypeError);
});

test("a no with the person's own credential stands", async () => {
  const person = await nurse();
  const token = daemon.token("--role", "subject", "--subject", person.id);
  using own = connect({ address: daemon.address, token });
  await own.person(person.id).sayNo("memory");
  const refused = await failure(person.sayYes("memory", { notice: "welcome" }));
  assert(refused instanceof RefusedByPersonError);
  assert.equal(refused.reason, "REFUSED_BY_SUBJECT");
  assert.equal((await person.use("memory")).block, "");
});

test("a service may record a no but not a yes", async () => {
  const person = await nurse();
  using service = daemon.ledger("service");
  const refused = await failure(service.person(person.id).sayYes("memory", { notice: "welcome" }));
  assert.equal(refused.reason, "CHANNEL_ROLE_REQUIRED");
  assert.notEqual((await service.person(person.id).sayNo("memory")).receipt.positions.length, 0);
});

test("a consent needs a published notice", async () => {
  const person = await nurse();
  const refused = await failure(person.sayYes("memory", { notice: "never-published" }));
  assert(refused instanceof InvalidRequestError);
  assert.equal(refused.detail.violations[0]?.subject, "notice");
  assert.notEqual(refused.detail.requestId, "");
});

test("a withdrawal for a mistyped person says that it matches nothing", async () => {
  assert((await ledger.person("nobody-typed-this").withdraw("memory")).unmatched.includes("subject"));
});
