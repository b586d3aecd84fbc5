#!/usr/bin/env bash
# Makes the release build. The same sources, Cargo.lock, Rust toolchain and C compiler give the same bytes on
# every machine: the program contains no path of the machine and no build time. Prints the SHA-256 of the
# program.
#   deploy/release.sh
set -euo pipefail
cd "$(dirname "$0")/.."
cargo_home=${CARGO_HOME:-$HOME/.cargo}
target=${CARGO_TARGET_DIR:-$PWD/target}
: "${SOURCE_DATE_EPOCH:=$(git log -1 --format=%ct 2>/dev/null || echo 0)}"
export SOURCE_DATE_EPOCH
# If several prefixes match a path, the last one applies. Cargo does not hash these flags into symbol names.
# Each path is listed as given and with its links resolved, because the compiler may see either.
remap="" map=""
leave_out() {
    local path
    for path in "$1" "$(realpath -m "$1")"; do
        remap+="--remap-path-prefix=$path=$2 "
        # For the C code of aws-lc and zstd.
        map+="-ffile-prefix-map=$path=$2 "
    done
}
leave_out "$PWD" /sayso
leave_out "$cargo_home" /cargo
leave_out "$cargo_home/registry" /cargo/registry
leave_out "$target" /target
# No debug information for C: that of assembly files names their folder despite the prefix maps.
export RUSTFLAGS=$remap CFLAGS="$map -g0" CXXFLAGS="$map -g0"
export CARGO_INCREMENTAL=0 LC_ALL=C.UTF-8 TZ=UTC
cargo build --quiet --release --locked --bin sayso
sha256sum "$target/release/sayso" | sed "s| .*| sayso|"
