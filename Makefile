# The same targets that CI calls.
.PHONY: run test check bench demo reliability

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

# Runs the tests behind the matrix, the simulation for ROUNDS seeds, and writes down what came of it.
reliability:
	tests/reliability.sh
