"""Checks timestamps of checkpoints with an authority made with `openssl ts` (RFC 3161).

The daemon must fetch timestamps from the authority, the export must contain them, and `sayso verify` must verify
them offline. OpenSSL must verify them, too. Without a trusted certificate, or with another one, they must not count.

    timestamps.py PATH/TO/sayso
"""

import base64
import http.server
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time

SAYSO = sys.argv[1]

CONFIG = """
[req]
distinguished_name = name
[name]
[ca]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[authority]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = critical,timeStamping
[tsa]
default_tsa = one
[one]
serial = serial
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
accuracy = secs:1
clock_precision_digits = 3
tsa_name = yes
ess_cert_id_alg = sha256
"""


def openssl(folder, *arguments, **options):
    return subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, **options).stdout


def make_ca(folder, name):
    openssl(folder, "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{name}.key")
    openssl(
        folder, "req", "-x509", "-new", "-key", f"{name}.key", "-subj", f"/O=Test/CN={name}", "-days", "30",
        "-config", "tsa.cnf", "-extensions", "ca", "-out", f"{name}.pem",
    )


def make_authority(folder):
    (folder / "tsa.cnf").write_text(CONFIG)
    (folder / "serial").write_text("01\n")
    make_ca(folder, "root")
    make_ca(folder, "stranger")
    openssl(folder, "genrsa", "-out", "tsa.key", "2048")
    openssl(folder, "req", "-new", "-key", "tsa.key", "-subj", "/O=Test/CN=tsa", "-config", "tsa.cnf", "-out", "tsa.csr")
    openssl(
        folder, "x509", "-req", "-in", "tsa.csr", "-CA", "root.pem", "-CAkey", "root.key", "-set_serial", "2",
        "-days", "30", "-extfile", "tsa.cnf", "-extensions", "authority", "-out", "tsa.pem",
    )


def serve_authority(folder):
    """Answers requests with `openssl ts -reply`. Returns the server."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            assert self.headers["content-type"] == "application/timestamp-query"
            (folder / "query").write_bytes(self.rfile.read(int(self.headers["content-length"])))
            openssl(
                folder, "ts", "-reply", "-config", "tsa.cnf", "-queryfile", "query", "-signer", "tsa.pem",
                "-inkey", "tsa.key", "-out", "reply",
            )
            reply = (folder / "reply").read_bytes()
            self.send_response(200)
            self.send_header("content-type", "application/timestamp-reply")
            self.send_header("content-length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def run(daemon, data, arguments, status=0):
    environment = {**os.environ, "SAYSO_ADDR": f"http://{daemon['grpc']}", "SAYSO_DATA": str(data)}
    result = subprocess.run([SAYSO, *arguments], env=environment, capture_output=True, text=True)
    assert result.returncode == status, (arguments, result.returncode, result.stdout, result.stderr)
    return result.stdout


def until(check):
    for _ in range(600):
        result = check()
        if result:
            return result
        time.sleep(0.1)
    raise AssertionError("the condition was not true within 60 s")


def check(folder):
    make_authority(folder)
    server = serve_authority(folder)
    data, settings = folder / "data", folder / "sayso.toml"
    settings.write_text(
        f'data = "{data}"\n[timestamps]\nurl = "http://127.0.0.1:{server.server_port}"\ninterval_ms = 1000\n'
        f'certificates = "{folder}/root.pem"\n'
    )
    serve = ["--json", "serve", "--dev", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--config", str(settings)]
    process = subprocess.Popen([SAYSO, *serve], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    daemon = json.loads(process.stdout.readline())
    run(daemon, data, ["record", "ada", "tone", "brief", "--category", "work"])
    size = int(json.loads(run(daemon, data, ["--json", "checkpoint"]))["treeSize"])
    sizes = lambda: sorted(int(path.stem) for path in (data / "timestamps").glob("*.tst"))
    until(lambda: sizes() and sizes()[-1] >= size)
    # An authority that is down must not delay a write.
    server.shutdown()
    server.server_close()
    for number in range(5):
        run(daemon, data, ["record", "ada", f"n{number}", "x", "--category", "work"])
    bundle = str(folder / "log.tar.zst")
    run(daemon, data, ["audit", "export", "-o", bundle])
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 0

    verify = ["--json", "verify", bundle, "--key", daemon["key"]]
    trusted = json.loads(run(daemon, data, [*verify, "--tsa-cert", str(folder / "root.pem")]))
    assert [int(one["treeSize"]) for one in trusted["timestamps"]] == sizes(), trusted
    assert trusted["timestamps"][0]["authority"] == "CN=tsa,O=Test", trusted
    pinned = json.loads(run(daemon, data, [*verify, "--tsa-cert", str(folder / "tsa.pem")]))
    assert pinned["timestamps"] == trusted["timestamps"]
    run(daemon, data, [*verify, "--tsa-cert", str(folder / "stranger.pem")], status=4)
    unchecked = json.loads(run(daemon, data, verify))
    assert unchecked["timestamps"] == [] and int(unchecked["timestampsUntrusted"]) == len(sizes()), unchecked

    # OpenSSL verifies the tokens for the text of the checkpoint.
    newest = sizes()[-1]
    text = openssl(folder, "ts", "-reply", "-in", f"data/timestamps/{newest}.tst", "-token_in", "-text", text=True)
    assert "Hash Algorithm: sha256" in text
    digest = imprint(data, daemon, newest)
    openssl(
        folder, "ts", "-verify", "-digest", digest, "-in", f"data/timestamps/{newest}.tst", "-token_in",
        "-CAfile", "root.pem",
    )
    return len(sizes())


def imprint(data, daemon, size):
    """The SHA-256 of the checkpoint's text, recomputed from the leaf hashes of the unpacked bundle."""
    import hashlib

    folder = data.parent / "unpacked"
    subprocess.run(["mkdir", "-p", folder], check=True)
    # The trailer after the zstd frame is a skippable frame, which zstd ignores.
    tar = subprocess.run(["zstd", "-dc", str(data.parent / "log.tar.zst")], check=True, capture_output=True).stdout
    subprocess.run(["tar", "-x", "-C", str(folder)], input=tar, check=True)
    hashes = (folder / "leaf-hashes.bin").read_bytes()
    leaves = [hashes[at : at + 32] for at in range(0, size * 32, 32)]

    def root(nodes):
        if len(nodes) == 1:
            return nodes[0]
        half = 1 << (len(nodes) - 1).bit_length() - 1
        return hashlib.sha256(b"\1" + root(nodes[:half]) + root(nodes[half:])).digest()

    origin = daemon["key"].split("+")[0]
    text = f"{origin}\n{size}\n{base64.b64encode(root(leaves)).decode()}\n"
    return hashlib.sha256(text.encode()).hexdigest()


with tempfile.TemporaryDirectory() as name:
    count = check(pathlib.Path(name))
print(f"the daemon kept {count} timestamps by an authority made with openssl; sayso and openssl verify them")
