# The same targets that CI calls.
.PHONY: run test check bench bench-pieces bench-peers bench-scale demo fuzz reliability

run:
	cargo run --release -- serve --dev

demo:
	cargo run --release -- demo

# Sets up whatever the tests need and runs all of them.
test:
	tests/setup.sh
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo deny --locked check bans licenses sources
	tests/advisories.sh
	cargo test --locked --workspace --no-fail-fast
	tests/outside/run.sh

# What can be checked without running anything.
check:
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo deny --locked check bans licenses sources
	tests/advisories.sh

# Against a daemon that runs: `make run` in another shell.
bench:
	cargo run --release -- bench append
	cargo run --release -- bench check

# The pieces that an event passes, and a decision, each by itself.
bench-pieces:
	cargo bench --locked --bench event --bench decide

# The same work on PostgreSQL and UmaDB, in turn; the table goes into docs/performance.md. PEER_ROUNDS and PEER_SECONDS say how long
PEER_ROUNDS ?= 3
PEER_SECONDS ?= 5
bench-peers:
	bench/peers/setup.sh
	bench/peers/run.py --rounds $(PEER_ROUNDS) --seconds $(PEER_SECONDS)

# One ledger grown to EVENTS events; figures and curves go into docs/. Needs about 1.5 GB of disk a million.
EVENTS ?= 1000000
bench-scale:
	cargo build --release --locked --bin sayso
	bench/scale/run.py --events $(EVENTS)

# Runs the tests behind the matrix, the simulation for ROUNDS seeds, and writes down what came of it.
reliability:
	tests/reliability.sh

# Every decoder for FUZZ_SECONDS each. With cargo-fuzz and a nightly toolchain guided by coverage, else by mutation alone.
FUZZ_SECONDS ?= 60
FUZZ_TARGETS = request event entry checkpoint proof bundle policy token import configuration tile
fuzz:
	@if cargo fuzz --version >/dev/null 2>&1; then \
		for target in $(FUZZ_TARGETS); do \
			cargo +nightly fuzz run $$target -- -max_total_time=$(FUZZ_SECONDS) || exit 1; \
		done; \
	else \
		SAYSO_FUZZ_SECONDS=$(FUZZ_SECONDS) cargo test --locked --test it hostile:: -- --nocapture; \
	fi
