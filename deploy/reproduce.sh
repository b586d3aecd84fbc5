#!/usr/bin/env bash
# Builds the committed sources twice, in two folders and with two cargo homes, and compares the programs byte
# by byte. Takes the time of two release builds, and 6 GB in TMPDIR.
#   deploy/reproduce.sh
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
unset CARGO_TARGET_DIR
home=${CARGO_HOME:-$HOME/.cargo}
build() {
    mkdir -p "$1"
    git archive HEAD | tar -x -C "$1"
    CARGO_HOME=$2 "$1/deploy/release.sh"
    mv "$1/target/release/sayso" "$3"
    rm -rf "$1"
}
build "$work/one" "$home" "$work/first"
# The same registry under another path: a link, which the compiler follows.
mkdir "$work/elsewhere"
ln -s "$home/registry" "$work/elsewhere/registry"
if [ -e "$home/config.toml" ]; then ln -s "$home/config.toml" "$work/elsewhere/"; fi
build "$work/quite/another/folder" "$work/elsewhere" "$work/second"
if ! cmp "$work/first" "$work/second"; then
    trap - EXIT
    echo "the builds differ; see first and second in $work. They contain these paths:" >&2
    grep -aoE "$work[A-Za-z0-9/._-]{0,60}" "$work/first" "$work/second" | sort | uniq -c | sort -rn | head >&2
    exit 1
fi
for path in "$work" "$home" "$(realpath "$home/registry")"; do
    if grep -aqF "$path" "$work/first"; then echo "the program contains the path $path" >&2; exit 1; fi
done
echo "both builds are equal: $(sha256sum < "$work/first" | cut -d' ' -f1), $(stat -c %s "$work/first") bytes, $(rustc --version)"
