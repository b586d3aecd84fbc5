/** Starts the real daemon for tests. */

import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { connect, type Ledger, type Options } from "../src/index.js";

export const REPOSITORY = resolve(import.meta.dirname, "../../../..");
const START_MS_MAX = 30_000;
const NOTICE = "We remember facts about you to adapt how we speak to you.";

// The settings of the shell stay away from the tests.
for (const name of ["ADDR", "CA", "CERT", "KEY", "TOKEN_FILE", "DATA"])
  Reflect.deleteProperty(process.env, `SAYSO_${name}`);

/** Returns the program: that of SAYSO_BIN, or else the newest one that was built here. */
function binary(): string {
  const named = process.env["SAYSO_BIN"];
  if (named !== undefined) return resolve(named);
  const target = process.env["CARGO_TARGET_DIR"] ?? join(REPOSITORY, "target");
  const built = ["debug", "release"].map((kind) => join(target, kind, "sayso")).filter((path) => existsSync(path));
  const newest = built.sort((a, b) => statSync(a).mtimeMs - statSync(b).mtimeMs).at(-1);
  if (newest === undefined) throw new Error("no daemon to test with; run `cargo build` or set SAYSO_BIN");
  return newest;
}

/** Runs a command of the program, and returns what it prints. */
export function run(...command: string[]): string {
  return execFileSync(binary(), command, { encoding: "utf8" }).trim();
}

/** A folder that is removed when the process ends. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "sayso-"));
  process.once("exit", () => {
    rmSync(folder, { recursive: true, force: true });
  });
  return folder;
}

/** A daemon with a data folder of its own. */
export class Daemon {
  readonly data: string;
  readonly #log: string;
  readonly #command: readonly string[];
  #port = 0;
  #process: ChildProcess | undefined;

  private constructor(folder: string, command: readonly string[]) {
    this.data = join(folder, "data");
    this.#log = join(folder, "daemon.log");
    this.#command = command;
  }

  /** Starts a daemon. */
  static async start(folder = temporaryFolder(), command: readonly string[] = ["--dev"]): Promise<Daemon> {
    const daemon = new Daemon(folder, command);
    await daemon.start();
    return daemon;
  }

  /** Starts a daemon that has the notice `welcome`. */
  static async withNotice(): Promise<Daemon> {
    const daemon = await Daemon.start();
    using steward = daemon.ledger("steward");
    await steward.publishNotice("welcome", NOTICE);
    return daemon;
  }

  /** Starts the daemon, and returns when it serves. A daemon that was stopped gets its port again. */
  async start(): Promise<void> {
    const log = openSync(this.#log, "w");
    const listen = ["--listen", `127.0.0.1:${this.#port}`, "--http", "127.0.0.1:0"];
    const process = spawn(binary(), ["serve", ...this.#command, "--data", this.data, ...listen], {
      stdio: ["ignore", log, log],
    });
    closeSync(log);
    this.#process = process;
    const until = Date.now() + START_MS_MAX;
    while (!this.#serves()) {
      if (Date.now() > until || process.exitCode !== null) {
        throw new Error(`the daemon did not start:\n${readFileSync(this.#log, "utf8")}`);
      }
      await sleep(20);
    }
  }

  #serves(): boolean {
    const found = /^sayso serves gRPC on \S*:(\d+)/m.exec(readFileSync(this.#log, "utf8"));
    if (found !== null) this.#port = Number(found[1]);
    return found !== null;
  }

  /** Stops the daemon in order. */
  async stop(): Promise<void> {
    const process = this.#process;
    if (process === undefined) return;
    this.#process = undefined;
    const ended = once(process, "exit");
    process.kill("SIGTERM");
    await ended;
  }

  /** The port of gRPC. */
  get port(): number {
    return this.#port;
  }

  /** The address on which it serves without TLS. */
  get address(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** Makes a token with the built-in issuer. */
  token(...options: string[]): string {
    return run("token", ...options, "--data", this.data);
  }

  /** Connects with the token of a role. */
  ledger(role = "service-channel", options: Options = {}): Ledger {
    return connect({ data: this.data, role, log: () => undefined, ...options });
  }
}

/** Waits until something is so. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const end = Date.now() + 15_000;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error("it did not come true in time");
    await sleep(20);
  }
}

/** Collects the items of a list. */
export async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}
