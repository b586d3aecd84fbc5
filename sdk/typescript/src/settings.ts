/** Where the daemon is and how to call it, in Node: addresses, TLS and credentials. */

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type Address, addressOf, checkSafe } from "./address.js";
import { ConfigurationError } from "./errors.js";
import { tokenFile } from "./token_file.js";
import type { TokenSource } from "./tokens.js";

/** How to find and trust the daemon. */
export interface Connection {
  /**
   * `https://host:port`, or `http://host:port` on this machine. Default: `SAYSO_ADDR`, or else the daemon that
   * `sayso serve --dev` runs in `data`.
   */
  readonly address?: string;
  /** The token, or a function that returns it and is called for each call. */
  readonly token?: TokenSource;
  /**
   * A file with the token, which is read again when it changes. Default: `SAYSO_TOKEN_FILE`, or else the token of a
   * `--dev` daemon for `role`.
   */
  readonly tokenFile?: string;
  /** The role of the token of a `--dev` daemon. Default: `service-channel`. */
  readonly role?: string;
  /** The data folder of a `--dev` daemon. Default: `SAYSO_DATA`, or else `sayso-data`. */
  readonly data?: string;
  /** A file with the certificates (PEM) that signed the daemon's. Default: `SAYSO_CA`, or else those of Node. */
  readonly ca?: string;
  /** A file with a client certificate (PEM). Default: `SAYSO_CERT`. */
  readonly cert?: string;
  /** A file with its private key (PEM). Default: `SAYSO_KEY`. */
  readonly key?: string;
  /** Allow sending the token unencrypted to another machine. */
  readonly insecure?: boolean;
}

/** A daemon and how to call it, with all defaults resolved. */
export interface Settings {
  /** The URL to call. */
  readonly baseUrl: string;
  readonly token: TokenSource | undefined;
  /** The certificates and keys of TLS, as PEM. */
  readonly tls: { readonly ca?: Buffer; readonly cert?: Buffer; readonly key?: Buffer };
}

/**
 * Resolves the settings as the `sayso` command does: options, then environment, then a `--dev` daemon.
 *
 * @throws ConfigurationError The address is not usable, files are missing, or a token would be sent unencrypted.
 */
export function resolve(given: Connection): Settings {
  const dev = join(given.data ?? variable("SAYSO_DATA") ?? "sayso-data", "dev");
  const named = given.address ?? variable("SAYSO_ADDR");
  const address = addressOf(named ?? devAddress(dev) ?? "http://127.0.0.1:7117");
  checkForm(address.url, named);
  const files = {
    ca: given.ca ?? variable("SAYSO_CA"),
    cert: given.cert ?? variable("SAYSO_CERT"),
    key: given.key ?? variable("SAYSO_KEY"),
  };
  checkFiles(files, address, named !== undefined);
  const token = tokenSource(given, address, files.cert !== undefined, dev);
  checkSafe(address, token !== undefined, given.insecure);
  return { baseUrl: address.url.origin, token, tls: address.isEncrypted ? readAll(files) : {} };
}

function checkForm(url: URL, named: string | undefined): void {
  // A URL leaves out the port that is the default of its scheme.
  if (url.port === "" && !/:(80|443)\/?$/.test(named ?? "")) {
    throw new ConfigurationError("the address must have the form https://host:port or http://host:port");
  }
  if (url.pathname !== "/") throw new ConfigurationError("the address must not have a path");
}

interface Files {
  readonly ca: string | undefined;
  readonly cert: string | undefined;
  readonly key: string | undefined;
}

function checkFiles(files: Files, address: Address, isNamed: boolean): void {
  if ((files.cert === undefined) !== (files.key === undefined)) {
    throw new ConfigurationError("a client certificate needs both `cert` and `key`");
  }
  const hasFiles = files.ca !== undefined || files.cert !== undefined;
  if (hasFiles && isNamed && !address.isEncrypted) {
    throw new ConfigurationError("certificates need an address with https://");
  }
}

function tokenSource(
  given: Connection,
  address: Address,
  hasCertificate: boolean,
  dev: string,
): TokenSource | undefined {
  if (given.token !== undefined && given.tokenFile !== undefined) {
    throw new ConfigurationError("give a token or a token file, not both");
  }
  if (given.token !== undefined) return given.token;
  const file = given.tokenFile ?? variable("SAYSO_TOKEN_FILE");
  if (file !== undefined) return tokenFile(file);
  // The token of a `--dev` daemon is for this machine only.
  const ofRole = join(dev, `${given.role ?? "service-channel"}.token`);
  return !hasCertificate && address.isLoopback && existsSync(ofRole) ? tokenFile(ofRole) : undefined;
}

function readAll(files: Files): Settings["tls"] {
  return {
    ...(files.ca === undefined ? {} : { ca: read(files.ca) }),
    ...(files.cert === undefined ? {} : { cert: read(files.cert) }),
    ...(files.key === undefined ? {} : { key: read(files.key) }),
  };
}

function read(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new ConfigurationError(`${path} cannot be read`, { cause: error });
  }
}

function devAddress(dev: string): string | undefined {
  const file = join(dev, "address");
  return existsSync(file) ? readFileSync(file, "utf8").trim() : undefined;
}

function variable(name: string): string | undefined {
  const value = process.env[name];
  return value === "" ? undefined : value;
}
