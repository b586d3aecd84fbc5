#!/usr/bin/env bash
# The release build: the same bytes wherever it is built from the same sources, Cargo.lock, Rust toolchain and C compiler. No path
# of the machine and no time gets in. Prints the SHA-256 of the program.
#   deploy/release.sh
set -euo pipefail
cd "$(dirname "$0")/.."
cargo_home=${CARGO_HOME:-$HOME/.cargo}
target=${CARGO_TARGET_DIR:-$PWD/target}
: "${SOURCE_DATE_EPOCH:=$(git log -1 --format=%ct 2>/dev/null || echo 0)}"
export SOURCE_DATE_EPOCH
# Of several prefixes that fit, the last one counts. Cargo leaves them out of what it hashes into symbols. Each path goes as it was
# given and as it is without links: the compiler sees either.
remap="" map=""
leave_out() {
    local path
    for path in "$1" "$(realpath -m "$1")"; do
        remap+="--remap-path-prefix=$path=$2 "
        # For what is compiled from C: aws-lc, zstd.
        map+="-ffile-prefix-map=$path=$2 "
    done
}
leave_out "$PWD" /sayso
leave_out "$cargo_home" /cargo
leave_out "$cargo_home/registry" /cargo/registry
leave_out "$target" /target
# No debug information of what is C: its assembly files name their folder in there whatever is left out.
export RUSTFLAGS=$remap CFLAGS="$map -g0" CXXFLAGS="$map -g0"
export CARGO_INCREMENTAL=0 LC_ALL=C.UTF-8 TZ=UTC
cargo build --quiet --release --locked --bin sayso
sha256sum "$target/release/sayso" | sed "s| .*| sayso|"
