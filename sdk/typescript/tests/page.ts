/** Runs in a page of the test in Chromium: what a page of a chat application does for one person. */

import { connect, type Ledger, RefusedByPersonError, type Remembered, type Status } from "../src/web.js";

/** What the page found. */
export interface Findings {
  readonly remembered: Remembered["outcome"];
  readonly block: string;
  readonly reported: boolean;
  readonly why: string;
  readonly statusAfterRevocation: Status;
  readonly endedBecause: string;
  readonly refusal: string;
  readonly unavailable: Status;
  readonly problem: string | undefined;
}

/** Tokens and paths that the test passes to the page. */
export interface Given {
  readonly token: string;
  readonly ownToken: string;
}

/** Goes through a conversation with the ledger behind the page's own server. */
export async function converse({ token, ownToken }: Given): Promise<Findings> {
  const log = () => undefined;
  const ledger = connect({ token: () => Promise.resolve(token), log });
  const own = connect({ address: "/", token: ownToken, log });
  const ada = ledger.person("ada");
  const { outcome } = await ada.remember("tone", "brief and dry", { category: "communication-style" });
  await ada.sayYes("memory", { notice: "welcome", channel: "web" });
  const block = await ada.use("memory", { chat: "chat-1" }, (use) => {
    use.replied("reply-1");
    return use.block;
  });
  const { text } = await ada.why({ reply: "reply-1" });
  const ended = await endedByRevocation(ledger, own);
  const refusal = await refusalOf(ada.sayYes("memory", { notice: "welcome" }));
  const nowhere = connect({ address: "http://127.0.0.1:9", replyTimeoutMs: 500, log });
  const { status: unavailable, problem } = await nowhere.person("ada").use("memory");
  return {
    remembered: outcome,
    block,
    reported: text.includes("Reply `reply-1`"),
    why: text,
    ...ended,
    refusal,
    unavailable,
    problem: problem?.name,
  };
}

async function endedByRevocation(ledger: Ledger, own: Ledger) {
  await using watch = ledger.onRevoked(() => undefined);
  await watch.waitStarted();
  await using use = await ledger.person("ada").use("memory");
  await own.person("ada").sayNo("memory", { channel: "web" });
  for (let tries = 0; use.status === "allowed" && tries < 500; tries++) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return { statusAfterRevocation: use.status, endedBecause: use.endedBecause };
}

async function refusalOf(call: Promise<unknown>): Promise<string> {
  try {
    await call;
    return "";
  } catch (error) {
    return error instanceof RefusedByPersonError ? error.reason : String(error);
  }
}
