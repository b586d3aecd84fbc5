#!/usr/bin/env bash
# Installs what the comparison needs: PostgreSQL 15 from Debian, UmaDB and its load generator from crates.io
# (pinned), and a release build of Sayso. It skips what is already installed.
set -euo pipefail
cd "$(dirname "$0")/../.."

packages=()
ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || packages+=(postgresql)
command -v pgbench >/dev/null || packages+=(postgresql-contrib)
command -v protoc >/dev/null || packages+=(protobuf-compiler)
command -v runuser >/dev/null || packages+=(util-linux)
if [ "${#packages[@]}" -gt 0 ]; then
    if [ "$(id -u)" -ne 0 ]; then
        echo "these packages are missing; install them as root: ${packages[*]}" >&2
        exit 1
    fi
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${packages[@]}"
fi

target=$PWD/target/peers
umadb=0.7.8
if [ "$("$target/bin/umadb" --version 2>/dev/null || true)" != "umadb $umadb" ]; then
    cargo install umadb --version "$umadb" --locked --root "$target" --target-dir "$target/build"
fi
(cd bench/peers/umadb && cargo build --release --locked --target-dir "$target/build")
cargo build --release --locked --bin sayso
