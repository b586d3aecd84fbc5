# The same targets that CI calls.
.PHONY: run test check bench demo fuzz reliability

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

# The last two against a daemon that runs: `make run` in another shell.
bench:
	cargo bench --bench decide
	cargo run --release -- bench append
	cargo run --release -- bench check

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
