#!/usr/bin/env bash
# Lints the proto files with `buf`: they must follow the standard rules, and everything in them must have a
# comment. Also compares them with every released version in proto/released. Without buf (npm: @bufbuild/buf)
# the script checks nothing and says so.
set -euo pipefail
cd "$(dirname "$0")/../.."
buf=$(PATH=$PWD/target/tools/node_modules/.bin:$PATH command -v buf) || {
    echo "proto: NOT checked, because buf is missing; run: npm install @bufbuild/buf"
    exit 0
}
"$buf" lint
# There is no release yet. Each release must add its image:
# `buf build --exclude-source-info -o proto/released/VERSION.binpb.gz`.
shopt -s nullglob
for released in proto/released/*.binpb.gz; do
    "$buf" breaking --against "$released"
done
# Makes sure that both checks can fail: `buf breaking` must report a changed type, and `buf lint` a missing
# comment.
changed=$(mktemp -d)
trap 'rm -rf "$changed"' EXIT
"$buf" build --exclude-source-info -o "$changed/today.binpb.gz"
cp -r buf.yaml proto "$changed"
cd "$changed"
sed -i 's/^  string grant_id = 1;/  uint64 grant_id = 1;/' proto/sayso/v1/grant.proto
if "$buf" breaking --against today.binpb.gz >/dev/null; then
    echo "proto: buf did not report a changed type" >&2
    exit 1
fi
sed -i 's,^// A request for `CheckGrant`\.$,,' proto/sayso/v1/grant.proto
if "$buf" lint >/dev/null; then
    echo "proto: buf did not report a missing comment" >&2
    exit 1
fi
echo "proto: no lint findings, no breaking change since a release"
