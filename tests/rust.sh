#!/usr/bin/env bash
# Runs all Rust tests. If some fail, prints what each failed test said once more at the end, because a test
# run prints thousands of lines after it.
set -uo pipefail
cd "$(dirname "$0")/.."
mkdir -p target
cargo test --locked --workspace --no-fail-fast 2>&1 | tee target/test.log
status=$?
if [ "$status" -ne 0 ]; then
    echo
    echo "What the failed tests said (the whole output is in target/test.log):"
    awk '/^---- .* stdout ----$/ { said = 1 } /^failures:$/ { said = 0 } /^ +[0-9]+: |^ +at / { next } said' target/test.log |
        tail -n 200
fi
exit "$status"
