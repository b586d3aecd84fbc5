/** The package itself: what is built and installed from it, and the pages about it. */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { before, test } from "node:test";
import ts from "typescript";
import { Daemon, REPOSITORY, temporaryFolder } from "./daemon.js";

const HERE = resolve(import.meta.dirname, "../..");
const README = join(HERE, "README.md");
const QUICKSTART = join(REPOSITORY, "docs/quickstart-typescript.md");

/** Runs a command in a folder, and returns what it prints. It must succeed. */
function run(folder: string, command: string, ...rest: string[]): string {
  return execFileSync(command, rest, { cwd: folder, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

/** The blocks of a page in one language. */
function blocks(page: string, language: string): string[] {
  const text = readFileSync(page, "utf8");
  return [...text.matchAll(/^```(\w+)\n(.*?)^```/gms)].flatMap(([, of, body]) => (of === language ? [body ?? ""] : []));
}

/** Installs the package that `npm pack` makes into an empty folder. Its dependencies are those of this one. */
function install(): string {
  const folder = temporaryFolder();
  run(HERE, "npm", "pack", "--silent", "--ignore-scripts", "--pack-destination", folder);
  run(folder, "tar", "-xzf", "sayso-0.1.0.tgz");
  const modules = join(folder, "node_modules");
  mkdirSync(modules);
  cpSync(join(folder, "package"), join(modules, "sayso"), { recursive: true });
  for (const scope of ["@bufbuild", "@connectrpc"])
    symlinkSync(join(HERE, "node_modules", scope), join(modules, scope));
  return folder;
}

let folder: string;

before(() => {
  folder = install();
});

/** The lines of an output, without what differs in each run. */
function steady(text: string): string[] {
  return text
    .replace(/\d{4}-\d\d-\d\d(T[\d:.]+Z)?/g, "TIME")
    .split("\n")
    .filter((line) => line.trim() !== "");
}

test("the generated code is that of the proto files", () => {
  const fresh = temporaryFolder();
  run(HERE, "npm", "exec", "--offline", "--", "buf", "generate", "--output", fresh);
  const generated = (root: string) => join(root, "src/generated/sayso/v1");
  const files = readdirSync(generated(fresh));
  assert.equal(files.length, readdirSync(join(REPOSITORY, "proto/sayso/v1")).length);
  for (const file of files) {
    const [old, now] = [HERE, fresh].map((root) => readFileSync(join(generated(root), file), "utf8"));
    assert.equal(old, now, file);
  }
});

test("the quickstart runs from an empty folder and prints what the page says", async () => {
  writeFileSync(join(folder, "quickstart.mjs"), blocks(QUICKSTART, "js").join(""));
  const daemon = await Daemon.start();
  const env = { ...process.env, SAYSO_DATA: daemon.data };
  const printed = execFileSync("node", ["quickstart.mjs"], { cwd: folder, env, encoding: "utf8", timeout: 20_000 });
  assert.deepEqual(steady(printed), steady(blocks(QUICKSTART, "text").join("")));
  await daemon.stop();
});

test("the package has its licenses, and no lock file names a registry", () => {
  for (const kind of ["MIT", "APACHE"]) {
    const text = readFileSync(join(folder, `package/LICENSE-${kind}`), "utf8");
    assert.equal(text, readFileSync(join(REPOSITORY, `LICENSE-${kind}`), "utf8"));
  }
  const { packages } = JSON.parse(readFileSync(join(HERE, "package-lock.json"), "utf8")) as {
    packages: Record<string, { resolved?: string }>;
  };
  assert(Object.values(packages).every((found) => found.resolved === undefined));
});

test("the code of the README has no wrong types", () => {
  const head = [
    "interface Model { (prompt: { system: string; user: string }): Promise<{ id: string; text: string }> }",
    "declare const model: Model; declare const question: string;",
  ].join("\n");
  const parts = blocks(README, "ts");
  const isWeb = (part: string) => part.includes("sayso/web");
  writeFileSync(join(folder, "node.mts"), [head, ...parts.filter((part) => !isWeb(part))].join("\n"));
  writeFileSync(join(folder, "web.mts"), parts.filter(isWeb).join("\n"));
  const program = ts.createProgram([join(folder, "node.mts"), join(folder, "web.mts")], {
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.NodeNext,
    lib: ["lib.es2023.d.ts", "lib.esnext.disposable.d.ts", "lib.dom.d.ts"],
    types: ["node"],
    typeRoots: [join(HERE, "node_modules/@types")],
    strict: true,
    skipLibCheck: true,
    noEmit: true,
  });
  const found = ts
    .getPreEmitDiagnostics(program)
    .map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, "\n"));
  assert.deepEqual(found, []);
});
