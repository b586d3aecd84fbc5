/** Client of Sayso for browsers, over gRPC-Web. */

import { createGrpcWebTransport } from "@connectrpc/connect-web";
import { addressOf, checkSafe } from "./address.js";
import { Caller } from "./caller.js";
import { type CommonOptions, defaultsOf } from "./defaults.js";
import { Ledger } from "./ledger.js";
import type { TokenSource } from "./tokens.js";

export * from "./common.js";

/** Where the daemon is, and the functions that a page plugs in. */
export interface WebOptions extends CommonOptions {
  /** The daemon, or a path of the page's own server that leads to it. Default: the origin of the page. */
  readonly address?: string;
  /** The token, or a function that returns it and is called for each call. */
  readonly token?: TokenSource;
  /** Allow sending the token unencrypted to another machine. */
  readonly insecure?: boolean;
}

/**
 * Prepares a connection. The page must be served over https, or from this machine.
 *
 * Everybody who has the page has its token. So it should be one of the person (role `subject`), for a short time.
 *
 * @throws ConfigurationError The address is not usable, or a token would be sent unencrypted.
 */
export function connect(options: WebOptions = {}): Ledger {
  const address = addressOf(new URL(options.address ?? "/", location.href).href);
  checkSafe(address, options.token !== undefined, options.insecure);
  const baseUrl = address.url.href.replace(/\/$/, "");
  const transport = createGrpcWebTransport({ baseUrl });
  return new Ledger(new Caller(transport, options.token, defaultsOf(options), () => undefined));
}
