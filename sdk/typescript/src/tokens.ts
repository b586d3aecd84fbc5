/** The token of the calls. */

import { CredentialError } from "./errors.js";

/** A token, or a function that returns it and is called for each call. */
export type TokenSource = string | (() => string | Promise<string>);

const BYTES_MAX = 16 * 1024;

/**
 * Returns the token to send now. It is empty if there is none, because the client certificate is the credential.
 *
 * @throws CredentialError The function failed, or what it returned is not a token.
 */
export async function tokenOf(source: TokenSource | undefined): Promise<string> {
  if (source === undefined) return "";
  try {
    return checkedToken(typeof source === "string" ? source : await source());
  } catch (error) {
    if (error instanceof CredentialError) throw error;
    const why = error instanceof Error ? error.message : String(error);
    throw new CredentialError(`no token: ${why}`, { reason: "NO_TOKEN", cause: error });
  }
}

/**
 * Returns a token without the white space around it.
 *
 * @throws CredentialError It is not printable ASCII of at most 16 KiB.
 */
export function checkedToken(token: string): string {
  const trimmed = token.trim();
  if (trimmed.length > BYTES_MAX || !/^[ -~]*$/.test(trimmed)) {
    throw new CredentialError("no token: it must be printable ASCII of at most 16 KiB", { reason: "NO_TOKEN" });
  }
  return trimmed;
}
