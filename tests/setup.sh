#!/usr/bin/env bash
# What the tests need besides a Rust toolchain: a C compiler, ext4 tools for the power cut, SoftHSM for root keys in a token, Python for the outside
# check, Node.js for an OpenID provider, cargo-deny. Does nothing that is done already.
set -euo pipefail

packages=()
command -v cc >/dev/null || packages+=(gcc libc6-dev)
command -v mkfs.ext4 >/dev/null || packages+=(e2fsprogs)
command -v mount >/dev/null || packages+=(mount)
command -v python3 >/dev/null || packages+=(python3)
python3 -c 'import venv, ensurepip' 2>/dev/null || packages+=(python3-venv)
command -v softhsm2-util >/dev/null || packages+=(softhsm2)
command -v zstd >/dev/null || packages+=(zstd)
command -v node >/dev/null || packages+=(nodejs)
command -v npm >/dev/null || packages+=(npm)
if [ "${#packages[@]}" -gt 0 ]; then
    if [ "$(id -u)" -ne 0 ]; then
        echo "please install: ${packages[*]}" >&2
        exit 1
    fi
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${packages[@]}"
fi

command -v cargo-deny >/dev/null || cargo install --locked --quiet cargo-deny

venv=target/outside-venv
if [ ! -x "$venv/bin/python" ]; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check "cwt==3.3.0"
fi
# Packages and consent receipts.
if ! "$venv/bin/python" -c 'import pyld, jsonschema, rfc3339_validator' 2>/dev/null; then
    "$venv/bin/pip" install --quiet --disable-pip-version-check "PyLD==2.0.4" "jsonschema==4.25.1" "rfc3339-validator==0.1.4"
fi
# An OpenID provider that is not ours, whose tokens the daemon has to take.
node=target/outside-node
if [ ! -d "$node/node_modules/oidc-provider" ]; then
    mkdir -p "$node"
    npm install --prefix "$node" --silent --no-audit --no-fund --no-save "oidc-provider@8.8.1"
fi
