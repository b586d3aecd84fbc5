/** Watching revocations: acknowledged after the function, and nothing is missed across restarts. */

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { createClient } from "@connectrpc/connect";
import {
  connect,
  CursorError,
  FileCursor,
  InvalidRequestError,
  type Ledger,
  NotAllowedError,
  type Revocation,
} from "../src/index.js";
import { OpenUses } from "../src/open_uses.js";
import { RightsService } from "../src/v1.js";
import { Daemon, temporaryFolder, until } from "./daemon.js";

let daemon: Daemon;

before(async () => {
  daemon = await Daemon.withNotice();
});

after(async () => {
  await daemon.stop();
});

/** Connects as a service that no other test knows, so it has a stream of revocations of its own. */
function service(name: string): Ledger {
  const token = daemon.token("--role", "service-channel", "--name", name);
  return connect({ address: daemon.address, token, log: () => undefined });
}

/** Lets a service use a fact about a person, and returns the grant. */
async function granted(ledger: Ledger, name: string): Promise<string> {
  const person = ledger.person(name);
  await person.remember("job", "nurse", { category: "work" });
  await person.sayYes("memory", { notice: "welcome" });
  const use = await person.use("memory");
  assert.notEqual(use.block, "");
  await use.close();
  return use.grantId;
}

/** Whether the certificate of an erasure says that a recipient carried it out. */
async function isAcknowledged(steward: Ledger, requestId: string, name: string): Promise<boolean> {
  const token = daemon.token("--role", "steward", "--name", "mina");
  const headers = { authorization: `Bearer ${token}` };
  const rights = createClient(RightsService, steward.transport);
  const { certificate } = await rights.getErasureCertificate({ requestId }, { headers });
  return certificate?.recipients.some((found) => found.name === name && found.acknowledged) ?? false;
}

test("a revocation is acknowledged after the function only", async () => {
  const name = `tutor-${randomUUID()}`;
  using ledger = service(name);
  using steward = daemon.ledger("steward");
  const grant = await granted(ledger, name);
  const seen: Revocation[] = [];
  const failures: Error[] = [];
  const store = new FileCursor(join(temporaryFolder(), "cursor"));
  const deleteCopies = (revocation: Revocation) => {
    seen.push(revocation);
    if (seen.length === 1) throw new Error("the vector store is away");
  };
  {
    await using watch = ledger.onRevoked(deleteCopies, { cursorStore: store, onError: (e) => failures.push(e) });
    assert(await watch.waitStarted());
    const erasure = await steward.person(name).erase();
    await until(() => seen.length === 1);
    assert(!(await isAcknowledged(steward, erasure.requestId, name)));
    await until(() => isAcknowledged(steward, erasure.requestId, name));
  }
  assert.deepEqual(
    seen.map((revocation) => revocation.grantIds),
    [[grant], [grant]],
  );
  assert.deepEqual([seen[0]?.reason, seen[0]?.erasedScope], ["erased", "all"]);
  assert.deepEqual(
    failures.map((failure) => failure.message),
    ["the vector store is away"],
  );
  assert.equal(await store.load(), seen[0]?.cursor);
});

test("nothing is missed or repeated across restarts of both sides", async () => {
  const own = await Daemon.withNotice();
  const path = join(temporaryFolder(), "cursor");
  const seen: string[] = [];
  const carryOut = (revocation: Revocation) => void seen.push(...revocation.grantIds);
  const isSeen = (grants: string[]) => seen.length === grants.length;
  const grants: string[] = [];
  {
    using ledger = own.ledger();
    for (let at = 0; at < 4; at++) grants.push(await granted(ledger, `person-${at}`));
    await ledger.person("person-0").withdraw();
    // An empty store starts at the beginning.
    await using watch = ledger.onRevoked(carryOut, { cursorStore: new FileCursor(path) });
    await until(() => isSeen(grants.slice(0, 1)));
    await own.stop();
    await own.start();
    await ledger.person("person-1").withdraw();
    await until(() => isSeen(grants.slice(0, 2)));
    assert(watch.alive);
    await watch.stop();
    await ledger.person("person-2").withdraw();
  }
  await own.stop();
  await own.start();
  using ledger = own.ledger();
  await using _watch = ledger.onRevoked(carryOut, { cursorStore: new FileCursor(path) });
  await until(() => isSeen(grants.slice(0, 3)));
  await ledger.person("person-3").withdraw();
  await until(() => isSeen(grants));
  assert.deepEqual(seen, grants);
  await own.stop();
});

test("without a store a watch starts now and ends uses at once", async () => {
  using ledger = service(`tutor-${randomUUID()}`);
  using elsewhere = daemon.ledger("channel");
  const seen: string[] = [];
  const ada = ledger.person("ada-watch");
  await granted(ledger, ada.id);
  await ada.withdraw();
  const grant = await granted(ledger, ada.id);
  await using watch = ledger.onRevoked((revocation) => void seen.push(...revocation.grantIds));
  assert(await watch.waitStarted());
  await using use = await ada.use("memory");
  assert.notEqual(use.block, "");
  await elsewhere.person(ada.id).withdraw();
  await until(() => use.status === "ended");
  assert.deepEqual([use.block, use.endedBecause], ["", "consent_withdrawn"]);
  await until(() => seen.length === 2);
  assert.deepEqual(new Set(seen), new Set([grant, use.grantId]));
});

test("a watch that cannot work ends and says why", async () => {
  using steward = daemon.ledger("steward");
  await using refused = steward.onRevoked(() => undefined);
  assert(!(await refused.waitStarted()));
  assert(!refused.alive && refused.error instanceof NotAllowedError);
  using ledger = service(`tutor-${randomUUID()}`);
  const store = new FileCursor(join(temporaryFolder(), "cursor"));
  await store.save(10n ** 9n);
  await using ahead = ledger.onRevoked(() => undefined, { cursorStore: store });
  await until(() => !ahead.alive);
  assert(ahead.error instanceof InvalidRequestError);
});

test("a revocation that arrives before its grant ends the use all the same", () => {
  const uses = new OpenUses();
  const ended: string[] = [];
  const use = (grantId: string) => ({ grantId, end: (reason: string) => void ended.push(`${grantId} ${reason}`) });
  const [first, second] = [use("g1-a"), use("g2-b")];
  const remove = uses.add(first);
  uses.add(second);
  uses.revoked(["g1-a", "g3-c"], "objected");
  assert.deepEqual([uses.revocationOf("g3-c"), uses.revocationOf("g2-b")], ["objected", undefined]);
  remove();
  uses.suspended("clock_skewed");
  assert.deepEqual(ended, ["g1-a objected", "g2-b clock_skewed"]);
  uses.revoked(
    Array.from({ length: 4_096 }, (_, at) => `h${at}`),
    "erased",
  );
  assert.equal(uses.revocationOf("g3-c"), undefined);
});

test("a file of a cursor is whole or refused", async () => {
  const folder = temporaryFolder();
  const store = new FileCursor(join(folder, "cursor"));
  assert.equal(await store.load(), undefined);
  await store.save(17n);
  await store.save(2n ** 63n);
  assert.equal(await new FileCursor(store.path).load(), 2n ** 63n);
  assert.deepEqual(readdirSync(folder), ["cursor"]);
  for (const damaged of ["", "17", "-1\n", `${"1".repeat(64)}\n`, "\xff\n"]) {
    writeFileSync(store.path, damaged, "latin1");
    await assert.rejects(async () => store.load(), CursorError);
  }
  await assert.rejects(new FileCursor(join(folder, "missing", "cursor")).save(1n), CursorError);
  mkdirSync(join(folder, "a-folder"));
  await assert.rejects(new FileCursor(join(folder, "a-folder")).load(), CursorError);
});
