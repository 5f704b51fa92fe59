#!/usr/bin/env bash
# Marketgate against Ory Hydra, by hand: tests/servers/hydra/run.sh BINARY. CI does not run it, since Hydra takes minutes and
# gigabytes of Go's caches to build; it is built once, below `target/servers`.
set -euo pipefail
MARKETGATE=$(realpath "${1:?usage: tests/servers/hydra/run.sh BINARY}")
CHROMIUM=${CHROMIUM:-$(command -v chromium || true)}
cd "$(dirname "$0")"
made=${CARGO_TARGET_DIR:-$PWD/../../../target}/servers/hydra
mkdir -p "$made"
HYDRA=$(realpath "$made")/hydra
export MARKETGATE CHROMIUM HYDRA
if [ ! -x "$HYDRA" ]; then
    pushd "$made" >/dev/null
    [ -e go.mod ] || printf 'module by.hand/hydra\n\ngo 1.24\n' >go.mod
    # As Hydra's own go.mod has it; a replacement counts only in the main module.
    go mod edit -replace github.com/gobuffalo/pop/v6=github.com/ory/pop/v6@v6.2.1-0.20241121111754-e5dfc0f3344b
    go get -tool github.com/ory/hydra/v2@v2.3.0
    go build -tags sqlite,sqlite_omit_load_extension,json1 -o hydra github.com/ory/hydra/v2
    popd >/dev/null
fi
npm install --prefix .. --omit=dev --no-audit --no-fund --loglevel=error
exec node --test --test-reporter=spec hydra.test.mjs
