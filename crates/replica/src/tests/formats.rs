//! Bytes that are on disks: they stay as they are, or get another version.

use bytes::Bytes;

use super::world::{id, info};
use crate::{
    Change, ChangeStep, Configuration, EntryKind, FormatError, LogEntry, PeerFrame, PeerMessage,
    Position,
};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn changes_keep_the_bytes_of_version_1() {
    let steps = |steps| hex(&Change::Steps(steps).encode());
    let member = "00066e6f64652d34000b686f73742d343a3730303000000001";
    assert_eq!(hex(&Change::Leave.encode()), "0102");
    assert_eq!(
        steps(vec![ChangeStep::AddLearner(id(4), info(4))]),
        format!("01010001010000000000000004{member}")
    );
    assert_eq!(
        steps(vec![ChangeStep::Promote(id(4)), ChangeStep::Remove(id(3))]),
        "01010002020000000000000004030000000000000003"
    );
    assert_eq!(
        steps(vec![ChangeStep::Update(id(4), info(4))]),
        format!("01010001040000000000000004{member}")
    );
    let replacement = ChangeStep::AddReplacement { id: id(4), info: info(4), old: id(3) };
    assert_eq!(
        steps(vec![replacement]),
        format!("01010001050000000000000004{member}0000000000000003")
    );
}

#[test]
fn changes_and_configurations_are_read_back() {
    let changes = [
        Change::Leave,
        Change::Steps(vec![
            ChangeStep::AddReplacement { id: id(4), info: info(4), old: id(3) },
            ChangeStep::AddLearner(id(5), info(5)),
            ChangeStep::Update(id(2), info(2)),
            ChangeStep::Promote(id(6)),
            ChangeStep::Remove(id(1)),
        ]),
    ];
    for change in changes {
        let bytes = change.encode();
        assert_eq!(Change::decode(&bytes), Ok(change));
        for length in 0..bytes.len() {
            assert!(Change::decode(&bytes.slice(..length)).is_err());
        }
    }
    let configuration = Configuration::of_voters((1..=3).map(|number| (id(number), info(number))))
        .after(&Change::Steps(vec![ChangeStep::AddReplacement {
            id: id(4),
            info: info(4),
            old: id(3),
        }]));
    let joint = configuration
        .after(&Change::Steps(vec![ChangeStep::Promote(id(4)), ChangeStep::Remove(id(3))]));
    assert!(joint.is_joint() && joint.removed.is_empty() && joint.replacing.is_empty());
    let left = joint.after(&Change::Leave);
    assert_eq!(left.removed, [id(3)].into());
    for configuration in [configuration, joint, left] {
        let bytes = configuration.encode();
        assert_eq!(Configuration::decode(&bytes), Ok(configuration));
        for length in 0..bytes.len() {
            assert!(Configuration::decode(&bytes.slice(..length)).is_err());
        }
    }
}

#[test]
fn a_configuration_that_contradicts_itself_is_refused() {
    let mut configuration = Configuration::of_voters([(id(1), info(1))]);
    configuration.removed.insert(id(1));
    let refused = Configuration::decode(&configuration.encode());
    assert_eq!(refused, Err(FormatError::Invalid("the members")));
    let newer = bytes::Bytes::from_static(&[2, 2]);
    assert_eq!(Change::decode(&newer), Err(FormatError::UnsupportedVersion(2)));
}

#[test]
fn a_configuration_has_at_most_64_members_and_room_for_their_removed_ids() {
    let of = |members: u64, removed: u64| {
        let members = (1..=members).map(|number| (id(number), info(number)));
        let mut configuration = Configuration::of_voters(members);
        configuration.removed = (1000..1000 + removed).map(id).collect();
        Configuration::decode(&configuration.encode()).is_ok()
    };
    let (members, removed) = (Configuration::MAX_MEMBERS as u64, Configuration::MAX_REMOVED as u64);
    assert!(of(members, 0));
    assert!(!of(members + 1, 0));
    // All members may still be removed after the last id that the limit leaves.
    assert!(of(1, removed + members));
    assert!(!of(1, removed + members + 1));
}

#[test]
fn a_large_frame_fits_its_buffer_which_is_hardly_larger() {
    let data = Bytes::from(vec![7; 100_000]);
    let entry =
        |index| LogEntry { index, term: 2, kind: EntryKind::Normal, data: data.clone().into() };
    let previous = Position { index: 4, term: 2 };
    let entries = (5..8).map(entry).collect();
    let append = PeerMessage::Append { term: 2, previous, commit: 4, entries };
    let chunk = PeerMessage::SnapshotChunk { term: 2, index: 4, offset: 0, data: data.clone() };
    for message in [append, chunk] {
        let frame = PeerFrame { from: id(1), to: id(2), message };
        let len = frame.encode().len();
        let fits = len..len + 100;
        assert!(fits.contains(&frame.capacity()), "{} for {len} bytes", frame.capacity());
    }
}
