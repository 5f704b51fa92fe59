#!/usr/bin/env bash
# Clients that nobody here wrote, through Marketgate and directly, compared: tests/clients/run.sh BINARY
set -euo pipefail
binary=$(realpath "${1:?usage: tests/clients/run.sh BINARY}")
cd "$(dirname "$0")"
venv="${CARGO_TARGET_DIR:-$PWD/../../target}/clients/venv"
# A stamp beside what it stamps: an interrupted installation is repeated, a finished one is not.
if ! cmp -s requirements.txt "$venv/installed.txt"; then
    python3 -m venv --clear "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement requirements.txt
    cp requirements.txt "$venv/installed.txt"
fi
exec "$venv/bin/python" -B run.py "$binary"
