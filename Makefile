# The same targets that CI calls.
.PHONY: run test check bench bench-pieces bench-peers bench-scale demo fuzz reliability sbom outside

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

# CycloneDX, into target/sbom.
sbom:
	deploy/sbom.sh

# The slower tools of others, against the release build; each names what it needs.
outside:
	cargo build --locked --release --bin sayso
	tests/outside/load.sh target/release/sayso
	tests/outside/tls.sh target/release/sayso
	tests/outside/image.sh target/release/sayso
	tests/outside/systemd.sh target/release/sayso

# Every decoder for FUZZ_SECONDS, or FUZZ_EXECUTIONS if those come first. With cargo-fuzz and a nightly toolchain guided by
# coverage, else by mutation alone. Without a sanitizer: our crates have no unsafe code that one could find fault with.
# What is found goes to target/fuzz-corpus; the corpus that is checked in stays small. Built first, all of them: sources may
# change while they run.
FUZZ_SECONDS ?= 60
FUZZ_EXECUTIONS ?= 1000000
FUZZ_TARGETS = request event entry checkpoint proof bundle policy token import configuration tile
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
		SAYSO_FUZZ_SECONDS=$(FUZZ_SECONDS) cargo test --locked --test it hostile:: -- --nocapture; \
	fi
