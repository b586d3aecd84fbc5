#!/usr/bin/env bash
# Installs what the tests need besides a Rust toolchain:
# - a C compiler, and cargo-deny
# - ext4 tools to simulate a power cut
# - SoftHSM for root keys in a token
# - libfiu to make flushes fail
# - libfaketime to make the clock jump
# - OpenSSL to make certificates
# - Python for the checks in tests/outside and in sdk/python
# - Prometheus
# - Node.js for buf, an OpenID provider and sdk/typescript
# - Chromium for sdk/typescript
# It skips what is already installed.
set -euo pipefail

packages=()
command -v cc >/dev/null || packages+=(gcc libc6-dev)
command -v mkfs.ext4 >/dev/null || packages+=(e2fsprogs)
command -v mount >/dev/null || packages+=(mount)
command -v python3 >/dev/null || packages+=(python3)
python3 -c 'import venv, ensurepip' 2>/dev/null || packages+=(python3-venv)
command -v softhsm2-util >/dev/null || packages+=(softhsm2)
command -v fiu-ctrl >/dev/null || packages+=(fiu-utils)
command -v openssl >/dev/null || packages+=(openssl)
command -v faketime >/dev/null || packages+=(faketime)
command -v zstd >/dev/null || packages+=(zstd)
command -v node >/dev/null || packages+=(nodejs)
command -v npm >/dev/null || packages+=(npm)
command -v chromium >/dev/null || packages+=(chromium)
if [ "${#packages[@]}" -gt 0 ]; then
    if [ "$(id -u)" -ne 0 ]; then
        echo "these packages are missing; install them as root: ${packages[*]}" >&2
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
# Python libraries to check access packages and consent receipts.
if ! "$venv/bin/python" -c 'import pyld, jsonschema, rfc3339_validator' 2>/dev/null; then
    "$venv/bin/pip" install --quiet --disable-pip-version-check "PyLD==2.0.4" "jsonschema==4.25.1" "rfc3339-validator==0.1.4"
fi
# An independent witness. It declares a newer Python than it really needs.
if ! "$venv/bin/python" -c 'import aics_witness' 2>/dev/null; then
    "$venv/bin/pip" install --quiet --disable-pip-version-check --ignore-requires-python "aics-witness==0.1.0" "aics-tlog==0.2.1"
fi

# The tools and libraries of the Python package. They are installed again when their versions change.
sdk=target/python-sdk-venv
if ! cmp -s sdk/python/requirements-dev.txt "$sdk/requirements-dev.txt"; then
    rm -rf "$sdk"
    python3 -m venv "$sdk"
    "$sdk/bin/pip" install --quiet --disable-pip-version-check -r sdk/python/requirements-dev.txt
    cp sdk/python/requirements-dev.txt "$sdk"
fi

# Prometheus and promtool, unpacked into target/. Installing the package would start a server.
tools=target/tools
if ! command -v prometheus >/dev/null && [ ! -x "$tools/usr/bin/prometheus" ]; then
    mkdir -p "$tools"
    [ "$(id -u)" -ne 0 ] || apt-get update -qq
    (cd "$tools" && apt-get download -qq prometheus && dpkg-deb -x prometheus_*.deb . && rm prometheus_*.deb)
fi
# buf lints the API and finds changes that break callers. Without it, tests/outside/proto.sh checks nothing
# and says so.
if command -v npm >/dev/null && [ ! -x "$tools/node_modules/.bin/buf" ]; then
    npm install --silent --no-fund --no-audit --no-save --prefix "$tools" @bufbuild/buf@1.75.0
fi
# An independent OpenID provider, whose tokens the daemon has to accept.
node=target/outside-node
if [ ! -d "$node/node_modules/oidc-provider" ]; then
    mkdir -p "$node"
    npm install --prefix "$node" --silent --no-audit --no-fund --no-save "oidc-provider@8.8.1"
fi
# The tools and libraries of the TypeScript package. They are installed again when their versions change.
sdk=target/typescript-sdk
if ! cmp -s sdk/typescript/package-lock.json "$sdk/installed-lock.json"; then
    rm -rf "$sdk"
    mkdir -p "$sdk"
    cp sdk/typescript/{package.json,package-lock.json,.npmrc} "$sdk"
    npm ci --prefix "$sdk" --silent --ignore-scripts
    cp sdk/typescript/package-lock.json "$sdk/installed-lock.json"
fi
# The package needs Node 20. Debian 12 has Node 18.
if [ "$(node -p 'parseInt(process.versions.node)')" -lt 20 ] && [ ! -x "$sdk/node/node_modules/.bin/node" ]; then
    npm install --prefix "$sdk/node" --silent --no-audit --no-fund --no-save "node-linux-$(node -p process.arch)@20.20.2"
fi
