#!/usr/bin/env bash
# Marketgate against an authorization server that nobody here wrote: tests/oidc/run.sh BINARY
set -euo pipefail
MARKETGATE=$(realpath "${1:?usage: tests/oidc/run.sh BINARY}")
export MARKETGATE
cd "$(dirname "$0")"
npm install --omit=dev --no-audit --no-fund --loglevel=error
exec node --test --test-reporter=spec oidc.test.mjs
