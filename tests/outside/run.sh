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

# Tokens of an OpenID provider that is not ours.
node tests/outside/oidc.mjs target/debug/sayso target/outside-node/node_modules
