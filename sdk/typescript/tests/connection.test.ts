/** The way to the daemon: restarts, tokens, TLS, and what is refused before anything is sent. */

import assert from "node:assert/strict";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { createClient } from "@connectrpc/connect";
import { ConfigurationError, connect, CredentialError, type Options, UnavailableError } from "../src/index.js";
import { resolve } from "../src/settings.js";
import { tokenFile } from "../src/token_file.js";
import { ProfileService } from "../src/v1.js";
import { makeCertificates } from "./authority.js";
import { all, Daemon, temporaryFolder } from "./daemon.js";

let daemon: Daemon;

before(async () => {
  daemon = await Daemon.start();
});

after(async () => {
  await daemon.stop();
});

test("writes wait for a daemon that restarts and are written once", async () => {
  const own = await Daemon.start();
  using ledger = own.ledger();
  using steward = own.ledger("steward");
  const person = ledger.person("ada");
  assert((await person.remember("before", 1, { category: "interest" })).isInProfile);
  await own.stop();
  const restarted = sleep(500).then(() => own.start());
  const remembered = ["k0", "k1", "k2"].map((key) => person.remember(key, 1, { category: "interest" }));
  assert((await Promise.all(remembered)).every((became) => became.isInProfile));
  assert.notEqual((await person.sayNo("memory")).receipt.positions.length, 0);
  await restarted;
  const keys = (await all(steward.person("ada").profile())).map((fact) => fact.key);
  assert.deepEqual(keys.sort(), ["before", "k0", "k1", "k2"]);
  assert.equal((await all(person.consents())).length, 1);
  await own.stop();
});

test("calls during restarts are written exactly once", async () => {
  const own = await Daemon.start();
  using ledger = own.ledger();
  const stopping = new AbortController();
  const done: string[] = [];
  const recording = (async () => {
    for (let at = 0; !stopping.signal.aborted; at++) {
      assert((await ledger.person("ada").remember(`k${at}`, at, { category: "interest" })).isInProfile);
      done.push(`k${at}`);
    }
  })();
  for (let restart = 0; restart < 3; restart++) {
    await sleep(300);
    await own.stop();
    await own.start();
  }
  stopping.abort();
  await recording;
  assert(done.length > 3);
  using steward = own.ledger("steward");
  const headers = { authorization: `Bearer ${own.token("--role", "steward", "--name", "mina")}` };
  const client = createClient(ProfileService, steward.transport);
  const recorded: string[] = [];
  for (let pageToken = "", isLast = false; !isLast;) {
    const page = await client.listEvents({ subject: "ada", pageToken }, { headers });
    for (const { body } of page.events) {
      if (body?.event.case === "attributeRecorded") recorded.push(body.event.value.attribute?.key ?? "");
    }
    [pageToken, isLast] = [page.nextPageToken, page.nextPageToken === ""];
  }
  assert.deepEqual(recorded, done);
  await own.stop();
});

test("a token file is read again when it changes", async () => {
  const file = join(temporaryFolder(), "token");
  writeFileSync(file, "expired");
  using ledger = connect({ address: daemon.address, tokenFile: file });
  const ada = ledger.person("ada-token");
  await assert.rejects(ada.sayNo(), { name: "CredentialError", reason: "INVALID_CREDENTIAL" });
  writeFileSync(file, daemon.token("--role", "channel", "--name", "app"));
  assert.notEqual((await ada.sayNo()).receipt.positions.length, 0);
  rmSync(file);
  await assert.rejects(ada.sayNo(), { name: "CredentialError", reason: "NO_TOKEN" });
});

test("a refused token is fetched anew and the call is made again", async () => {
  const tokens = ["expired", daemon.token("--role", "channel", "--name", "app")];
  let last = "";
  const token = () => Promise.resolve((last = tokens.shift() ?? last));
  using ledger = connect({ address: daemon.address, token });
  assert.notEqual((await ledger.person("ada-token").sayNo()).receipt.positions.length, 0);
});

test("a token file must have one line", async () => {
  const file = join(temporaryFolder(), "token");
  const token = tokenFile(file);
  writeFileSync(file, "one\n");
  assert.deepEqual([await token(), await token()], ["one", "one"]);
  writeFileSync(file, "two-two");
  assert.equal(await token(), "two-two");
  writeFileSync(file, "two\nlines\n");
  await assert.rejects(token(), CredentialError);
});

test("a function that makes no token fails closed", async () => {
  const broken = () => Promise.reject(new Error("the identity provider is away"));
  const hanging = () => new Promise<string>(() => undefined);
  for (const token of [broken, hanging]) {
    using ledger = connect({ address: daemon.address, token, replyTimeoutMs: 300, log: () => undefined });
    const use = await ledger.person("ada").use("memory");
    assert.deepEqual([use.block, use.status], ["", "unavailable"]);
  }
});

const WRONG: readonly (readonly [string, RegExp])[] = [
  ["127.0.0.1:7117", /URL/],
  ["localhost:7117", /https/],
  ["http://127.0.0.1", /form/],
  ["ftp://127.0.0.1:1", /https/],
  ["http://user:secret@127.0.0.1:1", /user name/],
  ["http://127.0.0.1:1/path", /path/],
  ["http://127.0.0.1:99999", /URL/],
  ["http://ledger.example:7117", /unencrypted/],
  ["http://127.0.0.2.example:7117", /unencrypted/],
];

test("addresses that are wrong or unsafe are refused", () => {
  for (const [address, message] of WRONG) {
    assert.throws(
      () => connect({ address, token: "secret" }),
      (error) =>
        error instanceof ConfigurationError && message.test(error.message) && !String(error).includes("secret"),
      address,
    );
  }
});

test("options that do not fit together are refused", () => {
  const folder = temporaryFolder();
  const wrongs: Options[] = [
    { token: "a", tokenFile: join(folder, "b") },
    { cert: join(folder, "c") },
    { ca: join(folder, "missing") },
  ];
  for (const wrong of wrongs) {
    assert.throws(() => connect({ address: "https://ledger.example:7117", ...wrong }), ConfigurationError);
  }
  connect({ address: "http://ledger.example:7117", token: "a", insecure: true }).close();
  const unencrypted = { address: "http://ledger.example:7117", token: "a", ca: join(folder, "ca") };
  assert.throws(() => connect(unencrypted), ConfigurationError);
});

test("the token of a dev daemon stays on this machine", () => {
  assert.notEqual(resolve({ data: daemon.data }).token, undefined);
  assert.equal(resolve({ data: daemon.data }).baseUrl, daemon.address);
  assert.equal(resolve({ data: daemon.data, address: "https://ledger.example:7117" }).token, undefined);
});

test("TLS with a token and with a client certificate", async () => {
  const folder = temporaryFolder();
  makeCertificates(folder);
  const configuration = join(folder, "sayso.toml");
  const tls = `certificate = "${folder}/server.pem"\nkey = "${folder}/server.key"\nclient_ca = "${folder}/ca.pem"\n`;
  writeFileSync(configuration, `ledger = "sayso.test"\ncontroller = "acme"\n[tls]\n${tls}`);
  const own = await Daemon.start(folder, ["--config", configuration]);
  const [address, ca] = [`https://localhost:${own.port}`, join(folder, "ca.pem")];
  const remember = async (options: Options) => {
    using ledger = connect({ address, timeoutMs: 700, log: () => undefined, ...options });
    return await ledger.person("ada").remember("job", "nurse", { category: "work" });
  };
  const token = own.token("--role", "service-channel", "--name", "tutor", "--config", configuration);
  assert((await remember({ ca, token, timeoutMs: 5_000 })).isInProfile);
  const certificate = { cert: join(folder, "client.pem"), key: join(folder, "client.key") };
  assert((await remember({ ca, ...certificate, timeoutMs: 5_000 })).isInProfile);
  await assert.rejects(remember({ ca }), CredentialError);
  const other = temporaryFolder();
  makeCertificates(other);
  await assert.rejects(remember({ ca: join(other, "ca.pem"), token }), UnavailableError);
  using untrusted = connect({ address, ca: join(other, "ca.pem"), token, log: () => undefined });
  const use = await untrusted.person("ada").use("memory");
  assert.deepEqual([use.block, use.status], ["", "unavailable"]);
  await own.stop();
});
