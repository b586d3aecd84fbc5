#!/usr/bin/env bash
# Lints the API's files with `buf` and its standard rules, and compares them with the first release. Without
# buf (npm: @bufbuild/buf) the script checks nothing and says so.
set -euo pipefail
cd "$(dirname "$0")/../.."
buf=$(PATH=$PWD/target/tools/node_modules/.bin:$PATH command -v buf) || {
    echo "proto: NOT checked, because buf is missing; run: npm install @bufbuild/buf"
    exit 0
}
"$buf" lint
"$buf" breaking --against proto/released/v0.1.0.binpb.gz
# A check that never finds anything would pass too. So change a field's type, and expect `buf breaking` to
# fail.
changed=$(mktemp -d)
trap 'rm -rf "$changed"' EXIT
cp -r buf.yaml proto "$changed"
sed -i 's/^  string grant_id = 1;/  uint64 grant_id = 1;/' "$changed/proto/sayso/v1/grant.proto"
if (cd "$changed" && "$buf" breaking --against proto/released/v0.1.0.binpb.gz) >/dev/null; then
    echo "proto: buf did not report a changed type" >&2
    exit 1
fi
echo "proto: no lint findings, no breaking change since v0.1.0"
