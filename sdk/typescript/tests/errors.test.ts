/** Errors have a class for each reason, and the reasons are those of docs/errors.md. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { BY_REASON, type ErrorClass } from "../src/errors.js";
import { BusyError, SaysoError } from "../src/index.js";
import { remedyOf } from "../src/remedies.js";
import { REPOSITORY } from "./daemon.js";

test("every documented reason has a class and a hint", () => {
  const page = readFileSync(join(REPOSITORY, "docs/errors.md"), "utf8");
  const documented = [...page.matchAll(/^\| `([A-Z_]+)` \|/gm)].map((found) => found[1]);
  assert.deepEqual(new Set(documented), new Set(Object.keys(BY_REASON)));
  for (const [reason, kind] of Object.entries<ErrorClass>(BY_REASON)) {
    assert.notEqual(new kind("message", { reason }).hint, new SaysoError("message").hint);
  }
});

test("an error says its reason and what to do", () => {
  const error = new BusyError("too many calls", { reason: "TOO_MANY_CALLS", code: "RESOURCE_EXHAUSTED" });
  assert(error instanceof SaysoError && error instanceof Error);
  assert.equal(String(error), `BusyError: too many calls [TOO_MANY_CALLS]. ${error.hint}`);
});

test("what the person's own rules decide, only the person can change", () => {
  const own = { kind: "change_own_rules", purpose: "memory", category: "work", onlyByPerson: true };
  assert.deepEqual(remedyOf("forbidden", "personal/never", "memory", "work"), own);
  assert.equal(remedyOf("not_asked", "personal/ask", "memory", "work").kind, "consent_for_this_chat");
  assert.equal(remedyOf("unknown_99", "", "memory", "work").kind, "none");
});
