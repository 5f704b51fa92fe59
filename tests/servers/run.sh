#!/usr/bin/env bash
# Marketgate against authorization servers that nobody here wrote: tests/servers/run.sh BINARY [SERVER…], where SERVER is one
# of oidc-provider, keycloak, spring, django; all of them unless said. `logins` stands for oidc-provider's logins alone. What a server needs is downloaded and built once, below
# `target/servers`. A server whose tools are missing is skipped, and so are the logins by browser without Debian's chromium;
# with CI set everything is required. `--prepare` in place of BINARY does all that and runs nothing.
set -euo pipefail
usage='usage: tests/servers/run.sh BINARY|--prepare [oidc-provider|keycloak|spring|django|logins]…'
case ${1:?$usage} in
    --prepare) MARKETGATE= ;;
    *) MARKETGATE=$(realpath "$1") ;;
esac
shift
servers=("$@")
[ ${#servers[@]} -gt 0 ] || servers=(keycloak spring django oidc-provider)
cd "$(dirname "$0")"
made=${CARGO_TARGET_DIR:-$PWD/../../target}/servers
mkdir -p "$made"
made=$(realpath "$made")
CHROMIUM=${CHROMIUM:-$(command -v chromium || true)}
KEYCLOAK_VERSION=26.5.6
KEYCLOAK_HOME=$made/keycloak-$KEYCLOAK_VERSION
KEYCLOAK_DATABASE=$made/keycloak-$KEYCLOAK_VERSION.database
SPRING_JAR=$made/spring/authorization-server.jar
DJANGO_PYTHON=$made/django/bin/python
export MARKETGATE CHROMIUM KEYCLOAK_HOME KEYCLOAK_DATABASE SPRING_JAR DJANGO_PYTHON

# lacks WHAT CONSEQUENCE: says so, and ends the run where everything is required.
lacks() {
    echo "servers: there is no $1: $2" >&2
    if [ -n "${CI:-}" ]; then exit 1; fi
}

# Whether all these commands are there.
has() {
    local name
    for name; do command -v "$name" >/dev/null || { missing=$name; return 1; }; done
}

maven() {
    mvn --quiet --batch-mode --no-transfer-progress "$@"
}

# Keycloak, its settings compiled in, and an empty database that each run copies: to make one takes longer than to start.
prepare_keycloak() {
    if [ ! -e "$KEYCLOAK_HOME/ready" ]; then
        rm -rf "$KEYCLOAK_HOME"
        # Outside a project it leaves its marks where it is started.
        (cd "$made" && maven org.apache.maven.plugins:maven-dependency-plugin:3.8.1:unpack \
            "-Dartifact=org.keycloak:keycloak-quarkus-dist:$KEYCLOAK_VERSION:zip" "-DoutputDirectory=$made")
        chmod +x "$KEYCLOAK_HOME"/bin/*.sh
        "$KEYCLOAK_HOME/bin/kc.sh" build --db=dev-file --http-relative-path=/wallapop --health-enabled=false
        touch "$KEYCLOAK_HOME/ready"
    fi
    [ -e "$KEYCLOAK_DATABASE" ] || node keycloak/database.mjs
}

prepare_spring() {
    maven package --file spring/pom.xml "-Doutput=$made/spring"
}

prepare_django() {
    [ -e "$made/django/bin/pip" ] || python3 -m venv "$made/django"
    "$made/django/bin/pip" install --quiet --disable-pip-version-check -r django/requirements.txt
}

prepare_oidc-provider() {
    :
}

prepare_logins() {
    :
}

declare -A needs=([keycloak]='mvn java' [spring]='mvn java' [django]='python3' [oidc-provider]='node' [logins]='node')
[ -n "$CHROMIUM" ] || lacks chromium 'logins by browser are skipped'
npm install --omit=dev --no-audit --no-fund --loglevel=error
# The lock says which versions, not where this machine got them.
if grep -q '"resolved"' package-lock.json; then
    echo 'package-lock.json names addresses: remove its "resolved" members' >&2
    exit 1
fi
tests=(driver/*.test.mjs)
for server in "${servers[@]}"; do
    read -ra commands <<<"${needs[$server]:?$usage}"
    if has "${commands[@]}"; then
        "prepare_$server"
        case $server in
            logins) tests+=(oidc-provider/{credentials,login}.test.mjs) ;;
            *) tests+=("$server"/*.test.mjs) ;;
        esac
    else
        lacks "$missing" "$server is skipped"
    fi
done
[ -n "$MARKETGATE" ] || exit 0
exec node --test --test-concurrency=3 --test-reporter=spec "${tests[@]}"
