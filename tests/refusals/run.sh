#!/usr/bin/env bash
# HTTP clients that nobody here wrote, against every refusal: each must see our status and code, however much it sends.
# tests/refusals/run.sh BINARY [CLIENT…], or --prepare to fetch and build the clients alone
set -euo pipefail
binary=${1:?usage: tests/refusals/run.sh BINARY [CLIENT…]}
[ "$binary" = --prepare ] || binary=$(realpath "$binary")
shift
cd "$(dirname "$0")"
work="${CARGO_TARGET_DIR:-$PWD/../../target}/refusals"
mkdir -p "$work"
# A stamp beside what it stamps: an interrupted installation is repeated, a finished one is not.
venv=$work/venv
if ! cmp -s requirements.txt "$venv/installed.txt"; then
    python3 -m venv --clear "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement requirements.txt
    cp requirements.txt "$venv/installed.txt"
fi
cp drivers/node.mjs package.json "$work/"
if ! cmp -s package.json "$work/node_modules/installed.json"; then
    (cd "$work" && npm install --omit=dev --no-audit --no-fund --no-package-lock --loglevel=error)
    cp package.json "$work/node_modules/installed.json"
fi
java=$work/java
if command -v mvn >/dev/null && ! cat drivers/java/pom.xml drivers/java/src/* | cmp -s - "$java/made"; then
    rm -rf "$java"
    mvn --quiet --batch-mode --no-transfer-progress compile --file drivers/java/pom.xml "-Doutput=$java"
    cat drivers/java/pom.xml drivers/java/src/* >"$java/made"
fi
if command -v go >/dev/null; then go build -C drivers/go -o "$work/go-client" .; fi
if [ "$binary" = --prepare ]; then exit; fi
exec "$venv/bin/python" -B matrix.py "$binary" "$work" "$@"
