//! Properties that hold for every payload and for every input.

use bytes::Bytes;
use proptest::test_runner::FileFailurePersistence;
use proptest::{collection::vec, option, prelude::*};
use zraft_kv::{Command, GetResult, Key, Notification, Query, Value};

use crate::support::{KINDS, Payload};

fn key() -> impl Strategy<Value = Key> {
    vec(any::<char>(), 1..=64).prop_map(|text| Key::new(String::from_iter(text)).unwrap())
}

fn value() -> impl Strategy<Value = Value> {
    vec(any::<char>(), 1..200).prop_map(|text| Value::new(String::from_iter(text)).unwrap())
}

fn payload() -> impl Strategy<Value = Payload> {
    prop_oneof![
        (key(), value()).prop_map(|(key, value)| Payload::Command(Command::Set { key, value })),
        key().prop_map(|key| Payload::Command(Command::Watch { key })),
        key().prop_map(|key| Payload::Query(Query::Get { key })),
        option::of(value()).prop_map(|value| Payload::GetResult(GetResult { value })),
        (key(), value())
            .prop_map(|(key, value)| Payload::Notification(Notification { key, value })),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("proptest-regressions"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn payloads_survive_encoding_and_decoding(payload in payload(), extra in vec(any::<u8>(), 0..9)) {
        let bytes = payload.encode();
        prop_assert_eq!(Payload::decode(payload.kind(), &bytes), Ok(payload.clone()));
        // Bytes after the last field are ignored.
        let longer = Bytes::from([&bytes[..], &extra].concat());
        prop_assert_eq!(Payload::decode(payload.kind(), &longer), Ok(payload));
    }

    #[test]
    fn arbitrary_input_gives_a_payload_or_an_error(
        tag in prop_oneof![any::<u8>(), prop::sample::select(&b"SWGN\x00\xff"[..])],
        rest in vec(any::<u8>(), 0..80),
    ) {
        let bytes = Bytes::from([&[tag][..], &rest].concat());
        for kind in KINDS {
            if let Ok(payload) = Payload::decode(kind, &bytes) {
                prop_assert_eq!(Payload::decode(kind, &payload.encode()), Ok(payload));
            }
        }
    }
}
