/** What a use says about its block. */

/** What the block is, or why it is empty. */
export type Status = "allowed" | "nothing_allowed" | "unknown_person" | "unavailable" | "expired" | "ended" | "closed";

/** The same as sentences for people. */
export const SAYS: Readonly<Record<Status, string>> = {
  allowed: "Some facts may be used.",
  nothing_allowed: "Nothing may be used. `withheld` says why, and what would change it.",
  unknown_person: "Nothing is recorded about this person.",
  unavailable: "Nothing is used, because the ledger gave no answer. `problem` says why.",
  expired: "Nothing may be used any more, because the grant has expired.",
  ended: "Nothing may be used any more, because the grant has ended. `endedBecause` says why.",
  closed: "Nothing may be used any more, because the use was closed.",
};
