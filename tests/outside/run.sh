#!/usr/bin/env bash
# Checks Sayso's output with independent implementations. Run the Rust tests first: they write the files under
# target/tmp/outside that this script reads.
set -euo pipefail
python=target/outside-venv/bin/python
script=tests/outside/verify_cose.py
vectors=tests/vectors
# Checks that entries are valid COSE_Sign1, with a Python library: the test vectors in the repository, and the
# entries that the daemon exported in the Rust tests.
key=$("$python" -c 'import json,sys; print(json.load(open(sys.argv[1]))["public_key"])' "$vectors/sayso-v1.json")
"$python" "$script" "$key" "$vectors/entries-v1.jsonl"
outside=target/tmp/outside
"$python" "$script" "$(cat "$outside/public-key.hex")" "$outside/entries.jsonl" --leaf-hashes "$outside/leaf-hashes.bin"
# Checks access packages with a JSON Schema library, and consent receipts with a JSON-LD library.
"$python" tests/outside/check_package.py docs/schemas/access-package-v1.schema.json "$outside/access" "$outside/portability"
# Checks witnesses in both directions: an independent witness cosigns a Sayso log, and Sayso's witness cosigns
# another log.
"$python" tests/outside/witness.py target/debug/sayso
# Checks timestamps of checkpoints with an authority made with OpenSSL.
"$python" tests/outside/timestamps.py target/debug/sayso
# Checks the Python package against the daemon.
tests/outside/python_sdk.sh "${CARGO_TARGET_DIR:-target}/debug/sayso"
# Checks the TypeScript package against the daemon, in Node and in Chromium.
tests/outside/typescript.sh "${CARGO_TARGET_DIR:-target}/debug/sayso"
# Checks the proto files with buf, and the daemon's metrics with Prometheus.
tests/outside/proto.sh
python3 tests/outside/prometheus.py "${CARGO_TARGET_DIR:-target}/debug/sayso" target/tools/usr/bin
# Checks bearer tokens with an independent OpenID provider.
node tests/outside/oidc.mjs target/debug/sayso target/outside-node/node_modules
