/** Certificates for one daemon and its client, made with OpenSSL. */

import { execFileSync } from "node:child_process";
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];

/** Makes an authority in a folder, with a certificate for a server and one for a client. */
export function makeCertificates(folder: string): void {
  openssl(folder, "req", "-x509", ...KEY, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=test", "-days", "2");
  issue(folder, "server", "subjectAltName=DNS:localhost,IP:127.0.0.1");
  issue(folder, "client", "subjectAltName=URI:spiffe://sayso.test/acme/service-channel/tutor");
}

function issue(folder: string, name: string, extension: string): void {
  openssl(folder, "req", "-new", ...KEY, "-keyout", `${name}.key`, "-out", `${name}.csr`, "-subj", `/CN=${name}`);
  writeFileSync(join(folder, `${name}.ext`), `${extension}\nbasicConstraints=CA:FALSE\n`);
  const signed = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", `${name}.ext`];
  openssl(folder, "x509", "-req", "-in", `${name}.csr`, "-out", `${name}.pem`, ...signed);
  chmodSync(join(folder, `${name}.key`), 0o600);
}

function openssl(folder: string, ...command: string[]): void {
  execFileSync("openssl", command, { cwd: folder, stdio: "pipe" });
}
