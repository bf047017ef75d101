//! Compares this codec with the vectors that the live store wrote and read.

use std::{collections::BTreeSet, fs, path::Path};

use zraft_kv::{Command, GetResult, Key, Notification, Query, Value};

use crate::support::{Payload, Vector, hex, unhex, vectors};

#[test]
fn vectors_survive_decoding_and_encoding() {
    let vectors = vectors();
    assert_eq!(vectors.len(), 26);
    for Vector { kind, key, value, payload } in vectors {
        let decoded = Payload::decode(&kind, &payload).unwrap();
        assert_eq!(decoded.kind(), kind);
        assert_eq!(decoded.key().map(Key::as_str), key.as_deref());
        assert_eq!(decoded.value().map(Value::as_str), value.as_deref());
        assert_eq!(hex(&decoded.encode()), hex(&payload));
    }
}

#[test]
fn vectors_encode_to_their_bytes() {
    let mut built = BTreeSet::new();
    for Vector { kind, key, value, payload } in vectors() {
        let key = key.map(|key| Key::new(key).unwrap());
        // The vectors contain an empty value, which `Value::new` rejects.
        let Ok(value) = value.map(Value::new).transpose() else { continue };
        let encoded = match (kind.as_str(), key, value) {
            ("Set", Some(key), Some(value)) => Command::Set { key, value }.encode(),
            ("Watch", Some(key), None) => Command::Watch { key }.encode(),
            ("Get", Some(key), None) => Query::Get { key }.encode(),
            ("Notification", Some(key), Some(value)) => Notification { key, value }.encode(),
            ("GetResult", None, value) => GetResult { value }.encode(),
            other => panic!("{other:?}"),
        };
        assert_eq!(hex(&encoded), hex(&payload));
        built.insert(kind);
    }
    assert_eq!(built.len(), 5);
}

/// ZIO Raft's own fixtures are not part of this repository. The test runs only if they lie beside the checkout.
#[test]
fn fixtures_beside_the_checkout_survive_decoding_and_encoding() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/fixtures/kv");
    let Ok(entries) = fs::read_dir(folder) else {
        eprintln!("skipped: there are no ZIO Raft fixtures beside the checkout");
        return;
    };
    let mut seen = 0;
    for path in entries.map(|entry| entry.unwrap().path()) {
        let payload = unhex(&fs::read_to_string(&path).unwrap());
        let kind = path.file_stem().unwrap().to_str().unwrap();
        let decoded = Payload::decode(kind, &payload).unwrap();
        assert_eq!(decoded.kind(), kind);
        assert_eq!(hex(&decoded.encode()), hex(&payload));
        assert!(vectors().iter().any(|vector| vector.payload == payload), "{kind}");
        seen += 1;
    }
    assert_eq!(seen, 4);
}
