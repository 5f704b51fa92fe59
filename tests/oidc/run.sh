#!/usr/bin/env bash
# Marketgate against an authorization server that nobody here wrote: tests/oidc/run.sh BINARY
set -euo pipefail
MARKETGATE=$(realpath "${1:?usage: tests/oidc/run.sh BINARY}")
export MARKETGATE
cd "$(dirname "$0")"
npm install --omit=dev --no-audit --no-fund --loglevel=error
# The lock says which versions, not where this machine got them.
if grep -q '"resolved"' package-lock.json; then
    echo 'package-lock.json names addresses: remove its "resolved" members' >&2
    exit 1
fi
exec node --test --test-reporter=spec oidc.test.mjs
