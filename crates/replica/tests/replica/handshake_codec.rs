//! The bytes of handshakes, which members of two versions exchange.

use bytes::Bytes;
use proptest::{collection::vec, option, prelude::*, test_runner::FileFailurePersistence};
use zraft_replica::{
    ClusterId, ConnectionKind, FormatError, HandshakeMessage, Hello, Incarnation, Introduction,
    Position, RaftId, Refusal, Remembered, Sender, Welcome,
};

fn id(number: u64) -> RaftId {
    RaftId::new(number).expect("not 0")
}

fn sample_sender() -> Sender {
    Sender {
        id: id(2),
        introduction: Introduction {
            cluster: ClusterId::new([0xC1; 16]),
            incarnation: Incarnation::new([0x17; 16]),
            address: "10.0.0.2:7000".to_owned(),
        },
        oldest: 1,
        newest: 3,
        feature_level: 5,
        durable: Position { index: 700, term: 6 },
        client_endpoint: None,
    }
}

/// A sender of a program that says where clients reach it.
fn sender_with_endpoint() -> Sender {
    Sender { client_endpoint: Some("tcp://10.0.0.2:7001".to_owned()), ..sample_sender() }
}

/// One message of every kind and reason, with every optional part present and absent.
fn samples() -> Vec<HandshakeMessage> {
    let from = sample_sender;
    let remembered = Remembered { term: 6, matched: 690, committed: 680 };
    let met = Some((Incarnation::new([0x18; 16]), remembered));
    let hello = |kind, remembered| {
        HandshakeMessage::Hello(Hello { from: from(), to: id(3), kind, remembered })
    };
    let welcome = |remembered| {
        HandshakeMessage::Welcome(Welcome { from: from(), to: id(3), version: 1, remembered })
    };
    let durable = Position { index: 600, term: 5 };
    let refusals = [
        Refusal::OtherCluster { cluster: ClusterId::new([0xC1; 16]) },
        Refusal::OtherMember { id: id(2) },
        Refusal::Version { oldest: 1, newest: 2 },
        Refusal::SameIncarnation { id: id(2) },
        Refusal::OtherIncarnation { known: Incarnation::new([0x17; 16]) },
        Refusal::UnknownMember,
        Refusal::Removed,
        Refusal::FeatureLevel { needed: 2 },
        Refusal::RolledBack { remembered, durable },
    ];
    let mut samples = vec![
        hello(ConnectionKind::Urgent, None),
        hello(ConnectionKind::Bulk, met),
        welcome(None),
        welcome(Some(remembered)),
        HandshakeMessage::Confirm { durable },
    ];
    samples.extend(refusals.map(HandshakeMessage::Refusal));
    let kind = ConnectionKind::Urgent;
    let from = sender_with_endpoint;
    samples.extend([
        HandshakeMessage::Hello(Hello { from: from(), to: id(3), kind, remembered: met }),
        HandshakeMessage::Welcome(Welcome {
            from: from(),
            to: id(3),
            version: 1,
            remembered: None,
        }),
    ]);
    samples
}

/// The failure's text is the new file, for the case that a kind was added on purpose.
#[test]
fn handshake_bytes_of_version_1_stay_as_they_are() {
    let golden = include_str!("../golden/handshake-v1.hex");
    let hex = |bytes: &Bytes| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let lines: Vec<String> = samples().iter().map(|sample| hex(&sample.encode())).collect();
    let now = lines.join("\n");
    assert_eq!(now, golden.trim_end(), "the format has changed; these are the new bytes:\n{now}");
}

#[test]
fn every_handshake_sample_is_read_back_and_fits_the_limit() {
    for sample in samples() {
        let bytes = sample.encode();
        assert!(bytes.len() <= HandshakeMessage::MAX_LEN);
        assert_eq!(HandshakeMessage::decode(&bytes), Ok(sample));
    }
}

#[test]
fn a_handshake_that_ends_early_or_late_is_refused() {
    for sample in samples() {
        let bytes = sample.encode();
        for length in 0..bytes.len() {
            assert!(HandshakeMessage::decode(&bytes.slice(..length)).is_err());
        }
        let longer = Bytes::from([&bytes[..], &[0]].concat());
        assert!(HandshakeMessage::decode(&longer).is_err());
    }
}

#[test]
fn fields_of_a_later_version_are_ignored() {
    for sample in [&samples()[1], &samples()[3]] {
        let bytes = sample.encode();
        // The length of the extension ends the message.
        let extended = [&bytes[..bytes.len() - 2], &[0, 3], b"new"].concat();
        assert_eq!(HandshakeMessage::decode(&extended.into()), Ok(sample.clone()));
    }
}

/// A Hello with this extension.
fn extended(extension: &[u8]) -> Bytes {
    let bytes = samples()[0].encode();
    let length = (extension.len() as u16).to_be_bytes();
    Bytes::from([&bytes[..bytes.len() - 2], &length, extension].concat())
}

#[test]
fn an_extension_is_read_as_far_as_it_is_understood() {
    let endpoint = |extension: &[u8]| match HandshakeMessage::decode(&extended(extension)) {
        Ok(HandshakeMessage::Hello(hello)) => hello.from.client_endpoint,
        other => panic!("{other:?}"),
    };
    assert_eq!(endpoint(b"\x01\0\x03a:1").as_deref(), Some("a:1"));
    assert_eq!(endpoint(b"\x07\0\x02xy\x01\0\x03a:1\x08\0").as_deref(), Some("a:1"));
    for nothing in
        [&b""[..], b"\x01", b"\x01\0\0", b"\x01\0\x04a:1", b"\x01\0\x01\xff", b"\x07\xff\xff"]
    {
        assert_eq!(endpoint(nothing), None, "{nothing:?}");
    }
}

#[test]
fn an_endpoint_that_is_too_long_is_neither_sent_nor_read() {
    let hello = |length| {
        let from = Sender { client_endpoint: Some("x".repeat(length)), ..sample_sender() };
        HandshakeMessage::Hello(Hello {
            from,
            to: id(3),
            kind: ConnectionKind::Urgent,
            remembered: None,
        })
    };
    let most = zraft_replica::MemberInfo::MAX_TEXT;
    assert_eq!(HandshakeMessage::decode(&hello(most).encode()), Ok(hello(most)));
    assert_eq!(HandshakeMessage::decode(&hello(most + 1).encode()), Ok(samples()[0].clone()));
    let longer = [&[1][..], &(most as u16 + 1).to_be_bytes(), &vec![b'x'; most + 1]].concat();
    assert_eq!(HandshakeMessage::decode(&extended(&longer)), Ok(samples()[0].clone()));
}

#[test]
fn a_message_of_exactly_the_limit_is_read() {
    let sample = &samples()[1];
    let bytes = sample.encode();
    let extension = vec![0; HandshakeMessage::MAX_LEN - bytes.len()];
    let length = (extension.len() as u16).to_be_bytes();
    let longest = Bytes::from([&bytes[..bytes.len() - 2], &length, &extension].concat());
    assert_eq!(longest.len(), HandshakeMessage::MAX_LEN);
    assert_eq!(HandshakeMessage::decode(&longest), Ok(sample.clone()));
}

#[test]
fn a_message_above_the_limit_is_refused_unread() {
    let bytes = Bytes::from(vec![0; HandshakeMessage::MAX_LEN + 1]);
    assert_eq!(
        HandshakeMessage::decode(&bytes),
        Err(FormatError::Invalid("the length of the handshake"))
    );
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0..100_u64, 0..1_u64 << 62]
}

fn member() -> impl Strategy<Value = RaftId> {
    (1..1_u64 << 62).prop_map(id)
}

fn position() -> impl Strategy<Value = Position> {
    (number(), number()).prop_map(|(index, term)| Position { index, term })
}

fn remembered() -> impl Strategy<Value = Remembered> {
    (number(), number(), number()).prop_map(|(term, matched, committed)| Remembered {
        term,
        matched,
        committed,
    })
}

fn incarnation() -> impl Strategy<Value = Incarnation> {
    any::<[u8; 16]>().prop_map(Incarnation::new)
}

fn sender() -> impl Strategy<Value = Sender> {
    let introduction = (any::<[u8; 16]>(), incarnation(), "\\PC{0,40}").prop_map(
        |(cluster, incarnation, address)| Introduction {
            cluster: ClusterId::new(cluster),
            incarnation,
            address,
        },
    );
    let versions = (any::<u8>(), any::<u8>(), any::<u32>());
    (member(), introduction, versions, position(), option::of("\\PC{1,40}")).prop_map(
        |(id, introduction, (oldest, newest, feature_level), durable, client_endpoint)| Sender {
            id,
            introduction,
            oldest,
            newest,
            feature_level,
            durable,
            client_endpoint,
        },
    )
}

fn message() -> impl Strategy<Value = HandshakeMessage> {
    let kind = prop_oneof![Just(ConnectionKind::Urgent), Just(ConnectionKind::Bulk)];
    prop_oneof![
        (sender(), member(), kind, option::of((incarnation(), remembered()))).prop_map(
            |(from, to, kind, remembered)| {
                HandshakeMessage::Hello(Hello { from, to, kind, remembered })
            }
        ),
        (sender(), member(), any::<u8>(), option::of(remembered())).prop_map(
            |(from, to, version, remembered)| {
                HandshakeMessage::Welcome(Welcome { from, to, version, remembered })
            }
        ),
        position().prop_map(|durable| HandshakeMessage::Confirm { durable }),
        (remembered(), position()).prop_map(|(remembered, durable)| {
            HandshakeMessage::Refusal(Refusal::RolledBack { remembered, durable })
        }),
        member().prop_map(|id| HandshakeMessage::Refusal(Refusal::SameIncarnation { id })),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        // A failing seed is recorded beside this file, to be committed with the fix.
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("proptest-regressions"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_handshake_is_read_back(message in message()) {
        prop_assert_eq!(HandshakeMessage::decode(&message.encode()), Ok(message));
    }

    #[test]
    fn a_damaged_handshake_is_refused_or_read_like_any_other(
        message in message(),
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = message.encode().to_vec();
        let place = place.index(bytes.len());
        bytes[place] = byte;
        if let Ok(read) = HandshakeMessage::decode(&bytes.into()) {
            prop_assert_eq!(HandshakeMessage::decode(&read.encode()), Ok(read));
        }
    }

    #[test]
    fn no_bytes_make_the_handshake_panic(bytes in vec(any::<u8>(), 0..300)) {
        let signed = [b"zraftpr1", &bytes[..]].concat();
        if let Ok(read) = HandshakeMessage::decode(&signed.into()) {
            prop_assert_eq!(HandshakeMessage::decode(&read.encode()), Ok(read));
        }
    }
}
