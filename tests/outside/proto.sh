#!/usr/bin/env bash
# The API's files by `buf`: linted by the standard rules, and compared with what was released first.
# Without buf (npm: @bufbuild/buf) nothing is checked, and that is said.
set -euo pipefail
cd "$(dirname "$0")/../.."
buf=$(PATH=$PWD/target/tools/node_modules/.bin:$PATH command -v buf) || {
    echo "proto: NOT checked, there is no buf (npm install @bufbuild/buf)"
    exit 0
}
"$buf" lint
"$buf" breaking --against proto/released/v0.1.0.binpb.gz
# A rule that finds nothing, ever, would be silent too.
changed=$(mktemp -d)
trap 'rm -rf "$changed"' EXIT
cp -r buf.yaml proto "$changed"
sed -i 's/^  string grant_id = 1;/  uint64 grant_id = 1;/' "$changed/proto/sayso/v1/grant.proto"
if (cd "$changed" && "$buf" breaking --against proto/released/v0.1.0.binpb.gz) >/dev/null; then
    echo "proto: buf let a changed type through" >&2
    exit 1
fi
echo "proto: lint clean, nothing broken since v0.1.0"
