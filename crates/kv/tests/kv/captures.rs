//! Decodes and re-encodes the payloads that live clients and the live store exchanged.

use std::fs;

use bytes::Bytes;
use zraft_kv::{Command, GetResult, Notification, Query};

use crate::support::{hex, testdata, unhex};

/// Returns the payload in a line that shows a message: `payload[3]=010203(…)`.
fn payload(line: &str) -> Option<Bytes> {
    let (_, rest) = line.split_once(" payload[")?;
    let (_, rest) = rest.split_once("]=")?;
    let (payload, _) = rest.split_once('(')?;
    Some(unhex(payload))
}

#[test]
fn captured_payloads_survive_decoding_and_encoding() {
    let mut seen = [0; 5];
    for entry in fs::read_dir(testdata().join("captures")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|end| end != "txt") {
            continue;
        }
        for line in fs::read_to_string(&path).unwrap().lines() {
            let Some(payload) = payload(line) else { continue };
            let (place, again) = if line.contains(" ClientRequest(4) ") {
                (0, Command::decode(&payload).unwrap().encode())
            } else if line.contains(" Query(8) ") {
                (1, Query::decode(&payload).unwrap().encode())
            } else if line.contains(" QueryResponse(9) ") {
                (2, GetResult::decode(&payload).unwrap().encode())
            } else if line.contains(" ServerRequest(7) ") {
                (3, Notification::decode(&payload).unwrap().encode())
            } else {
                assert!(line.contains(" ClientResponse(6) "), "{line}");
                // The answer to a command is empty.
                (4, Bytes::new())
            };
            assert_eq!(hex(&again), hex(&payload), "{line}");
            seen[place] += 1;
        }
    }
    assert!(seen.iter().all(|count| *count > 1), "{seen:?}");
}
