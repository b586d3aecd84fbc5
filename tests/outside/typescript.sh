#!/usr/bin/env bash
# Checks the TypeScript package in sdk/typescript: its tests with the real daemon, in Node and in Chromium;
# tsc, eslint and prettier; and the package that it builds.
#     typescript.sh PATH/TO/sayso
set -euo pipefail
cd "$(dirname "$0")/../.."
SAYSO_BIN=$(realpath "$1")
export SAYSO_BIN
# The tools and libraries are those of tests/setup.sh. A Node that it installed, because that of the system is
# too old, comes first.
tools=$PWD/target/typescript-sdk
export PATH=$tools/node/node_modules/.bin:$tools/node_modules/.bin:$PATH
cd sdk/typescript
[ -d node_modules ] || ln -sfn "$tools/node_modules" node_modules
buf generate
rm -rf dist build
tsc -p tsconfig.build.json
tsc -p tsconfig.tests.json
eslint .
prettier --log-level warn --check .
timeout 300 node --test --test-reporter=spec build/tests/*.test.js
