//! What the gate costs a request: judging a typical head of 400 bytes, whole and in pieces, and a body.
#![allow(clippy::unwrap_used, missing_docs)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use marketgate::http::gate::{Framing, Limits};

const LIMITS: Limits = Limits { head: 64 * 1024, target: 8 * 1024, fields: 100 };

/// A head as an HTTP library sends it.
const HEAD: &[u8] =
    b"GET /depop@shop-42/api/v1/products/?limit=100&cursor=MjAyNC0wMS0wMVQwMDowMDowMFo HTTP/1.1\r\n\
    Host: localhost:8080\r\n\
    User-Agent: python-requests/2.32.3\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Accept: application/json\r\n\
    Connection: keep-alive\r\n\
    Content-Type: application/json\r\n\
    X-Request-Id: 6f1c2a9e-7f0b-4d0c-9f54-0b6f6f8b2f11\r\n\
    traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\
    \r\n";

fn heads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("gate");
    group.throughput(Throughput::Bytes(HEAD.len() as u64));
    let mut framing = Framing::new(LIMITS);
    group.bench_function("head", |bencher| {
        bencher.iter(|| framing.judge(black_box(HEAD)).unwrap());
    });
    group.bench_function("head in pieces of 50 bytes", |bencher| {
        bencher.iter(|| {
            for piece in HEAD.chunks(50) {
                framing.judge(black_box(piece)).unwrap();
            }
        });
    });
    group.finish();
}

fn bodies(criterion: &mut Criterion) {
    let chunks = [&b"10000\r\n"[..], &[b'x'; 0x10000], b"\r\n0\r\n\r\n"].concat();
    let request =
        [&b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"[..], &chunks].concat();
    let mut group = criterion.benchmark_group("gate");
    group.throughput(Throughput::Bytes(request.len() as u64));
    let mut framing = Framing::new(LIMITS);
    group.bench_function("chunked upload of 64 KiB", |bencher| {
        bencher.iter(|| framing.judge(black_box(&request)).unwrap());
    });
    group.finish();
}

criterion_group!(benches, heads, bodies);
criterion_main!(benches);
