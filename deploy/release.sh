#!/usr/bin/env bash
# The release build: the same bytes wherever it is built from the same sources, Cargo.lock, Rust toolchain and C compiler. No path
# of the machine and no time gets in. Prints the SHA-256 of the program.
#   deploy/release.sh
set -euo pipefail
cd "$(dirname "$0")/.."
sources=$PWD
cargo_home=${CARGO_HOME:-$HOME/.cargo}
target=${CARGO_TARGET_DIR:-$sources/target}
: "${SOURCE_DATE_EPOCH:=$(git log -1 --format=%ct 2>/dev/null || echo 0)}"
export SOURCE_DATE_EPOCH
# Of several prefixes that fit, the last one counts. Cargo leaves them out of what it hashes into symbols.
export RUSTFLAGS="--remap-path-prefix=$sources=/sayso --remap-path-prefix=$cargo_home=/cargo --remap-path-prefix=$target=/target"
# For what is compiled from C: aws-lc, zstd.
map="-ffile-prefix-map=$sources=/sayso -ffile-prefix-map=$cargo_home=/cargo -ffile-prefix-map=$target=/target"
export CFLAGS=$map CXXFLAGS=$map
export CARGO_INCREMENTAL=0 LC_ALL=C.UTF-8 TZ=UTC
cargo build --quiet --release --locked --bin sayso
sha256sum "$target/release/sayso" | sed "s| .*| sayso|"
