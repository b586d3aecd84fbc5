/** Addresses of daemons, and which of them are safe to send a token to. */

import { ConfigurationError } from "./errors.js";

/** An address that was checked. */
export interface Address {
  readonly url: URL;
  readonly isEncrypted: boolean;
  /** Whether it is this machine. */
  readonly isLoopback: boolean;
}

/**
 * Returns an address.
 *
 * @throws ConfigurationError It is not a URL with http or https, or it has a user name, a password or a query.
 */
export function addressOf(text: string): Address {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined) throw new ConfigurationError("the address is not a URL");
  if (!["http:", "https:"].includes(url.protocol)) throw new ConfigurationError("the address must begin with https://");
  if (url.username !== "" || url.password !== "" || url.search !== "" || url.hash !== "") {
    throw new ConfigurationError("the address must not have a user name, a password or a query");
  }
  return { url, isEncrypted: url.protocol === "https:", isLoopback: isLoopback(url.hostname) };
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "[::1]" || /^127(\.\d{1,3}){3}$/.test(host);
}

/**
 * Refuses to send a token unencrypted to another machine.
 *
 * @throws ConfigurationError It would be.
 */
export function checkSafe(address: Address, hasToken: boolean, insecure: boolean | undefined): void {
  if (!hasToken || address.isEncrypted || address.isLoopback || insecure === true) return;
  throw new ConfigurationError("the token would be sent unencrypted; use https://, or set `insecure`");
}
