#!/usr/bin/env bash
# A browser that nobody here wrote: a seller's consent in it, and pages that try to get in. tests/browser/run.sh BINARY.
# Needs Debian's chromium; without it the tests are skipped, unless CI is set: then they are required.
set -euo pipefail
MARKETGATE=$(realpath "${1:?usage: tests/browser/run.sh BINARY}")
CHROMIUM=${CHROMIUM:-$(command -v chromium || true)}
export MARKETGATE CHROMIUM
if [ -z "$CHROMIUM" ]; then
    echo 'browser: there is no chromium (apt-get install chromium)' >&2
    if [ -n "${CI:-}" ]; then exit 1; fi
    echo 'browser: skipped' >&2
    exit 0
fi
cd "$(dirname "$0")"
npm install --omit=dev --no-audit --no-fund --loglevel=error
# The lock says which versions, not where this machine got them.
if grep -q '"resolved"' package-lock.json; then
    echo 'package-lock.json names addresses: remove its "resolved" members' >&2
    exit 1
fi
exec node --test --test-reporter=spec login.test.mjs pages.test.mjs
