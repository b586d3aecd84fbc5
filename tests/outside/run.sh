#!/usr/bin/env bash
# Events verified as COSE_Sign1 by a Python library: the checked-in vectors, and what the daemon exported in the tests.
# Packages and consent receipts validated and expanded by others.
set -euo pipefail
python=target/outside-venv/bin/python
script=tests/outside/verify_cose.py
vectors=tests/vectors
key=$("$python" -c 'import json,sys; print(json.load(open(sys.argv[1]))["public_key"])' "$vectors/sayso-v1.json")
"$python" "$script" "$key" "$vectors/entries-v1.jsonl"
outside=target/tmp/outside
"$python" "$script" "$(cat "$outside/public-key.hex")" "$outside/entries.jsonl" --leaf-hashes "$outside/leaf-hashes.bin"
# What a person takes away: packages by their schema, consent receipts as JSON-LD.
"$python" tests/outside/check_package.py docs/schemas/access-package-v1.schema.json "$outside/access" "$outside/portability"
# Witnesses both ways: theirs cosigns our log, ours cosigns theirs.
"$python" tests/outside/witness.py target/debug/sayso
# The API's files, and the daemon's numbers in a real Prometheus.
tests/outside/proto.sh
python3 tests/outside/prometheus.py "${CARGO_TARGET_DIR:-target}/debug/sayso" target/tools/usr/bin
# Tokens of an OpenID provider that is not ours.
node tests/outside/oidc.mjs target/debug/sayso target/outside-node/node_modules
