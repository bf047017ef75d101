//! Invalid input. The decoder must not panic, and must not allocate because of an announced length.

use bytes::{Bytes, BytesMut};
use zraft_kv::{Command, DecodeError, GetResult, Notification, Query};

use crate::support::{KINDS, Payload, hex, unhex, vectors};

/// Runs the decoder of every kind: bytes that are garbage for one kind may be a payload of another.
fn read_all(payload: &Bytes) {
    for kind in KINDS {
        if let Ok(decoded) = Payload::decode(kind, payload) {
            let again = decoded.encode();
            assert!(again.len() <= payload.len(), "{}", hex(payload));
            assert_eq!(Payload::decode(kind, &again).unwrap(), decoded, "{}", hex(payload));
        }
    }
}

#[test]
fn truncated_vectors_are_errors() {
    for vector in vectors() {
        for length in 0..vector.payload.len() {
            let payload = vector.payload.slice(..length);
            read_all(&payload);
            let result = Payload::decode(&vector.kind, &payload);
            assert!(matches!(result, Err(DecodeError::Truncated { .. })), "{result:?}");
        }
    }
}

#[test]
fn vectors_with_one_flipped_bit_give_a_payload_or_an_error() {
    for vector in vectors() {
        let mut payload = BytesMut::from(&vector.payload[..]);
        for bit in 0..payload.len() * 8 {
            payload[bit / 8] ^= 0x80 >> (bit % 8);
            read_all(&payload.clone().freeze());
            payload[bit / 8] ^= 0x80 >> (bit % 8);
        }
    }
}

#[test]
fn announced_two_gigabyte_text_without_bytes_is_truncated() {
    let key = DecodeError::Truncated { field: "the key" };
    let value = DecodeError::Truncated { field: "the value" };
    assert_eq!(Command::decode(&unhex("53 7fffffff 6b")), Err(key));
    assert_eq!(Command::decode(&unhex("57 7fffffff 6b")), Err(key));
    assert_eq!(Query::decode(&unhex("47 7fffffff 6b")), Err(key));
    assert_eq!(Command::decode(&unhex("53 00000001 6b 7fffffff 76")), Err(value));
    assert_eq!(Notification::decode(&unhex("4e 00000001 6b 7fffffff 76")), Err(value));
    assert_eq!(GetResult::decode(&unhex("ff 7fffffff 76")), Err(value));
}

#[test]
fn negative_length_is_an_error() {
    for length in ["ffffffff", "80000000"] {
        let key = DecodeError::NegativeLength { field: "the key" };
        assert_eq!(Command::decode(&unhex(&format!("53 {length}"))), Err(key));
        assert_eq!(Command::decode(&unhex(&format!("57 {length}"))), Err(key));
        assert_eq!(Query::decode(&unhex(&format!("47 {length}"))), Err(key));
        assert_eq!(Notification::decode(&unhex(&format!("4e {length}"))), Err(key));
        let value = DecodeError::NegativeLength { field: "the value" };
        assert_eq!(Command::decode(&unhex(&format!("53 00000000 {length}"))), Err(value));
        assert_eq!(Notification::decode(&unhex(&format!("4e 00000000 {length}"))), Err(value));
        assert_eq!(GetResult::decode(&unhex(&format!("ff {length}"))), Err(value));
    }
}

#[test]
fn text_that_is_not_utf8_is_an_error() {
    let error = DecodeError::InvalidUtf8 { field: "the key" };
    assert_eq!(Query::decode(&unhex("47 00000002 c328")), Err(error));
    let error = DecodeError::InvalidUtf8 { field: "the value" };
    assert_eq!(Command::decode(&unhex("53 00000001 6b 00000001 ff")), Err(error));
    assert_eq!(error.to_string(), "the value is not valid UTF-8");
}

#[test]
fn unknown_tags_are_errors() {
    let text = "00000001 6b 00000001 76";
    for tag in 0..=255_u8 {
        let payload = unhex(&format!("{tag:02x} {text}"));
        let unknown = DecodeError::UnknownTag(tag);
        assert_eq!(Command::decode(&payload).err() == Some(unknown), tag != b'S' && tag != b'W');
        assert_eq!(Query::decode(&payload).err() == Some(unknown), tag != b'G');
        assert_eq!(Notification::decode(&payload).err() == Some(unknown), tag != b'N');
    }
}

#[test]
fn every_tag_except_zero_means_a_value_is_present() {
    assert_eq!(GetResult::decode(&unhex("00")).unwrap().value, None);
    for flag in 1..=255_u8 {
        let result = GetResult::decode(&unhex(&format!("{flag:02x} 00000001 76"))).unwrap();
        assert_eq!(result.value.unwrap().as_str(), "v");
    }
}

#[test]
fn decoded_keys_and_values_share_the_payload() {
    let payload = unhex("53 00000003 6b6579 00000005 76616c7565");
    let Command::Set { key, value } = Command::decode(&payload).unwrap() else {
        panic!("expected a Set");
    };
    assert_eq!(key.as_bytes().as_ptr(), payload[5..].as_ptr());
    assert_eq!(value.as_bytes().as_ptr(), payload[12..].as_ptr());
    assert_eq!((key.as_str(), value.as_str()), ("key", "value"));
    let detached = value.to_detached();
    assert_eq!(detached, value);
    assert!(!payload.as_ptr_range().contains(&detached.as_bytes().as_ptr()));
}
