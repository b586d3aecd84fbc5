#!/usr/bin/env bash
# Runs every test that the matrix of docs/reliability.md names, and writes below it what came of each. ROUNDS sets how much
# each of them tries; SEEDS (of the simulation), CUTS (of the power, under a daemon), KILLS (of a process) and BYTES
# (flipped in each file) set some of it apart, for they take very different times.
set -euo pipefail
cd "$(dirname "$0")/.."
ROUNDS="${ROUNDS:-40}"
SEEDS="${SEEDS:-$ROUNDS}" CUTS="${CUTS:-$ROUNDS}" KILLS="${KILLS:-$ROUNDS}" BYTES="${BYTES:-$ROUNDS}"
export CARGO_TERM_COLOR=never
out=$(mktemp)
trap 'rm -f "$out"' EXIT

# A row: what is tried, how much of it, then what cargo test is asked for. A test says what it tried in lines that begin with a
# number. One that fails ends the run, and the page stays as it was.
row() {
	local title=$1 rounds=$2
	shift 2
	local began=$SECONDS
	SAYSO_ROUNDS=$rounds cargo test --locked --workspace "$@" -- --nocapture >"$out" 2>&1 || { tail -40 "$out" >&2; exit 1; }
	local passed tried
	passed=$(sed -n 's/^test result: ok\. \([0-9]*\) passed.*/\1/p' "$out" | awk '{sum += $1} END {print sum + 0}')
	[ "$passed" -gt 0 ] || { echo "no test is called so: $*" >&2; exit 1; }
	# The harness may have begun the line with the name of the test.
	tried=$(sed 's/^test [^ ]* \.\.\. //' "$out" | grep -E '^[0-9]+ [a-z].*,' | tr -d '|' | paste -sd ';' | sed 's/;/; /g' || true)
	echo "$title: $passed passed in $((SECONDS - began)) s; ${tried:-no rounds}"
	rows+="| $title | $passed | ${tried:-every case once} |"$'\n'
}

rows=""
row "Simulation: a fault at every durable step" "$SEEDS" --test it sim::
row "The contract on the faulty store" "$ROUNDS" --lib store::faulty
row "Power cuts: any sectors of what was not synced" "$ROUNDS" --lib store::embedded::tests::sectors
row "Torn writes, recovery" "$ROUNDS" --lib store::embedded::tests::recovery
row "Damage in segments" "$ROUNDS" --lib store::embedded::tests::damage
row "Key pages: rot, torn writes, a lost copy, compaction" "$ROUNDS" --lib store::embedded::tests::keys
row "The root key's file" "$ROUNDS" --lib vault::custody
row "Key tree: the power at every step" "$ROUNDS" --lib vault::tests::crashes
row "Killed engine" "$ROUNDS" --lib store::embedded::tests::kill
row "Sequencer: failed commits, kept checkpoint, forks" "$ROUNDS" --lib ledger::tests
row "Killed daemon under load" "$KILLS" --test it killed_in_the_middle
row "Killed daemon during erasures" "$KILLS" --test it erasure_crash::
row "Power cuts on ext4 under load" "$CUTS" --test it crash::the_power_cut
row "Indexes lost" "$CUTS" --test it crash::an_import
row "Full disk" "$CUTS" --test it disk::a_full
row "Failed flushes" "$CUTS" --test it disk::after
row "Refusals beside as many open grants and artifacts as there may be" 1 --test it noes::
row "Clock jumps: back, ten years ahead, frozen, at every durable step" "$SEEDS" --test it sim::whatever_the_clock
row "Clock jumps, through the front door and under the real binary" 1 --test it clock::
row "The ledger's time: any jumps, restarts, a damaged file" 1 --lib clock::
row "Restore: use waits" 1 --test it backup::
row "Witnesses: a fork is found" 1 --test it witness::
row "Killed while the log changes its key" "$KILLS" --test it rotation::
row "Bit rot, byte by byte" "$BYTES" --test it rot::

page=docs/reliability.md
sed -i '/^<!-- rounds -->$/,$d' "$page"
{
	printf '<!-- rounds -->\nBy `make reliability` with ROUNDS=%s SEEDS=%s CUTS=%s KILLS=%s BYTES=%s, in a debug build. Nothing failed: a run in which a test fails writes nothing here.\n\n' \
		"$ROUNDS" "$SEEDS" "$CUTS" "$KILLS" "$BYTES"
	printf '| Tried | Tests passed | Rounds and what came of them |\n|---|---|---|\n%s' "$rows"
} >>"$page"
