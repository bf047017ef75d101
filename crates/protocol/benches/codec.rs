//! Measures the cost of encoding a command and of decoding the answers to commands and queries.

#![allow(clippy::unwrap_used)]

use bytes::{Bytes, BytesMut};
use divan::{AllocProfiler, Bencher, black_box};
use zraft_protocol::{CorrelationId, Payload, RequestId, ServerMessage, Timestamp, encode};

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

const PAYLOADS: &[usize] = &[16, 64, 1024, 65_536];

fn main() {
    divan::main();
}

#[divan::bench(args = PAYLOADS)]
fn encode_client_request(bencher: Bencher<'_, '_>, payload: usize) {
    let payload = vec![7; payload];
    let mut out = BytesMut::with_capacity(1 << 17);
    bencher.bench_local(|| {
        out.clear();
        let id = RequestId::FIRST;
        encode::client_request_head(&mut out, black_box(id), id, payload.len());
        out.extend_from_slice(black_box(&payload));
        encode::created_at(&mut out, Timestamp::from_millis(1));
        black_box(out.len())
    });
}

#[divan::bench(args = PAYLOADS)]
fn decode_client_response(bencher: Bencher<'_, '_>, payload: usize) {
    let result = Payload::new(vec![7; payload]).unwrap();
    let frame = frame(&ServerMessage::ClientResponse { request_id: RequestId::FIRST, result });
    bencher.bench_local(|| ServerMessage::decode(black_box(&frame)));
}

#[divan::bench(args = PAYLOADS)]
fn decode_query_response(bencher: Bencher<'_, '_>, payload: usize) {
    let result = Payload::new(vec![7; payload]).unwrap();
    let correlation_id = CorrelationId::new("5fd8a8d2-0961-864e-ad52-f29f94b83a20").unwrap();
    let frame = frame(&ServerMessage::QueryResponse { correlation_id, result });
    bencher.bench_local(|| ServerMessage::decode(black_box(&frame)));
}

fn frame(message: &ServerMessage) -> Bytes {
    let mut out = BytesMut::new();
    message.encode(&mut out);
    out.freeze()
}
