//! The limits of keys and values. Each is tested at the limit and one beyond it.

use zraft_kv::{Command, Key, Value, ValueError};

#[test]
fn key_has_1_to_256_bytes() {
    assert_eq!(Key::new(""), Err(ValueError::Empty { what: "key" }));
    assert_eq!(Key::new("k").unwrap().len(), 1);
    assert_eq!(Key::new("k".repeat(256)).unwrap().len(), 256);
    let error = ValueError::TooLong { what: "key", length: 257, limit: 256 };
    assert_eq!(Key::new("k".repeat(257)), Err(error));
    assert_eq!(error.to_string(), "the key has 257 bytes, the limit is 256");
    // The limit counts bytes, not characters.
    assert!(Key::new("é".repeat(128)).is_ok());
    assert!(Key::new("é".repeat(129)).is_err());
}

#[test]
fn value_has_1_byte_to_1_mebibyte() {
    let limit = 1024 * 1024;
    assert_eq!(Value::new(""), Err(ValueError::Empty { what: "value" }));
    assert_eq!(Value::new("v".repeat(limit)).unwrap().len(), limit);
    let error = ValueError::TooLong { what: "value", length: limit + 1, limit };
    assert_eq!(Value::new("v".repeat(limit + 1)), Err(error));
}

#[test]
fn decoding_accepts_texts_outside_the_limits() {
    let key = "k".repeat(257);
    let mut payload = b"S\0\0\x01\x01".to_vec();
    payload.extend_from_slice(key.as_bytes());
    payload.extend_from_slice(&[0; 4]);
    let Command::Set { key: read, value } = Command::decode(&payload.into()).unwrap() else {
        panic!("expected a Set");
    };
    assert_eq!(read.as_str(), key);
    assert!(value.is_empty());
}

#[test]
fn debug_shows_keys_but_only_the_length_of_values() {
    let key = Key::new("k").unwrap();
    let value = Value::new("sesame").unwrap();
    assert_eq!(value.to_string(), "sesame");
    let shown = format!("{:?}", Command::Set { key, value });
    assert_eq!(shown, r#"Set { key: Key("k"), value: Value(6 bytes) }"#);
}
