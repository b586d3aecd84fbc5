#!/usr/bin/env bash
# Checks the Python package in sdk/python: its tests with the real daemon, mypy, ruff, and the packages that
# it builds.
#     python_sdk.sh PATH/TO/sayso
set -euo pipefail
cd "$(dirname "$0")/../.."
SAYSO_BIN=$(realpath "$1")
export SAYSO_BIN
# The virtual environment is that of tests/setup.sh. The package is not installed in it, but found in its
# folder.
python=$PWD/target/python-sdk-venv/bin/python
export PYTHONPATH=$PWD/sdk/python/src PYTHONDONTWRITEBYTECODE=1
cd sdk/python
"$python" generate.py
timeout 300 "$python" -m pytest
