// Checks that the daemon works with tokens of an independent OpenID provider on the loopback interface: npm
// `oidc-provider`, certified by the OpenID Foundation. The daemon must accept each supported algorithm, refuse
// tokens for another audience or an unknown controller, and accept rotated keys of the provider while it runs.
//   node tests/outside/oidc.mjs SAYSO NODE_MODULES
import { spawn, execFileSync } from "node:child_process";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { mkdtempSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import assert from "node:assert/strict";

const [sayso, modules] = process.argv.slice(2).map((path) => resolve(path));
const { default: Provider } = await import(pathToFileURL(join(modules, "oidc-provider/lib/index.js")));
const { generateKeyPair, exportJWK } = createRequire(join(modules, "oidc-provider/package.json"))("jose");
const audience = "sayso";
// Each client is a caller. Its id has the form controller.role.name.
const clients = ["dev.auditor.mina", "acme.auditor.mina", "unknown.auditor.mina"];

const keys = async (generation) =>
  Promise.all(
    ["RS256", "ES256", "EdDSA"].map(async (alg) => {
      const { privateKey } = await generateKeyPair(alg, { extractable: true });
      return { ...(await exportJWK(privateKey)), alg, use: "sig", kid: `${alg}-${generation}` };
    }),
  );

const provider = async (issuer, generation) =>
  new Provider(issuer, {
    jwks: { keys: await keys(generation) },
    clients: clients.map((client_id) => ({
      client_id,
      client_secret: "secret",
      grant_types: ["client_credentials"],
      redirect_uris: [],
      response_types: [],
    })),
    extraTokenClaims: (_context, token) => {
      const [controller, role] = token.clientId.split(".");
      return { controller, role };
    },
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_context, resource) => {
          const [alg, audience] = new URL(resource).pathname.slice(1).split("/");
          return { scope: "", audience, accessTokenFormat: "jwt", jwt: { sign: { alg } } };
        },
      },
    },
  });

let current;
const server = createServer((request, response) => current(request, response));
await new Promise((done) => server.listen(0, "127.0.0.1", done));
const issuer = `http://127.0.0.1:${server.address().port}`;
const rotate = async (generation) => {
  current = (await provider(issuer, generation)).callback();
};
await rotate(1);

const mint = async (client, alg, forAudience = audience) => {
  const response = await fetch(`${issuer}/token`, {
    method: "POST",
    headers: { authorization: `Basic ${btoa(`${client}:secret`)}` },
    body: new URLSearchParams({ grant_type: "client_credentials", resource: `https://x/${alg}/${forAudience}` }),
  });
  const token = (await response.json()).access_token;
  assert.ok(token, `the provider gave no token to ${client}`);
  return token;
};

const folder = mkdtempSync(join(tmpdir(), "sayso-oidc-"));
mkdirSync(join(folder, "data"), { mode: 0o700 });
const config = join(folder, "sayso.toml");
writeFileSync(
  config,
  `data = "${join(folder, "data")}"
[tokens]
issuer = "${issuer}"
audience = "${audience}"
jwks_url = "${issuer}/jwks"
refresh_s = 1
[[controllers]]
name = "acme"
`,
);
const serve = ["--json", "serve", "--config", config, "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"];
const daemon = spawn(sayso, serve, { stdio: ["ignore", "pipe", "ignore"] });
try {
  const ready = await new Promise((done, failed) => {
    let text = "";
    daemon.stdout.on("data", (piece) => {
      text += piece;
      if (text.includes("\n")) done(JSON.parse(text.split("\n")[0]));
    });
    daemon.on("exit", () => failed(new Error("the daemon did not start")));
  });
  // Returns the checkpoint that the caller with this token gets, or null if the call is refused.
  const checkpoint = (token) => {
    const file = join(folder, "token");
    writeFileSync(file, token);
    const where = ["--addr", `http://${ready.grpc}`, "--token-file", file];
    try {
      return execFileSync(sayso, [...where, "checkpoint"], { stdio: ["ignore", "pipe", "ignore"] }).toString();
    } catch {
      return null;
    }
  };
  for (const alg of ["RS256", "ES256", "EdDSA"]) {
    assert.match(checkpoint(await mint("dev.auditor.mina", alg)), /sayso\.localhost\/dev\n/, alg);
    assert.match(checkpoint(await mint("acme.auditor.mina", alg)), /sayso\.localhost\/acme\n/, alg);
    assert.equal(checkpoint(await mint("dev.auditor.mina", alg, "other")), null, "a token for another audience must be refused");
    assert.equal(checkpoint(await mint("unknown.auditor.mina", alg)), null, "a token for an unknown controller must be refused");
  }
  const old = await mint("dev.auditor.mina", "ES256");
  await rotate(2);
  const renewed = await mint("dev.auditor.mina", "ES256");
  for (let tries = 0; checkpoint(renewed) === null; tries += 1) {
    assert.ok(tries < 100, "the daemon did not accept the rotated keys");
    await new Promise((done) => setTimeout(done, 200));
  }
  assert.equal(checkpoint(old), null, "a token that a removed key signed must be refused");
  console.log("oidc-provider: tokens with RS256, ES256 and EdDSA accepted; other audience, unknown controller and removed keys refused");
} finally {
  daemon.kill();
  server.close();
  rmSync(folder, { recursive: true });
}
process.exit(0);
