#!/usr/bin/env bash
# Runs every test that the matrix of docs/reliability.md names, and writes below it what came of each.
set -euo pipefail
cd "$(dirname "$0")/.."
export SAYSO_ROUNDS="${ROUNDS:-40}"
out=$(mktemp)
trap 'rm -f "$out"' EXIT

# Title, then what cargo test is asked for. A group that fails ends the run, and the page stays as it was.
group() {
	local title=$1
	shift
	cargo test --locked "$@" -- --nocapture >"$out" 2>&1 || { tail -40 "$out" >&2; exit 1; }
	local passed
	passed=$(sed -n 's/^test result: ok\. \([0-9]*\) passed.*/\1/p' "$out" | awk '{sum += $1} END {print sum + 0}')
	[ "$passed" -gt 0 ] || { echo "no test is called so: $*" >&2; exit 1; }
	rows+="| $title | $passed | $(sed -n 's/^\([0-9]* histories.*\)/\1/p' "$out") |"$'\n'
}

rows=""
group "Simulation" --test it sim::
group "Faulty store and the contract" --lib store::faulty
group "Embedded engine: recovery, damage, kills" --lib store::embedded
group "Sequencer: failed commits, kept checkpoint" --lib ledger::tests
group "Key tree: the power at every step" --lib vault::tests::crashes
group "Real daemon: kills, power cuts" --test it crash

page=docs/reliability.md
sed -i '/^<!-- rounds -->$/,$d' "$page"
printf '<!-- rounds -->\n| Run | Tests passed | Rounds |\n|---|---|---|\n%s' "$rows" >>"$page"
