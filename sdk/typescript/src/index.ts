/**
 * Client of Sayso, the consent and profile ledger for personalized language models, for Node.
 *
 * `connect` is the way in. `sayso/web` has the same for browsers, and `sayso/v1` the messages of the whole API.
 */

import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { Caller } from "./caller.js";
import { type CommonOptions, defaultsOf } from "./defaults.js";
import { Ledger } from "./ledger.js";
import { type Connection, resolve } from "./settings.js";

export * from "./common.js";
export { FileCursor } from "./file_cursor.js";
export { writeExport } from "./export_file.js";
export type { Connection } from "./settings.js";

/** Where the daemon is, how to call it, and the functions that a service plugs in. */
export interface Options extends Connection, CommonOptions {}

// A grant may have 3 MiB of attributes and as much again of what surrounds them.
const ANSWER_BYTES_MAX = 16 * 1024 * 1024;
// Finds out that a watch's connection is dead.
const PINGS = { pingIntervalMs: 30_000, pingTimeoutMs: 10_000 };

/**
 * Prepares a connection, which is made with the first call. Close it when it is no longer needed.
 *
 * @throws ConfigurationError The options do not fit together, or would not be safe.
 */
export function connect(options: Options = {}): Ledger {
  const settings = resolve(options);
  const sessionManager = new Http2SessionManager(settings.baseUrl, PINGS, settings.tls);
  const transport = createGrpcTransport({ baseUrl: settings.baseUrl, sessionManager, readMaxBytes: ANSWER_BYTES_MAX });
  const close = () => {
    sessionManager.abort();
  };
  return new Ledger(new Caller(transport, settings.token, defaultsOf(options), close));
}
