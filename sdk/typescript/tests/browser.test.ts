/** The browser build, in Chromium, with the real daemon behind the server of the page. */

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { createServer, request as callDaemon, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { build } from "esbuild";
import { type Browser, chromium } from "playwright-core";
import { Daemon } from "./daemon.js";
import type { converse, Findings, Given } from "./page.js";

const CHROMIUM = process.env["CHROMIUM"] ?? "/usr/bin/chromium";
const PAGE = join(import.meta.dirname, "page.js");

let daemon: Daemon;
let server: Server;
let browser: Browser;

before(async () => {
  assert(existsSync(CHROMIUM), "there is no Chromium; run tests/setup.sh or set CHROMIUM");
  daemon = await Daemon.withNotice();
  const options = { bundle: true, write: false, format: "iife", globalName: "page", target: "chrome120" } as const;
  const { outputFiles } = await build({ entryPoints: [PAGE], platform: "browser", ...options });
  server = pageServer(outputFiles[0]?.text ?? "");
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });
});

after(async () => {
  await browser.close();
  server.closeAllConnections();
  server.close();
  await daemon.stop();
});

/** Serves a page with a script, and passes calls on to the daemon: it answers no other origin (CORS). */
function pageServer(script: string): Server {
  return createServer((request, response) => {
    if (request.method === "GET") {
      response.setHeader("content-type", request.url === "/page.js" ? "text/javascript" : "text/html; charset=utf-8");
      response.end(request.url === "/page.js" ? script : '<!doctype html><script src="/page.js"></script>');
      return;
    }
    const { url: path = "/", headers, method = "POST" } = request;
    const passed = callDaemon({ host: "127.0.0.1", port: daemon.port, path, method, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
    passed.on("error", () => response.destroy());
    response.on("close", () => passed.destroy());
    request.pipe(passed);
  });
}

test("a page asks, remembers, watches and explains over gRPC-Web", async () => {
  const page = await browser.newPage();
  const errors: Error[] = [];
  page.on("pageerror", (error) => errors.push(error));
  await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  const given: Given = {
    token: daemon.token("--role", "service-channel", "--name", "chat-page"),
    ownToken: daemon.token("--role", "subject", "--subject", "ada"),
  };
  const found: Findings = await page.evaluate((tokens) => {
    const { page } = globalThis as unknown as { page: { converse: typeof converse } };
    return page.converse(tokens);
  }, given);
  assert.deepEqual(errors, []);
  assert.equal(found.remembered, "recorded");
  assert.match(found.block, /^- "tone": "brief and dry" \(observed by a service, since \d{4}-\d\d-\d\d\)$/m);
  assert(found.reported, found.why);
  assert.deepEqual([found.statusAfterRevocation, found.endedBecause], ["ended", "consent_refused"]);
  assert.equal(found.refusal, "REFUSED_BY_SUBJECT");
  assert.deepEqual([found.unavailable, found.problem], ["unavailable", "UnavailableError"]);
});
