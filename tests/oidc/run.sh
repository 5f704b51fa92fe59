#!/usr/bin/env bash
# Marketgate against an authorization server that nobody here wrote: tests/oidc/run.sh BINARY. The logins by browser need
# Debian's chromium; without it they are skipped, unless CI is set: then they are required.
set -euo pipefail
MARKETGATE=$(realpath "${1:?usage: tests/oidc/run.sh BINARY}")
CHROMIUM=${CHROMIUM:-$(command -v chromium || true)}
export MARKETGATE CHROMIUM
if [ -z "$CHROMIUM" ]; then
    echo 'oidc: there is no chromium (apt-get install chromium)' >&2
    if [ -n "${CI:-}" ]; then exit 1; fi
    echo 'oidc: logins by browser are skipped' >&2
fi
cd "$(dirname "$0")"
npm install --omit=dev --no-audit --no-fund --loglevel=error
# The lock says which versions, not where this machine got them.
if grep -q '"resolved"' package-lock.json; then
    echo 'package-lock.json names addresses: remove its "resolved" members' >&2
    exit 1
fi
exec node --test --test-reporter=spec oidc.test.mjs login.test.mjs
