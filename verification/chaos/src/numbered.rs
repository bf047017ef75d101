//! Commands that carry their number: 0, 1, 2 and so on. The log answers each with its position.

use bytes::{Bytes, BytesMut};
use serde_json::{Value, json};
use zraft_test_server::Findings;

/// Returns the payload of a command: its number and `padding` further bytes.
pub fn payload(number: u64, padding: usize) -> Bytes {
    let mut payload = BytesMut::zeroed(size_of::<u64>() + padding);
    payload[..size_of::<u64>()].copy_from_slice(&number.to_be_bytes());
    payload.freeze()
}

/// Returns the number in a payload, or the position in an answer.
pub fn number(bytes: &[u8]) -> Option<u64> {
    bytes.first_chunk().copied().map(u64::from_be_bytes)
}

/// Returns the findings of an audit as a JSON object.
pub fn findings_to_json(findings: Findings) -> Value {
    let Findings { applied_once, lost, doubled, denied, unknown, foreign, forgotten } = findings;
    json!({
        "appliedOnce": applied_once,
        "lost": lost,
        "doubled": doubled,
        "ranThoughDenied": denied,
        "ranOfUnknownOutcome": unknown,
        "ranThoughNeverSubmitted": foreign,
        "forgotten": forgotten,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payload_of_any_length_carries_its_number() {
        for padding in [0, 1, 5000] {
            let payload = payload(77, padding);
            assert_eq!((payload.len(), number(&payload)), (8 + padding, Some(77)));
        }
        assert_eq!(number(b"short"), None);
    }
}
