# What is done often. `just` lists it.

_list:
    @just --list --unsorted

# A simulated marketplace, Marketgate before it, and requests through both
demo:
    cargo run --release -- demo

# The tests
test:
    cargo test

# Format, lints, documentation: what CI asks before it tests
lint:
    cargo fmt --check
    cargo clippy --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps

# Everything that CI does, as root on Debian
ci:
    .ci/run

# Clients in several languages against the built program
clients: _release
    tests/clients/run.sh target/release/marketgate
    tests/sdks/run.sh target/release/marketgate

# Real authorization servers
servers *names: _release
    tests/servers/run.sh target/release/marketgate {{names}}

# Pages and logins in Chromium
browser: _release
    tests/browser/run.sh target/release/marketgate

# CPU and memory beside nginx, HAProxy and Envoy
peers *arguments: _release
    cargo bench --bench peers -- {{arguments}}

_release:
    cargo build --release
