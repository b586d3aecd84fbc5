#!/usr/bin/env python3
"""Checks entries of a Sayso log with an independent COSE library (`cwt`, from PyPI).

    pip install cwt==3.3.0
    verify_cose.py PUBLIC_KEY_HEX FILE.jsonl... [--leaf-hashes leaf-hashes.bin]

Each line of a file has one of these forms:

- a JSON string: an entry in hex
- a line of a bundle's `entries/*.jsonl`: an object with `entry` in base64
- another object with `entry` in hex, and `leaf_hash` in hex if it is known

Every entry must be a COSE_Sign1 that the key signed (RFC 9052 s. 4.4). The script recomputes its leaf hash (RFC 9162
s. 2.1.1) and compares it with the known one, which is in the line or, by position, in `leaf-hashes.bin`. Prints one
line for each file. The first failure ends the script with exit status 1.
"""

import argparse
import base64
import hashlib
import json
import sys

from cwt import COSE, COSEKey

# Labels of RFC 9052 and 9053: header parameters, then key parameters.
ALG, KID, EDDSA = 1, 4, -8
KTY, KEY_ID, KEY_ALG, KEY_OPS, CURVE, X = 1, 2, 3, 4, -1, -2
OKP, ED25519, VERIFY = 1, 6, 2
SIGN1_TAG = 0xD2


def key_of(public_key: bytes) -> COSEKey:
    """Returns the log's public key with the key id that entries have."""
    key_id = hashlib.sha256(public_key).digest()[:8]
    return COSEKey.new({KTY: OKP, KEY_ID: key_id, KEY_ALG: EDDSA, KEY_OPS: [VERIFY], CURVE: ED25519, X: public_key})


def check(entry: bytes, key: COSEKey) -> bytes:
    """Verifies one entry and returns its leaf hash."""
    require(entry[0] == SIGN1_TAG, "not a tagged COSE_Sign1")
    protected, unprotected, _payload = COSE.new().decode_with_headers(entry, key)
    require(protected[ALG] == EDDSA, "not EdDSA")
    require(protected[KID] == key.kid, "signed by another key")
    require(not unprotected, "unprotected header parameters")
    return hashlib.sha256(b"\x00" + entry).digest()


def require(condition: bool, reason: str) -> None:
    """Raises an error with `reason` if the condition is false. Unlike `assert`, it also works under `python -O`."""
    if not condition:
        raise ValueError(reason)


def read(line: str, number: int) -> tuple[int, bytes | None, bytes | None]:
    """Returns the position, the entry and the leaf hash of a line. Entry and leaf hash are None if it has none."""
    record = json.loads(line)
    if isinstance(record, str):
        return number, bytes.fromhex(record), None
    position = record.get("position", number)
    if "state" in record:
        entry = record.get("entry")
        return position, entry and base64.b64decode(entry, validate=True), None
    leaf_hash = record.get("leaf_hash")
    return position, bytes.fromhex(record["entry"]), leaf_hash and bytes.fromhex(leaf_hash)


def main() -> None:
    """Checks every file named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("public_key", type=bytes.fromhex, help="the log's Ed25519 public key, 64 hex digits")
    parser.add_argument("files", nargs="+")
    parser.add_argument("--leaf-hashes", help="a bundle's leaf-hashes.bin")
    arguments = parser.parse_args()
    key = key_of(arguments.public_key)
    known = open(arguments.leaf_hashes, "rb").read() if arguments.leaf_hashes else b""
    for name in arguments.files:
        verified = erased = compared = 0
        for number, line in enumerate(open(name, encoding="utf-8")):
            position, entry, leaf_hash = read(line, number)
            if entry is None:
                erased += 1
                continue
            try:
                computed = check(entry, key)
                leaf_hash = leaf_hash or known[32 * position : 32 * position + 32]
                require(not leaf_hash or leaf_hash == computed, "the leaf hash differs from the known one")
            except Exception as error:  # the library raises errors of many types
                sys.exit(f"{name}: position {position}: {error or type(error).__name__}")
            verified += 1
            compared += bool(leaf_hash)
        print(f"{name}: {verified} entries verified, {compared} leaf hashes compared, {erased} erased")


if __name__ == "__main__":
    main()
