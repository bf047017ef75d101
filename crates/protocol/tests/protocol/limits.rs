//! What the wire cannot carry cannot be built: each limit, at it and one beyond.

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
fn a_request_id_has_63_bits() {
    let max = i64::MAX as u64;
    assert_eq!(RequestId::new(max).unwrap().get(), max);
    let out_of_range = ValueError::OutOfRange { value: "request id" };
    assert_eq!(RequestId::new(max + 1), Err(out_of_range));
    assert_eq!(RequestId::new(u64::MAX), Err(out_of_range));
    assert_eq!(RequestId::try_from(0_i64), Ok(RequestId::ZERO));
    assert_eq!(RequestId::try_from(-1_i64), Err(out_of_range));
}

#[test]
fn request_ids_count_up_and_stop_at_the_last() {
    assert_eq!(RequestId::ZERO.next(), RequestId::FIRST);
    assert_eq!(RequestId::FIRST.get(), 1);
    let last = RequestId::new(i64::MAX as u64).unwrap();
    assert_eq!(last.next(), last);
    assert!(RequestId::FIRST < last);
}

#[test]
fn a_nonce_is_anything_but_zero() {
    for nonce in [i64::MIN, -1, 1, i64::MAX] {
        assert_eq!(Nonce::new(nonce).unwrap().get(), nonce);
    }
    assert_eq!(Nonce::new(0), Err(ValueError::OutOfRange { value: "nonce" }));
}

#[test]
fn a_session_id_has_1_to_255_bytes() {
    assert_eq!(SessionId::new(""), Err(ValueError::Empty { value: "session id" }));
    assert_eq!(SessionId::new("x").unwrap().as_str(), "x");
    assert_eq!(SessionId::new(text(255)).unwrap().as_bytes().len(), 255);
    assert_eq!(SessionId::new(text(256)), Err(too_long("session id", 256, 255)));
    // Bytes count, not characters.
    assert_eq!(SessionId::new("é".repeat(128)), Err(too_long("session id", 256, 255)));
}

#[test]
fn a_correlation_id_has_1_to_65535_bytes() {
    assert_eq!(CorrelationId::new(""), Err(ValueError::Empty { value: "correlation id" }));
    assert_eq!(CorrelationId::new(text(65_535)).unwrap().as_bytes().len(), 65_535);
    let error = too_long("correlation id", 65_536, 65_535);
    assert_eq!(CorrelationId::new(text(65_536)), Err(error));
}

#[test]
fn a_member_id_has_0_to_65535_bytes() {
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
fn a_capability_has_names_and_values_of_0_to_65535_bytes() {
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

/// The memory is asked for zeroed and never touched, so that none is used.
#[cfg(target_pointer_width = "64")]
#[test]
fn a_payload_has_at_most_2147483647_bytes() {
    let zeros = Bytes::from(vec![0; 1 << 31]);
    let limit = (1 << 31) - 1;
    assert_eq!(Payload::new(zeros.clone()), Err(too_long("payload", 1 << 31, limit)));
    let longest = Payload::new(zeros.slice(1..)).unwrap();
    assert_eq!(longest.len(), limit);
    assert!(Payload::new(Bytes::new()).unwrap().is_empty());
}

/// Callers of the piecewise functions answer for the lengths. A frame with a length that is none would cost a live server
/// its life; it is not written.
mod piecewise {
    use super::*;

    #[test]
    fn the_longest_payload_has_a_positive_length() {
        let mut out = Vec::new();
        encode::client_request_head(&mut out, RequestId::FIRST, RequestId::FIRST, Payload::MAX_LEN);
        assert!(out.ends_with(&[0x7f, 0xff, 0xff, 0xff]));
        encode::query_head(&mut out, &[b'c'; 65_535], Payload::MAX_LEN);
        assert!(out.ends_with(&[b'c', 0x7f, 0xff, 0xff, 0xff]));
        encode::created_at(&mut out, Timestamp::from_millis(-1));
        assert!(out.ends_with(&[0xff; 8]));
    }

    #[test]
    #[should_panic = "a payload has at most 2^31 - 1 bytes"]
    fn a_longer_command_is_not_written() {
        let one = RequestId::FIRST;
        encode::client_request_head(&mut Vec::new(), one, one, Payload::MAX_LEN + 1);
    }

    #[test]
    #[should_panic = "a payload has at most 2^31 - 1 bytes"]
    fn a_longer_query_is_not_written() {
        encode::query_head(&mut Vec::new(), b"c", Payload::MAX_LEN + 1);
    }

    #[test]
    #[should_panic = "a correlation id has 1 to 65,535 bytes"]
    fn an_empty_correlation_id_is_not_written() {
        encode::query_head(&mut Vec::new(), b"", 1);
    }

    #[test]
    #[should_panic = "a correlation id has 1 to 65,535 bytes"]
    fn a_longer_correlation_id_is_not_written() {
        encode::query_head(&mut Vec::new(), &[b'c'; 65_536], 1);
    }
}
