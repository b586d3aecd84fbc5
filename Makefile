# CI calls these targets.
.PHONY: run test deep check bench bench-pieces bench-peers bench-scale demo fuzz reliability sbom outside

run:
	cargo run --release -- serve --dev

demo:
	cargo run --release -- demo

# Installs what the tests need, and runs all checks and tests.
test:
	tests/setup.sh
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo deny --locked check bans licenses sources
	tests/advisories.sh
	tests/rust.sh
	tests/outside/run.sh

# Runs the checks of `make test` that run no tests.
check:
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo deny --locked check bans licenses sources
	tests/advisories.sh

# Measures a running daemon. Start one with `make run` in another shell.
bench:
	cargo run --release -- bench append
	cargo run --release -- bench check

# Measures separately how long a decision takes, and each step that an event takes into the log and back.
bench-pieces:
	cargo bench --locked --bench event --bench decide

# Measures the same work on Sayso, PostgreSQL and UmaDB in turn, and writes the table in docs/performance.md.
# PEER_ROUNDS and PEER_SECONDS set the number of rounds and the seconds for each measurement.
PEER_ROUNDS ?= 3
PEER_SECONDS ?= 5
bench-peers:
	bench/peers/setup.sh
	bench/peers/run.py --rounds $(PEER_ROUNDS) --seconds $(PEER_SECONDS)

# Grows one ledger to EVENTS events, and writes tables and charts of its cost to docs/. One million events
# need about 1.5 GB of disk.
EVENTS ?= 1000000
bench-scale:
	cargo build --release --locked --bin sayso
	bench/scale/run.py --events $(EVENTS)

# Runs the tests of the matrix in docs/reliability.md, and the simulation for ROUNDS seeds, and writes the
# results there.
reliability:
	tests/reliability.sh

# Compares decisions with the models on 100,000 random histories for each property. This takes hours; a run
# that was stopped continues where it was. CASES sets another number.
deep:
	tests/deep.sh

# Writes CycloneDX bills of materials to target/sbom.
sbom:
	deploy/sbom.sh

# Runs slower third-party tools against the release build. Each script says what it needs.
outside:
	cargo build --locked --release --bin sayso
	tests/outside/load.sh target/release/sayso
	tests/outside/tls.sh target/release/sayso
	tests/outside/image.sh target/release/sayso
	tests/outside/systemd.sh target/release/sayso

# Fuzzes every decoder for FUZZ_SECONDS, and with cargo-fuzz at most FUZZ_EXECUTIONS times. With cargo-fuzz
# and a nightly toolchain the fuzzing is guided by coverage; otherwise it only mutates the corpus. No
# sanitizer is used, because Sayso's crates have no unsafe code. New inputs go to target/fuzz-corpus, so the
# corpus in the repository stays small. All targets are built before the first one runs, because sources may
# change during the run.
FUZZ_SECONDS ?= 60
FUZZ_EXECUTIONS ?= 1000000
FUZZ_TARGETS = request event entry checkpoint proof bundle policy token import configuration tile keys \
	certificate receipt package
FUZZ_BUILT = fuzz/target/x86_64-unknown-linux-gnu/release
fuzz:
	@if cargo fuzz --version >/dev/null 2>&1 && cargo +nightly --version >/dev/null 2>&1; then \
		cargo +nightly fuzz build --sanitizer none && \
		for target in $(FUZZ_TARGETS); do \
			mkdir -p target/fuzz-corpus/$$target; \
			$(FUZZ_BUILT)/$$target target/fuzz-corpus/$$target fuzz/corpus/$$target \
				-artifact_prefix=target/fuzz-corpus/$$target- -max_total_time=$(FUZZ_SECONDS) \
				-runs=$(FUZZ_EXECUTIONS) -max_len=65536 -timeout=10 -rss_limit_mb=2048 \
				-print_final_stats=1 || exit 1; \
		done; \
	else \
		SAYSO_FUZZ_SECONDS=$(FUZZ_SECONDS) cargo test --locked --test it fuzzing:: -- --nocapture; \
	fi
