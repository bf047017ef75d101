//! Values that the wire cannot carry are rejected. Each limit is tested at the limit and one beyond it.

use bytes::Bytes;
use zraft_protocol::{
    Capabilities, CorrelationId, MemberId, Nonce, Payload, RequestId, SessionId, Timestamp,
    ValueError, encode,
};

fn text(length: usize) -> String {
    "x".repeat(length)
}

fn too_long(value: &'static str, length: usize, limit: usize) -> ValueError {
    ValueError::TooLong { value, length, limit }
}

#[test]
fn request_id_has_at_most_63_bits() {
    let max = i64::MAX as u64;
    assert_eq!(RequestId::new(max).unwrap().get(), max);
    let out_of_range = ValueError::OutOfRange { value: "request id" };
    assert_eq!(RequestId::new(max + 1), Err(out_of_range));
    assert_eq!(RequestId::new(u64::MAX), Err(out_of_range));
    assert_eq!(RequestId::try_from(0_i64), Ok(RequestId::ZERO));
    assert_eq!(RequestId::try_from(-1_i64), Err(out_of_range));
}

#[test]
fn next_request_id_counts_up_and_saturates() {
    assert_eq!(RequestId::ZERO.next(), RequestId::FIRST);
    assert_eq!(RequestId::FIRST.get(), 1);
    let last = RequestId::new(i64::MAX as u64).unwrap();
    assert_eq!(last.next(), last);
    assert!(RequestId::FIRST < last);
}

#[test]
fn nonce_must_not_be_zero() {
    for nonce in [i64::MIN, -1, 1, i64::MAX] {
        assert_eq!(Nonce::new(nonce).unwrap().get(), nonce);
    }
    assert_eq!(Nonce::new(0), Err(ValueError::OutOfRange { value: "nonce" }));
}

#[test]
fn session_id_has_1_to_255_bytes() {
    assert_eq!(SessionId::new(""), Err(ValueError::Empty { value: "session id" }));
    assert_eq!(SessionId::new("x").unwrap().as_str(), "x");
    assert_eq!(SessionId::new(text(255)).unwrap().as_bytes().len(), 255);
    assert_eq!(SessionId::new(text(256)), Err(too_long("session id", 256, 255)));
    // The limit counts bytes, not characters.
    assert_eq!(SessionId::new("é".repeat(128)), Err(too_long("session id", 256, 255)));
}

#[test]
fn correlation_id_has_1_to_65535_bytes() {
    assert_eq!(CorrelationId::new(""), Err(ValueError::Empty { value: "correlation id" }));
    assert_eq!(CorrelationId::new(text(65_535)).unwrap().as_bytes().len(), 65_535);
    let error = too_long("correlation id", 65_536, 65_535);
    assert_eq!(CorrelationId::new(text(65_536)), Err(error));
}

#[test]
fn member_id_has_0_to_65535_bytes() {
    assert_eq!(MemberId::new("").unwrap().as_str(), "");
    assert_eq!(MemberId::new(text(65_535)).unwrap().as_bytes().len(), 65_535);
    assert_eq!(MemberId::new(text(65_536)), Err(too_long("member id", 65_536, 65_535)));
}

#[test]
fn ids_that_are_no_secret_become_strings() {
    let member = MemberId::new("node-1").unwrap();
    assert_eq!((String::from(&member), member.as_ref()), ("node-1".to_owned(), "node-1"));
    assert_eq!(String::from(member), "node-1");
    let correlation = CorrelationId::new("c-1").unwrap();
    assert_eq!((String::from(&correlation), correlation.as_ref()), ("c-1".to_owned(), "c-1"));
    assert_eq!(String::from(correlation), "c-1");
}

#[test]
fn there_are_1_to_65535_capabilities() {
    let entries = |count: u32| (0..count).map(|n| (n.to_string(), String::new()));
    let none = Capabilities::new(entries(0));
    assert_eq!(none, Err(ValueError::Empty { value: "capabilities" }));
    assert_eq!(Capabilities::new(entries(65_535)).unwrap().iter().len(), 65_535);
    let error = ValueError::TooMany { value: "capabilities", count: 65_536, limit: 65_535 };
    assert_eq!(Capabilities::new(entries(65_536)), Err(error));
    // A repeated name is one entry.
    let twice = entries(65_535).chain(entries(1));
    assert_eq!(Capabilities::new(twice).unwrap().iter().len(), 65_535);
}

#[test]
fn capability_names_and_values_have_0_to_65535_bytes() {
    assert!(Capabilities::new([("", "")]).is_ok());
    let longest = Capabilities::new([(text(65_535), text(65_535))]).unwrap();
    assert_eq!(
        longest.iter().map(|(k, v)| (k.len(), v.len())).collect::<Vec<_>>(),
        [(65_535, 65_535)]
    );
    let error = too_long("capability name", 65_536, 65_535);
    assert_eq!(Capabilities::new([(text(65_536), text(1))]), Err(error));
    let error = too_long("capability value", 65_536, 65_535);
    assert_eq!(Capabilities::new([(text(1), text(65_536))]), Err(error));
}

/// The operating system gives zeroed memory lazily; the test never touches it, so the 2 GiB are not really used.
#[cfg(target_pointer_width = "64")]
#[test]
fn payload_has_at_most_2147483647_bytes() {
    let zeros = Bytes::from(vec![0; 1 << 31]);
    let limit = (1 << 31) - 1;
    assert_eq!(Payload::new(zeros.clone()), Err(too_long("payload", 1 << 31, limit)));
    let longest = Payload::new(zeros.slice(1..)).unwrap();
    assert_eq!(longest.len(), limit);
    assert!(Payload::new(Bytes::new()).unwrap().is_empty());
}

/// Callers of the piecewise functions are responsible for the lengths. The functions panic on an invalid length,
/// because a live server that reads a frame with one stops answering permanently.
mod piecewise {
    use super::*;

    #[test]
    fn longest_payload_has_a_positive_length() {
        let mut out = Vec::new();
        encode::client_request_head(&mut out, RequestId::FIRST, RequestId::FIRST, Payload::MAX_LEN);
        assert!(out.ends_with(&[0x7f, 0xff, 0xff, 0xff]));
        encode::query_head(&mut out, &[b'c'; 65_535], Payload::MAX_LEN);
        assert!(out.ends_with(&[b'c', 0x7f, 0xff, 0xff, 0xff]));
        encode::created_at(&mut out, Timestamp::from_millis(-1));
        assert!(out.ends_with(&[0xff; 8]));
    }

    #[test]
    #[should_panic = "a payload must have at most 2^31 - 1 bytes"]
    fn command_with_a_longer_payload_panics() {
        let one = RequestId::FIRST;
        encode::client_request_head(&mut Vec::new(), one, one, Payload::MAX_LEN + 1);
    }

    #[test]
    #[should_panic = "a payload must have at most 2^31 - 1 bytes"]
    fn query_with_a_longer_payload_panics() {
        encode::query_head(&mut Vec::new(), b"c", Payload::MAX_LEN + 1);
    }

    #[test]
    #[should_panic = "a correlation id must have 1 to 65,535 bytes"]
    fn empty_correlation_id_panics() {
        encode::query_head(&mut Vec::new(), b"", 1);
    }

    #[test]
    #[should_panic = "a correlation id must have 1 to 65,535 bytes"]
    fn longer_correlation_id_panics() {
        encode::query_head(&mut Vec::new(), &[b'c'; 65_536], 1);
    }
}
