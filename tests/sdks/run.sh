#!/usr/bin/env bash
# SDKs with a fixed host, and the HTTP libraries below them, through Marketgate by the code of docs/sdks.md.
# tests/sdks/run.sh BINARY [NAME…], or --prepare to install the SDKs alone
set -euo pipefail
binary=${1:?usage: tests/sdks/run.sh BINARY [NAME…]}
[ "$binary" = --prepare ] || binary=$(realpath "$binary")
shift
cd "$(dirname "$0")"
work="${CARGO_TARGET_DIR:-$PWD/../../target}/sdks"
mkdir -p "$work"
venv=$work/venv
# A stamp beside what it stamps: an interrupted installation is repeated, a finished one is not.
if ! cmp -s requirements.txt "$venv/installed.txt"; then
    python3 -m venv --clear "$venv"
    # mcp-walmart-ads asks for Python 3.13. Nothing that is used here needs it, and Debian 12 has 3.11.
    "$venv/bin/pip" install --quiet --disable-pip-version-check --ignore-requires-python --requirement requirements.txt
    cp requirements.txt "$venv/installed.txt"
fi
if command -v npm >/dev/null && ! cmp -s package.json "$work/node_modules/installed.json"; then
    rm -rf "$work/node_modules"
    cp package.json "$work/"
    (cd "$work" && npm install --omit=dev --no-audit --no-fund --no-package-lock --ignore-scripts --loglevel=error)
    cp package.json "$work/node_modules/installed.json"
fi
if [ "$binary" = --prepare ]; then exit; fi
exec "$venv/bin/python" -B matrix.py "$binary" "$work" "$@"
