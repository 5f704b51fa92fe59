# syntax=docker/dockerfile:1
# Builds the program and puts it, alone, on an image without a shell.
#
#   docker build -t marketgate .
#   docker run --rm marketgate --help

FROM rust:1.95-slim-bookworm AS build
# aws-lc-sys, the cryptography under rustls, is C: it needs a C compiler, and CMake on some platforms.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends cmake gcc libc6-dev make \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
COPY benches benches
COPY src src
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --release --locked --bin marketgate \
 && cp target/release/marketgate /marketgate
# An empty directory that the final image gives to its user.
RUN mkdir -p /var/lib/marketgate

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /marketgate /marketgate
COPY --from=build --chown=65532:65532 /var/lib/marketgate /var/lib/marketgate
COPY LICENSE-MIT LICENSE-APACHE /usr/share/doc/marketgate/
USER 65532:65532
WORKDIR /var/lib/marketgate
# Grants that rotate are kept here.
VOLUME /var/lib/marketgate
# 8080 is the proxy door. 8081, the admin door, answers within the container's own network namespace only.
EXPOSE 8080 8081
# Mount the configuration there. See docs/operations.md for what to write into it.
ENV MARKETGATE_CONFIG=/etc/marketgate/proxy.toml
HEALTHCHECK --interval=10s --timeout=6s --start-period=5s --retries=3 CMD ["/marketgate", "health"]
ENTRYPOINT ["/marketgate"]
CMD ["run"]
