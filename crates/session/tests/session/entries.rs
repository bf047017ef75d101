//! The format of entries.

use bytes::Bytes;
use proptest::{collection::vec, prelude::*};
use zraft_session::{
    Acknowledgement, Capabilities, EndReason, Entry, EntryBytes, EntryError, Genesis, Operation,
    Payload, Settings, Time,
};

use crate::support::{self, acknowledge, command, create, end, genesis, hex, session, time};

/// Each kind once, and its bytes in format version 1. These never change: logs of this version exist.
fn golden() -> Vec<(Entry, String)> {
    let at = |operation| Entry { time: time(0x0102_0304_0506), operation };
    let capabilities =
        zraft_protocol::Capabilities::new([("user", "ann"), ("role", "")]).unwrap().into();
    let head = |kind: &str| format!("01{kind}0000010203040506");
    vec![
        (at(genesis(7, 0xab)), head("01") + "0000000000000007" + &"ab".repeat(32)),
        (
            at(Operation::CreateSession { session: session("s-1"), capabilities }),
            head("02")
                + "03732d31"
                + "0002"
                + "000475736572"
                + "0003616e6e"
                + "0004726f6c65"
                + "0000",
        ),
        (
            at(command("s-1", 9, 5, [0xfe, 0xff])),
            head("03") + "03732d31" + "0000000000000009" + "0000000000000005" + "00000002feff",
        ),
        (
            at(Operation::Acknowledge(vec![
                Acknowledgement { session: session("a"), up_to: support::id(1) },
                Acknowledgement { session: session("b"), up_to: support::id(2) },
            ])),
            head("04") + "00000002" + "01610000000000000001" + "01620000000000000002",
        ),
        (at(end("a", EndReason::Closed)), head("05") + "0161" + "01"),
        (at(end("a", EndReason::Expired)), head("05") + "0161" + "02"),
        (at(end("a", EndReason::Abandoned)), head("05") + "0161" + "03"),
        (at(end("a", EndReason::CacheOverrun)), head("05") + "0161" + "04"),
        (at(end("a", EndReason::Removed)), head("05") + "0161" + "05"),
        (at(Operation::Tick), head("06")),
        (
            at(support::settings(Settings {
                sessions: 1,
                cached_answers: 2,
                cached_bytes: 3,
                total_cached_answers: 4,
                total_cached_bytes: 5,
                server_requests: 6,
                server_request_bytes: 7,
                total_server_requests: 8,
                total_server_request_bytes: 9,
                payload_bytes: 10,
                session_timeout_millis: 2000,
                application_level: 12,
            })),
            head("07")
                + "00000001"
                + "00000002"
                + "0000000000000003"
                + "0000000000000004"
                + "0000000000000005"
                + "00000006"
                + "0000000000000007"
                + "0000000000000008"
                + "0000000000000009"
                + "0000000a"
                + "00000000000007d0"
                + "0000000c",
        ),
    ]
}

fn bytes(hex: &str) -> Bytes {
    let nibble = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(nibble).collect()
}

#[test]
fn entries_of_version_1_keep_their_bytes() {
    for (entry, expected) in golden() {
        assert_eq!(hex(&entry.encode()), expected, "{entry:?}");
        assert_eq!(entry.encoded_len() * 2, expected.len(), "{entry:?}");
        assert_eq!(Entry::decode(&bytes(&expected)).unwrap(), entry);
    }
}

#[test]
fn entry_of_a_newer_version_or_of_an_unknown_kind_is_an_error() {
    for (entry, _) in golden() {
        for version in (0..=u8::MAX).filter(|version| *version != Entry::VERSION) {
            let mut newer = entry.encode().to_vec();
            newer[0] = version;
            let error = Entry::decode(&newer.into()).unwrap_err();
            assert_eq!(error, EntryError::UnsupportedVersion(version));
        }
        for kind in (0..=u8::MAX).filter(|kind| !(1..=7).contains(kind)) {
            let mut unknown = entry.encode().to_vec();
            unknown[1] = kind;
            let error = Entry::decode(&unknown.into()).unwrap_err();
            assert_eq!(error, EntryError::UnknownKind(kind));
        }
    }
}

#[test]
fn every_truncation_of_an_entry_is_an_error() {
    for (entry, _) in golden() {
        let whole = entry.encode();
        for length in 0..whole.len() {
            let error = Entry::decode(&whole.slice(..length)).unwrap_err();
            assert!(matches!(error, EntryError::Truncated(_)), "{entry:?} {length} {error}");
        }
    }
}

#[test]
fn bytes_after_an_entry_are_an_error() {
    for (entry, _) in golden() {
        let mut longer = entry.encode().to_vec();
        longer.extend([0, 0]);
        assert_eq!(Entry::decode(&longer.into()), Err(EntryError::TrailingBytes(2)));
    }
}

#[test]
fn every_one_bit_change_of_an_entry_is_an_error_or_another_entry() {
    for (entry, _) in golden() {
        let mut bytes = entry.encode().to_vec();
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            if let Ok(other) = Entry::decode(&bytes.clone().into()) {
                assert_ne!(other, entry);
                assert_eq!(other.encode(), bytes);
            }
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

#[test]
fn values_that_a_field_cannot_have_are_errors() {
    let head = |kind| format!("01{kind}0000000000000001");
    let invalid = [
        ("the time", format!("0106{}", "ff".repeat(8))),
        ("the session id", head("05") + "0001"),
        ("the session id", head("05") + "01ff01"),
        ("the reason", head("05") + "016100"),
        ("the reason", head("05") + "016106"),
        ("the request id", head("03") + "0161" + &"ff".repeat(8)),
        ("the lowest pending id", head("03") + "0161" + &"00".repeat(8) + &"ff".repeat(8)),
        ("the acknowledgements", head("04") + "00000001" + "0161" + &"ff".repeat(8)),
        // A capability twice, and one that is not UTF-8.
        ("the capabilities", head("02") + "0161" + "0002" + "0001610000" + "0001610000"),
        ("the capabilities", head("02") + "0161" + "0001" + "0001ff0000"),
    ];
    for (field, hex) in invalid {
        assert_eq!(Entry::decode(&bytes(&hex)), Err(EntryError::Invalid(field)), "{hex}");
    }
    let (settings, hex) = golden().pop().unwrap();
    assert!(matches!(settings.operation, Operation::Settings(_)));
    let no_sessions = hex.replacen("00000001", "00000000", 1);
    let error = Entry::decode(&bytes(&no_sessions)).unwrap_err();
    assert_eq!(error.to_string(), "setting sessions: 0 is not from 1 to 10000000");
}

#[test]
fn announced_length_allocates_nothing() {
    let huge = [
        "01040000000000000001ffffffff",
        "01030000000000000001016100000000000000010000000000000001ffffffff",
        "010200000000000000010161ffff",
    ];
    for hex in huge {
        let bytes = bytes(hex);
        let used = allocation_counter::measure(|| {
            assert!(matches!(Entry::decode(&bytes), Err(EntryError::Truncated(_))));
        });
        assert!(used.bytes_max < 4096, "{used:?}");
    }
}

#[test]
fn payload_of_a_decoded_command_shares_the_entry_and_ids_do_not() {
    let bytes = Entry { time: Time::ZERO, operation: command("abc", 1, 1, b"data") }.encode();
    let Operation::Command { session, payload, .. } = Entry::decode(&bytes).unwrap().operation
    else {
        panic!("not a command");
    };
    assert!(bytes.as_ptr_range().contains(&payload.as_ptr()));
    assert!(!bytes.as_ptr_range().contains(&session.as_bytes().as_ptr()));
}

#[test]
fn entry_in_two_pieces_is_the_same_entry_wherever_it_is_divided() {
    for (entry, _) in golden() {
        let whole = entry.encode();
        for at in 0..=whole.len() {
            let divided = EntryBytes::of_pieces(whole.slice(..at), whole.slice(at..));
            assert_eq!(divided.to_bytes(), whole);
            assert_eq!((divided.len(), divided.is_empty()), (whole.len(), false));
            assert_eq!(divided, EntryBytes::from(whole.clone()));
            assert_eq!(Entry::decode_shared(&divided).unwrap(), entry);
            let shorter = EntryBytes::of_pieces(
                whole.slice(..at),
                whole.slice(at..).slice(1.min(whole.len() - at)..),
            );
            assert_eq!(Entry::decode_shared(&shorter), Entry::decode(&shorter.to_bytes()));
        }
    }
    let [a, b] = ["a", "b"].map(|tail| EntryBytes::of_pieces("head".into(), tail.into()));
    assert_ne!(a, b);
}

#[test]
fn pieces_are_cut_off_in_order_without_a_copy() {
    let whole = Bytes::from((0..=255).collect::<Vec<u8>>());
    for divided in [0, 1, 100, 255, 256] {
        for most in [1, 7, 99, 100, 101, 256] {
            let mut rest = EntryBytes::of_pieces(whole.slice(..divided), whole.slice(divided..));
            let mut found = Vec::new();
            while !rest.is_empty() {
                let part = rest.split_to(most);
                assert_eq!(part.len(), most.min(whole.len() - found.len()));
                for piece in part.pieces().into_iter().filter(|piece| !piece.is_empty()) {
                    assert_eq!(piece.as_ptr(), whole[found.len()..].as_ptr());
                    found.extend_from_slice(piece);
                }
            }
            assert_eq!(found, whole, "{divided} {most}");
        }
    }
}

#[test]
fn long_payload_is_neither_copied_into_an_entry_nor_out_of_it() {
    let of = |length| command("abc", 1, 1, vec![7; length]);
    let entry = Entry { time: Time::ZERO, operation: of(EntryBytes::SHARE_FROM) };
    let encoded = entry.encode_shared();
    assert_eq!(encoded.to_bytes(), entry.encode());
    let decoded = Entry::decode_shared(&encoded).unwrap();
    assert_eq!(decoded, entry);
    let at = |entry: &Entry| match &entry.operation {
        Operation::Command { payload, .. } => payload.as_ptr(),
        other => panic!("{other:?}"),
    };
    assert_eq!(at(&decoded), at(&entry));

    let short = Entry { time: Time::ZERO, operation: of(EntryBytes::SHARE_FROM - 1) };
    let [all, none] = short.encode_shared().into_pieces();
    assert_eq!((all, none), (short.encode(), Bytes::new()), "a short one does not keep its buffer");
}

#[test]
fn debug_form_of_an_entry_hides_seed_session_and_payload() {
    let hidden = [genesis(1, 0x77), create("secret-session"), command("secret-session", 1, 1, "x")];
    for operation in hidden {
        let shown = format!("{operation:?}");
        assert!(!shown.contains("secret") && !shown.contains("119"), "{shown}");
    }
}

fn session_name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-c]", "\\PC{1,60}"]
}

fn any_id() -> impl Strategy<Value = u64> {
    prop_oneof![0_u64..4, 0..=i64::MAX as u64]
}

fn capabilities() -> impl Strategy<Value = Capabilities> {
    vec(("\\PC{0,9}", "\\PC{0,9}"), 0..5).prop_map(|entries| {
        zraft_protocol::Capabilities::new(entries)
            .map_or_else(|_| Capabilities::none(), Capabilities::from)
    })
}

pub(crate) fn operation() -> impl Strategy<Value = Operation> {
    let settings = (any::<u32>(), any::<u64>(), any::<u32>(), 1000_u64..86_400_000).prop_map(
        |(count, bytes, level, timeout)| {
            support::settings(Settings {
                sessions: count % 10_000_000 + 1,
                cached_bytes: bytes % (1 << 40) + 1,
                session_timeout_millis: timeout,
                application_level: level,
                ..Settings::default()
            })
        },
    );
    let reasons = prop::sample::select(vec![
        EndReason::Closed,
        EndReason::Expired,
        EndReason::Abandoned,
        EndReason::CacheOverrun,
        EndReason::Removed,
    ]);
    prop_oneof![
        (any::<u64>(), any::<[u8; 32]>())
            .prop_map(|(term, seed)| Operation::Genesis(Genesis { term, seed })),
        (session_name(), capabilities()).prop_map(|(name, capabilities)| {
            Operation::CreateSession { session: session(&name), capabilities }
        }),
        (session_name(), any_id(), any_id(), vec(any::<u8>(), 0..300))
            .prop_map(|(name, id, lowest, bytes)| command(&name, id, lowest, bytes)),
        vec((session_name(), any_id()), 0..5).prop_map(|acknowledgements| {
            let each = acknowledgements.iter().map(|(name, id)| match acknowledge(name, *id) {
                Operation::Acknowledge(one) => one,
                _ => Vec::new(),
            });
            Operation::Acknowledge(each.flatten().collect())
        }),
        (session_name(), reasons).prop_map(|(name, reason)| end(&name, reason)),
        Just(Operation::Tick),
        settings,
    ]
}

proptest! {
    #![proptest_config(crate::support::cases(256))]

    #[test]
    fn every_entry_decodes_to_itself(millis in 0..=i64::MAX as u64, operation in operation()) {
        let entry = Entry { time: time(millis), operation };
        let bytes = entry.encode();
        prop_assert_eq!(bytes.len(), entry.encoded_len());
        prop_assert_eq!(Entry::decode(&bytes), Ok(entry));
    }

    #[test]
    fn any_bytes_are_an_error_or_the_encoding_of_an_entry(
        head in prop_oneof![Just(vec![]), (1_u8..=7).prop_map(|kind| vec![1, kind, 0, 0])],
        tail in vec(prop_oneof![Just(0), Just(1), any::<u8>()], 0..200),
    ) {
        let bytes: Bytes = [head, tail].concat().into();
        if let Ok(entry) = Entry::decode(&bytes) {
            prop_assert_eq!(entry.encode(), bytes);
        }
    }

    #[test]
    fn payload_of_any_bytes_survives(bytes in vec(any::<u8>(), 0..2000)) {
        let sent = Payload::new(bytes).unwrap();
        let operation = command("s", 1, 1, &sent[..]);
        let read = Entry::decode(&Entry { time: Time::ZERO, operation }.encode()).unwrap();
        let Operation::Command { payload, .. } = read.operation else { panic!("not a command") };
        prop_assert_eq!(payload, sent);
    }
}
