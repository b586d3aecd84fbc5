#!/usr/bin/env bash
# Runs every test that the matrix of docs/reliability.md names, and writes the results below the matrix.
# ROUNDS sets how many rounds each test runs. Some tests have their own number, because their rounds take more
# or less time: SEEDS (of the simulation), CUTS (power cuts, disk faults and lost indexes under a daemon),
# KILLS (of a process) and BYTES (flipped in each file). The default of these numbers is ROUNDS.
set -euo pipefail
cd "$(dirname "$0")/.."
ROUNDS="${ROUNDS:-40}"
SEEDS="${SEEDS:-$ROUNDS}" CUTS="${CUTS:-$ROUNDS}" KILLS="${KILLS:-$ROUNDS}" BYTES="${BYTES:-$ROUNDS}"
export CARGO_TERM_COLOR=never
out=$(mktemp)
trap 'rm -f "$out"' EXIT

# row TITLE ROUNDS FILTER...: runs the tests that FILTER (arguments of `cargo test`) selects, and adds a row
# to the table. Tests print their rounds in lines that begin with a number. If a test fails, the script ends
# and does not change the page.
row() {
	local title=$1 rounds=$2
	shift 2
	local began=$SECONDS
	SAYSO_ROUNDS=$rounds cargo test --locked --workspace "$@" -- --nocapture >"$out" 2>&1 || { tail -40 "$out" >&2; exit 1; }
	local passed tried
	passed=$(sed -n 's/^test result: ok\. \([0-9]*\) passed.*/\1/p' "$out" | awk '{sum += $1} END {print sum + 0}')
	[ "$passed" -gt 0 ] || { echo "no test matches: $*" >&2; exit 1; }
	# The test harness may have printed the name of the test at the start of the line.
	tried=$(sed 's/^test [^ ]* \.\.\. //' "$out" | grep -E '^[0-9]+ [a-z].*,' | tr -d '|' | paste -sd ';' | sed 's/;/; /g' || true)
	echo "$title: $passed passed in $((SECONDS - began)) s; ${tried:-no rounds}"
	rows+="| $title | $passed | ${tried:-every case once} |"$'\n'
}

rows=""
row "Simulation: a fault at every durable step" "$SEEDS" --test it sim::
row "Contract of the store, on a store that fails on purpose" "$ROUNDS" --lib store::faulty
row "Power cuts: any sectors that were not synced are lost" "$ROUNDS" --lib store::embedded::tests::sectors
row "Torn writes and recovery" "$ROUNDS" --lib store::embedded::tests::recovery
row "Damage in segments" "$ROUNDS" --lib store::embedded::tests::damage
row "Key pages: bit rot, torn writes, a lost copy, compaction" "$ROUNDS" --lib store::embedded::tests::keys
row "The root key's file" "$ROUNDS" --lib vault::custody
row "Key tree: a power cut at every step" "$ROUNDS" --lib vault::tests::crashes
row "Store engine killed" "$ROUNDS" --lib store::embedded::tests::kill
row "Sequencer: failed commits, kept checkpoint, forks" "$ROUNDS" --lib ledger::tests
row "Daemon killed under load" "$KILLS" --test it crash::a_kill
row "Daemon killed during erasures" "$KILLS" --test it erasure_crash::
row "Power cuts on ext4 under load" "$CUTS" --test it crash::a_power_cut
row "Lost indexes" "$CUTS" --test it crash::an_interrupted_import
row "Full disk" "$CUTS" --test it disk::a_full
row "Failed flushes" "$CUTS" --test it disk::after
row "Refusals by people with the maximum number of open grants and artifacts" 1 --test it revocations::
row "Clock jumps: back, ten years ahead, stopped, at every durable step" "$SEEDS" --test it sim::no_clock_jump
row "Clock jumps, through the API and with the real binary" 1 --test it clock::
row "The ledger's time: any jumps, restarts, a damaged file" 1 --lib clock::
row "Restore: use is denied until it is confirmed" 1 --test it backup::
row "Witnesses: a fork is detected" 1 --test it witness::
row "Daemon killed during a rotation of the log key" "$KILLS" --test it rotation::
row "Bit rot, byte by byte" "$BYTES" --test it disk_corruption::

page=docs/reliability.md
sed -i '/^<!-- rounds -->$/,$d' "$page"
{
	printf '<!-- rounds -->\nThis table was written by `make reliability` with ROUNDS=%s SEEDS=%s CUTS=%s KILLS=%s BYTES=%s, in a debug build. No test failed: a run with a failure does not change this page.\n\n' \
		"$ROUNDS" "$SEEDS" "$CUTS" "$KILLS" "$BYTES"
	printf '| Tested | Tests passed | Rounds and results |\n|---|---|---|\n%s' "$rows"
} >>"$page"
