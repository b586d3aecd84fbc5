#!/usr/bin/env bash
# Writes the software bills of materials of a release, CycloneDX 1.5 in JSON: target/sbom/sayso.cdx.json, and
# one for the verifier's crate. Needs cargo-cyclonedx (cargo install --locked cargo-cyclonedx). The same
# sources give the same files.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v cargo-cyclonedx >/dev/null || { echo "cargo-cyclonedx is missing; run: cargo install --locked cargo-cyclonedx" >&2; exit 1; }
: "${SOURCE_DATE_EPOCH:=$(git log -1 --format=%ct 2>/dev/null || echo 0)}"
export SOURCE_DATE_EPOCH
cargo cyclonedx --quiet --format json --spec-version 1.5 --target x86_64-unknown-linux-gnu
mkdir -p target/sbom
for file in sayso.cdx.json crates/proof/sayso-proof.cdx.json; do
    # The ids of Sayso's own crates contain the path of this folder.
    sed "s|path+file://$PWD|path+file:///sayso|g" "$file" > "target/sbom/$(basename "$file")"
    rm "$file"
done
echo "target/sbom: $(grep -c '"purl"' target/sbom/sayso.cdx.json) packages with licenses and hashes"
