#!/usr/bin/env bash
# Runs every test that the matrix of docs/reliability.md names, and writes below it what came of each. ROUNDS sets how many
# seeds, rounds, power cuts and flipped bytes a file each of them tries.
set -euo pipefail
cd "$(dirname "$0")/.."
export SAYSO_ROUNDS="${ROUNDS:-40}"
export CARGO_TERM_COLOR=never
out=$(mktemp)
trap 'rm -f "$out"' EXIT

# A row: what is tried, then what cargo test is asked for. A test says what it tried in lines that begin with a number. One
# that fails ends the run, and the page stays as it was.
row() {
	local title=$1
	shift
	local began=$SECONDS
	cargo test --locked "$@" -- --nocapture >"$out" 2>&1 || { tail -40 "$out" >&2; exit 1; }
	local passed tried
	passed=$(sed -n 's/^test result: ok\. \([0-9]*\) passed.*/\1/p' "$out" | awk '{sum += $1} END {print sum + 0}')
	[ "$passed" -gt 0 ] || { echo "no test is called so: $*" >&2; exit 1; }
	# The harness may have begun the line with the name of the test.
	tried=$(sed 's/^test [^ ]* \.\.\. //' "$out" | grep -E '^[0-9]+ [a-z].*,' | tr -d '|' | paste -sd ';' | sed 's/;/; /g' || true)
	echo "$title: $passed passed in $((SECONDS - began)) s; ${tried:-no rounds}"
	rows+="| $title | $passed | ${tried:-every case once} |"$'\n'
}

rows=""
row "Simulation: a fault at every durable step" --test it sim::
row "The contract on the faulty store" --lib store::faulty
row "Power cuts: any sectors of what was not synced" --lib store::embedded::tests::sectors
row "Torn writes, recovery" --lib store::embedded::tests::recovery
row "Damage in segments" --lib store::embedded::tests::damage
row "Key pages: rot, torn writes, a lost copy, compaction" --lib store::embedded::tests::keys
row "The root key's file" --lib vault::custody
row "Key tree: the power at every step" --lib vault::tests::crashes
row "Killed engine" --lib store::embedded::tests::kill
row "Sequencer: failed commits, kept checkpoint, forks" --lib ledger::tests
row "Killed daemon under load" --test it crash::killed
row "Killed daemon during erasures" --test it erasure_crash::
row "Power cuts on ext4 under load" --test it crash::the_power_cut
row "Indexes lost" --test it crash::an_import
row "Full disk" --test it disk::a_full
row "Failed flushes" --test it disk::after
row "Bit rot, byte by byte" --test it rot::

page=docs/reliability.md
sed -i '/^<!-- rounds -->$/,$d' "$page"
{
	printf '<!-- rounds -->\nBy `make reliability` with ROUNDS=%s, in a debug build. Nothing failed: a run in which a test fails writes nothing here.\n\n' "$SAYSO_ROUNDS"
	printf '| Tried | Tests passed | Rounds and what came of them |\n|---|---|---|\n%s' "$rows"
} >>"$page"
