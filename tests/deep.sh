#!/usr/bin/env bash
# Compares decisions with the plain models and with the verifier on many random histories: CASES for each
# property test (default: 100,000; `make test` runs a sample). It works in rounds of ROUND cases. Each round
# has its own seed, so a failure can be repeated. Completed rounds are listed in target/deep, for this build
# of the tests. So a run that was stopped continues where it was. The property tests are built with the
# release profile: in debug, a round takes minutes. Before the first round, it mutates each
# region of a bundle MUTATIONS times, forges FORGERIES logs and documents, and compares two verifiers on
# MUTATED_LOGS random logs.
set -euo pipefail
cd "$(dirname "$0")/.."
CASES="${CASES:-100000}" ROUND="${ROUND:-1000}"
export CARGO_TERM_COLOR=never RUST_BACKTRACE=0

# The property tests whose number of cases is PROPTEST_CASES. The others have fixed numbers of cases.
TESTS=(
	bounds::tests::against_models
	bounds::tests::legal_bases
	bounds::tests::outdated_notices
	bounds::tests::personal
	bounds::tests::random_policies
	bounds::tests::redefined_words
	bounds::tests::reproducible
	bounds::tests::valid_until
	domain::consent::tests
)

# A file with such tests must not be left out of the list.
files=$(grep -rlE 'proptest_config\((crate::domain::histories::)?cases\(' src | wc -l)
[ "$files" -eq "${#TESTS[@]}" ] || { echo "$files files of src use PROPTEST_CASES, not ${#TESTS[@]}" >&2; exit 1; }

binary=$(cargo test --release --locked --lib --no-run --message-format=json 2>/dev/null |
	sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -1) || true
[ -x "$binary" ] || { echo "the tests do not build; see: cargo test --release --lib --no-run" >&2; exit 1; }
progress=target/deep/$(sha256sum "$binary" | cut -c1-16)
mkdir -p target/deep
touch "$progress"

# Mutations of every region of a bundle, and of the body of every kind of event.
SAYSO_MUTATIONS="${MUTATIONS:-2000}" cargo test --locked -p sayso-proof --test mutated_bytes

# Logs that an operator forges with the log's key. Each must have a finding.
SAYSO_FORGERIES="${FORGERIES:-500}" cargo test --locked -p sayso-proof --test forgeries

# Consent receipts, packages and certificates that an operator changes and signs again.
SAYSO_FORGERIES="${FORGERIES:-500}" cargo test --locked --test it forged_documents::

# Forged and mutated logs, compared with a second verifier.
PROPTEST_CASES="${MUTATED_LOGS:-5000}" cargo test --locked -p sayso-proof --test mutations

rounds=$(((CASES + ROUND - 1) / ROUND))
for round in $(seq 1 "$rounds"); do
	for test in "${TESTS[@]}"; do
		grep -qx "$test $round" "$progress" && continue
		if ! said=$(PROPTEST_CASES=$ROUND PROPTEST_RNG_SEED=$round "$binary" "$test" 2>&1); then
			tail -60 <<<"$said" >&2
			echo "failed; to repeat: PROPTEST_CASES=$ROUND PROPTEST_RNG_SEED=$round cargo test --release --lib $test" >&2
			exit 1
		fi
		grep -q "test result: ok. 0 passed" <<<"$said" && { echo "no test matches $test" >&2; exit 1; }
		echo "$test $round" >>"$progress"
	done
	echo "round $round of $rounds: $ROUND cases of each property, no failure"
done
