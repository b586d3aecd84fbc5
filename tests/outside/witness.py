"""Checks witnessing in both directions with an independent implementation (`aics-witness`, from PyPI).

The witness of that implementation must cosign the checkpoints of a Sayso log. Sayso's witness must cosign the
checkpoints of a log made with that implementation, and refuse a fork of this log.

    witness.py PATH/TO/sayso
"""

import base64
import hashlib
import json
import os
import pathlib
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

from aics_tlog import Checkpoint, MerkleTree, format_vkey, parse_checkpoint, parse_note, parse_vkey, sign_checkpoint
from aics_tlog import verify_cosignature, vkey_from_ed25519
from aics_witness.feeder import FeederError, WitnessClient
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey

SAYSO = sys.argv[1]
WITNESS = pathlib.Path(sys.executable).with_name("aics-witness")


def free_port():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


def started(arguments):
    """Starts Sayso. Returns the process, and the JSON that it prints when it is ready."""
    process = subprocess.Popen([SAYSO, "--json", *arguments], stdout=subprocess.PIPE, text=True)
    return process, json.loads(process.stdout.readline())


def end(process):
    process.send_signal(signal.SIGTERM)
    process.wait()


def run(daemon, data, arguments, ok=True):
    environment = {**os.environ, "SAYSO_ADDR": f"http://{daemon['grpc']}", "SAYSO_DATA": str(data)}
    result = subprocess.run([SAYSO, *arguments], env=environment, capture_output=True, text=True)
    assert (result.returncode == 0) == ok, (arguments, result.stderr)
    return result.stdout


def until(check):
    for _ in range(600):
        result = check()
        if result:
            return result
        time.sleep(0.1)
    raise AssertionError("the condition was not true within 60 s")


def answers(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def their_witness_cosigns_our_log(folder):
    data, port = folder / "data", free_port()
    serve = ["--data", str(data), "serve", "--dev", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]
    process, daemon = started(serve)
    end(process)
    log, config = daemon["key"], str(folder / "witness.json")
    init = subprocess.run(
        [WITNESS, "init", "-c", config, "--name", "witness.example/theirs", "--listen", f"127.0.0.1:{port}"],
        check=True, capture_output=True, text=True,
    )
    vkey = next(word for line in init.stdout.splitlines() for word in line.split() if word.startswith("witness.example/theirs+"))
    subprocess.run([WITNESS, "add-log", "-c", config, "--origin", log.split("+")[0], "--vkey", log], check=True)
    witness = subprocess.Popen([WITNESS, "serve", "-c", config, "--log-level", "ERROR"])
    until(lambda: answers(port))
    settings = folder / "sayso.toml"
    settings.write_text(
        f'data = "{data}"\n[witnesses]\ninterval_ms = 50\n[[witnesses.ask]]\nvkey = "{vkey}"\nurl = "http://127.0.0.1:{port}"\n'
    )
    process, daemon = started([*serve[2:], "--config", str(settings)])
    for number in range(5):
        run(daemon, data, ["record", "ada", f"n{number}", "x", "--category", "work"])
    size = int(json.loads(run(daemon, data, ["--json", "checkpoint"]))["treeSize"])
    cosigned = until(lambda: cosigned_from(daemon, data, size))
    text = parse_note(cosigned).text
    lines = [line for line in parse_note(cosigned).signatures if line.name == "witness.example/theirs"]
    tree = parse_checkpoint(text)
    is_valid = verify_cosignature(lines[0].signature, lines[0].name, parse_vkey(vkey).public_key, tree.origin, tree.size, tree.root)
    assert len(lines) == 1 and is_valid, "the witness's own library must verify its cosignature"
    bundle = str(folder / "log.tar.zst")
    run(daemon, data, ["audit", "export", "-o", bundle])
    run(daemon, data, ["verify", bundle, "--key", log, "--witness", vkey])
    end(process)
    witness.terminate()
    witness.wait()
    return size


def cosigned_from(daemon, data, size):
    found = json.loads(run(daemon, data, ["--json", "checkpoint"]))
    return found.get("cosigned") if int(found.get("cosignedSize", 0)) >= size else None


def check_ml_dsa_cosignature(vkey, note, folder):
    """Verifies the ML-DSA-44 cosignature that our witness keeps, with a message built from C2SP tlog-cosignature."""
    name, key_id, encoded = vkey.split("+", 2)
    key = base64.b64decode(encoded)
    assert key[:1] == b"\x06" and key_id == hashlib.sha256(name.encode() + b"\n" + key).hexdigest()[:8]
    kept = parse_note(next(folder.glob("*.checkpoint")).read_text())
    line = next(line for line in kept.signatures if line.name == name and len(line.signature) > 1000)
    checkpoint, raw = parse_checkpoint(parse_note(note).text), bytes(line.signature)
    raw = raw[4:] if len(raw) == 4 + 8 + 2420 else raw
    timestamp, origin = raw[:8], checkpoint.origin.encode()
    message = b"subtree/v1\n\0" + bytes([len(name)]) + name.encode() + timestamp + bytes([len(origin)]) + origin
    message += struct.pack(">QQ", 0, checkpoint.size) + checkpoint.root
    MLDSA44PublicKey.from_public_bytes(key[1:]).verify(raw[8:], message)


def our_witness_cosigns_their_log(folder):
    key, origin = Ed25519PrivateKey.generate(), "log.example/theirs"
    log = format_vkey(vkey_from_ed25519(origin, key.public_key()))
    store = str(folder / "ours")
    process, ready = started(["witness", "--name", "witness.example/ours", "--folder", store, "--log", log, "--listen", "127.0.0.1:0"])
    tree, fork = MerkleTree(), MerkleTree([b"another"])
    client = WitnessClient(f"http://{ready['http']}", ready["key"])

    def note(of, size):
        checkpoint = Checkpoint(origin=origin, size=size, root=of.root(size))
        signed = sign_checkpoint(checkpoint, key, origin)
        return signed.to_bytes()

    sizes = [1, 2, 3, 7, 8, 20, 20, 64, 300]
    for size in sizes:
        tree.extend(b"%d" % leaf for leaf in range(len(tree), size))
        line = client.submit(note(tree, size), tree.consistency_proof)
        assert "witness.example/ours" in line, line
    check_ml_dsa_cosignature(ready["keyMlDsa44"], note(tree, sizes[-1]), folder / "ours")
    fork.extend(b"%d" % leaf for leaf in range(400))
    for size in (300, 301, 400):
        try:
            client.submit(note(fork, size), fork.consistency_proof)
        except FeederError:
            continue
        raise AssertionError(f"a fork of {size} entries was cosigned")
    end(process)
    return len(sizes)


with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    size = their_witness_cosigns_our_log(folder)
    count = our_witness_cosigns_their_log(folder)
print(f"their witness cosigned our log of {size} entries; ours cosigned {count} checkpoints of theirs and no fork, with Ed25519 and ML-DSA-44")
