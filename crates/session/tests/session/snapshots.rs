//! Snapshots: format, damage, memory.

use std::io::{self, Read, Write};

use proptest::{collection::vec, prelude::*};
use zraft_session::{
    RestoreError, Settings, SnapshotInput, SnapshotOutput, StateHash, StateMachine,
    applications::{AppendLog, Echo, KvStore},
    verify_snapshot,
};

use crate::{
    probe::Probe,
    support::{
        Run, acknowledge, command, create, genesis, hex, id, payload, session, settings, time,
    },
};

/// A state with something in every table.
fn rich() -> Run<Probe> {
    let mut run = Run::with_sessions(Probe::default(), &["a", "b"]);
    run.apply(genesis(3, 0x5a));
    run.apply(settings(Settings {
        cached_answers: 7,
        application_level: 1,
        ..Settings::default()
    }));
    run.command("a", 1, "echo one");
    run.command("a", 2, "push b first;push b second;push b third");
    run.apply(command("a", 4, 2, "echo four"));
    run.command("a", 5, "reject");
    run.apply(acknowledge("b", 1));
    run.command("a", 6, "tick 500");
    run
}

type Restored = Result<StateMachine<Probe>, RestoreError>;

fn restore(bytes: &[u8]) -> Restored {
    StateMachine::restore(bytes)
}

#[test]
fn snapshot_of_version_1_keeps_its_bytes() {
    let golden = include_str!("../golden/snapshot-v1.hex");
    let golden: String = golden.split_whitespace().collect();
    assert_eq!(hex(&rich().snapshot()), golden);
}

#[test]
fn restored_state_is_the_state_that_was_frozen() {
    let run = rich();
    let restored = run.restored();
    assert_eq!(restored.machine.application(), run.machine.application());
    assert_eq!(restored.machine.applied(), run.machine.applied());
    assert_eq!(restored.machine.time(), run.machine.time());
    assert_eq!(restored.machine.term(), 3);
    assert_eq!(restored.machine.settings(), run.machine.settings());
    assert_eq!(restored.machine.history_hash(), run.machine.history_hash());
    assert_eq!(restored.machine.sessions().totals(), run.machine.sessions().totals());
    let sessions = |run: &Run<Probe>| {
        let each = run.machine.sessions().iter();
        each.map(|(id, session)| (id.clone(), session.clone())).collect::<Vec<_>>()
    };
    assert_eq!(sessions(&restored), sessions(&run));
    assert_eq!(restored.snapshot(), run.snapshot());
}

#[test]
fn snapshot_is_frozen_when_it_is_taken() {
    let mut run = rich();
    let before = run.snapshot();
    let frozen = run.machine.snapshot();
    assert_eq!((frozen.applied(), frozen.time()), (run.machine.applied(), run.machine.time()));
    run.command("b", 1, "push a more;onend end a");
    run.apply(create("c"));
    run.apply(acknowledge("b", 3));
    let mut written = Vec::new();
    frozen.write_to(&mut written).unwrap();
    assert_eq!(written, before);
    assert_ne!(run.snapshot(), before);
}

#[test]
fn summary_of_writing_is_that_of_verifying_and_the_state_hash() {
    let run = rich();
    let mut bytes = Vec::new();
    let written = run.machine.snapshot().write_to(&mut bytes).unwrap();
    assert_eq!(written.bytes, bytes.len() as u64);
    assert_eq!(written.hash, run.machine.state_hash().unwrap());
    assert_eq!(verify_snapshot(&bytes[..]).unwrap(), written);
    assert_eq!(StateHash::from_bytes(written.hash.to_bytes()), written.hash);
    assert_eq!(written.hash.to_string(), hex(&bytes[bytes.len() - 16..]));
}

#[test]
fn bytes_after_the_snapshot_are_left_unread() {
    let mut bytes = rich().snapshot();
    bytes.extend(b"next");
    let mut input = &bytes[..];
    StateMachine::<Probe>::restore(&mut input).unwrap();
    assert_eq!(input, b"next");
    let mut input = &bytes[..];
    verify_snapshot(&mut input).unwrap();
    assert_eq!(input, b"next");
}

#[test]
fn every_truncation_of_a_snapshot_is_an_error() {
    let bytes = rich().snapshot();
    for length in 0..bytes.len() {
        for error in [restore(&bytes[..length]).unwrap_err(), verify(&bytes[..length])] {
            assert!(matches!(error, RestoreError::Truncated), "{length}: {error}");
        }
    }
}

fn verify(bytes: &[u8]) -> RestoreError {
    verify_snapshot(bytes).unwrap_err()
}

#[test]
fn every_one_bit_change_of_a_snapshot_is_an_error() {
    let mut bytes = rich().snapshot();
    for bit in 0..bytes.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(restore(&bytes).is_err(), "bit {bit} of restore");
        assert!(verify_snapshot(&bytes[..]).is_err(), "bit {bit} of verify");
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn damage_is_told_apart_from_another_file_and_from_a_newer_version() {
    let good = rich().snapshot();
    let changed = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        restore(&bytes).unwrap_err()
    };
    assert!(matches!(changed(0), RestoreError::NotASnapshot));
    assert!(matches!(changed(9), RestoreError::UnsupportedVersion(0)));
    // The data of the only chunk, and the hash at the end.
    assert!(matches!(changed(40), RestoreError::Damaged { chunk: 0 }));
    assert!(matches!(changed(good.len() - 1), RestoreError::Damaged { chunk: 1 }));
}

#[test]
fn chunks_in_another_order_are_damage() {
    let mut run = Run::with_sessions(AppendLog::new(), &["a"]);
    for request_id in 1..=4 {
        run.apply(command("a", request_id, request_id, vec![request_id as u8; 65_536]));
    }
    let good = run.snapshot();
    let (chunk, head) = (4 + 8 + 65_536, 10);
    let mut swapped = good[..head].to_vec();
    swapped.extend(&good[head + chunk..head + 2 * chunk]);
    swapped.extend(&good[head..head + chunk]);
    swapped.extend(&good[head + 2 * chunk..]);
    let error = StateMachine::<AppendLog>::restore(&swapped[..]).unwrap_err();
    assert!(matches!(error, RestoreError::Damaged { chunk: 0 }));
    // A chunk left out is found by the one that follows, or by the end.
    let mut shorter = good[..head + chunk].to_vec();
    shorter.extend(&good[head + 2 * chunk..]);
    assert!(matches!(verify(&shorter), RestoreError::Damaged { chunk: 1 }));
}

#[test]
fn application_never_sees_a_byte_of_a_damaged_chunk() {
    let mut bytes = rich().snapshot();
    let last_of_the_body = bytes.len() - 29;
    bytes[last_of_the_body] ^= 1;
    let error = StateMachine::<Refuses>::restore(&bytes[..]).unwrap_err();
    assert!(matches!(error, RestoreError::Damaged { chunk: 0 }), "{error}");
}

/// Panics if it is given anything to restore.
struct Refuses;

impl zraft_session::Application for Refuses {
    fn apply(
        &mut self,
        _: &mut zraft_session::Context<'_>,
        _: zraft_session::Command<'_>,
    ) -> Result<zraft_session::Payload, zraft_session::Rejected> {
        Err(zraft_session::Rejected::without_answer())
    }

    fn query(
        &self,
        _: &zraft_session::QueryContext<'_>,
        _: &zraft_session::Payload,
    ) -> Result<zraft_session::Payload, zraft_session::Rejected> {
        Err(zraft_session::Rejected::without_answer())
    }

    fn snapshot(&self) -> zraft_session::AppSnapshot {
        zraft_session::AppSnapshot::new(|_| Err(io::Error::other("the disk is gone")))
    }

    fn restore(_: &mut SnapshotInput<'_>) -> Result<Self, RestoreError> {
        panic!("the application was asked to restore a damaged state")
    }
}

#[test]
fn error_of_the_application_or_of_the_output_ends_the_writing() {
    let run = Run::new(Refuses);
    let error = run.machine.snapshot().write_to(Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), "the disk is gone");

    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let error = rich().machine.snapshot().write_to(Full).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
}

#[test]
fn error_of_the_input_is_passed_on() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("EIO"))
        }
    }
    let good = rich().snapshot();
    let error = StateMachine::<Probe>::restore(good[..100].chain(Broken)).unwrap_err();
    assert!(matches!(&error, RestoreError::Io(error) if error.to_string() == "EIO"), "{error}");
}

#[test]
fn input_that_comes_byte_by_byte_restores() {
    struct Slow<'a>(&'a [u8]);
    impl Read for Slow<'_> {
        fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
            let taken = bytes.len().min(1);
            self.0.read(&mut bytes[..taken])
        }
    }
    let run = rich();
    let restored = StateMachine::<Probe>::restore(Slow(&run.snapshot())).unwrap();
    assert_eq!(restored.state_hash().unwrap(), run.machine.state_hash().unwrap());
}

#[test]
fn state_that_the_application_does_not_read_to_its_end_is_an_error() {
    let error = StateMachine::<Echo>::restore(&rich_of_one_level()[..]).unwrap_err();
    let expected = "the snapshot holds no valid state: bytes follow the application's state";
    assert_eq!(error.to_string(), expected);
}

fn rich_of_one_level() -> Vec<u8> {
    let mut run = Run::with_sessions(Probe::default(), &["a"]);
    run.command("a", 1, "echo x");
    run.snapshot()
}

#[test]
fn state_that_is_shorter_than_the_application_reads_is_an_error() {
    let run = Run::with_sessions(Echo, &["a"]);
    let error = StateMachine::<Probe>::restore(&run.snapshot()[..]).unwrap_err();
    assert!(matches!(error, RestoreError::Truncated), "{error}");
}

#[test]
fn snapshot_above_the_supported_application_level_is_an_error() {
    // The probe's state, read by an application that supports level 0 only.
    struct Old(Vec<u8>);
    impl zraft_session::Application for Old {
        fn apply(
            &mut self,
            _: &mut zraft_session::Context<'_>,
            _: zraft_session::Command<'_>,
        ) -> Result<zraft_session::Payload, zraft_session::Rejected> {
            Err(zraft_session::Rejected::without_answer())
        }
        fn query(
            &self,
            _: &zraft_session::QueryContext<'_>,
            _: &zraft_session::Payload,
        ) -> Result<zraft_session::Payload, zraft_session::Rejected> {
            Ok(payload(&self.0))
        }
        fn snapshot(&self) -> zraft_session::AppSnapshot {
            let bytes = self.0.clone();
            zraft_session::AppSnapshot::new(move |output| output.write_all(&bytes))
        }
        fn restore(input: &mut SnapshotInput<'_>) -> Result<Self, RestoreError> {
            let mut bytes = Vec::new();
            input.read_to_end(&mut bytes)?;
            Ok(Self(bytes))
        }
    }
    let error = StateMachine::<Old>::restore(&rich().snapshot()[..]).unwrap_err();
    assert!(matches!(error, RestoreError::ApplicationLevel { wanted: 1, supported: 0 }));
    let restored = StateMachine::<Old>::restore(&rich_of_one_level()[..]).unwrap();
    assert_eq!(&verify_written(&restored), &rich_of_one_level());
}

fn verify_written<A: zraft_session::Application>(machine: &StateMachine<A>) -> Vec<u8> {
    let mut bytes = Vec::new();
    machine.snapshot().write_to(&mut bytes).unwrap();
    bytes
}

/// A snapshot with this body, whose checksums are right.
fn sealed(body: &[u8]) -> Vec<u8> {
    let mut bytes = b"ZRAFTSNP\0\x01".to_vec();
    for (number, chunk) in (0..).zip(body.chunks(65_536)) {
        bytes.extend((chunk.len() as u32).to_be_bytes());
        bytes.extend(twox_hash::XxHash3_64::oneshot_with_seed(number, chunk).to_be_bytes());
        bytes.extend(chunk);
    }
    bytes.extend(0_u32.to_be_bytes());
    bytes.extend((body.len() as u64).to_be_bytes());
    bytes.extend(twox_hash::XxHash3_128::oneshot(body).to_be_bytes());
    bytes
}

fn body(snapshot: &[u8]) -> Vec<u8> {
    // Of a body that fits into one chunk.
    snapshot[22..snapshot.len() - 28].to_vec()
}

#[test]
fn format_is_the_documented_one() {
    let good = rich().snapshot();
    assert_eq!(sealed(&body(&good)), good);
}

#[test]
fn hostile_state_with_right_checksums_is_an_error_or_a_state_and_never_a_panic() {
    let good = body(&rich().snapshot());
    for at in 0..good.len() {
        for value in [0x00, 0x01, 0x7f, 0xff] {
            let mut bytes = good.clone();
            bytes[at] = value;
            if let Ok(machine) = restore(&sealed(&bytes)) {
                assert_eq!(body(&verify_written(&machine)), bytes, "byte {at} = {value}");
            }
        }
    }
}

#[test]
fn sessions_and_answers_out_of_order_are_errors() {
    let two = |run: &mut Run<Echo>| body(&run.snapshot());
    let mut run = Run::with_sessions(Echo, &["x", "y"]);
    let mut bytes = two(&mut run);
    for byte in &mut bytes {
        *byte = if *byte == b'x' { b'z' } else { *byte };
    }
    let error = StateMachine::<Echo>::restore(&sealed(&bytes)[..]).unwrap_err();
    assert!(error.to_string().ends_with("the sessions are not in order"), "{error}");

    let mut run = Run::with_sessions(Echo, &["x"]);
    run.command("x", 0x77, "");
    run.command("x", 0x78, "");
    let mut bytes = two(&mut run);
    for byte in &mut bytes {
        *byte = if *byte == 0x77 { 0x79 } else { *byte };
    }
    let error = StateMachine::<Echo>::restore(&sealed(&bytes)[..]).unwrap_err();
    assert!(error.to_string().ends_with("the answers are not in order"), "{error}");
}

#[test]
fn announced_lengths_allocate_nothing() {
    let good = body(&rich().snapshot());
    // Counts and lengths anywhere, as large as they can be.
    for at in 0..good.len() - 8 {
        let mut bytes = good.clone();
        bytes[at..at + 8].fill(0x7f);
        let bytes = sealed(&bytes);
        let used = allocation_counter::measure(|| drop(restore(&bytes)));
        assert!(used.bytes_max < 256 << 10, "{at}: {used:?}");
    }
}

fn many(count: u64, bytes: usize) -> Run<AppendLog> {
    let mut run = Run::with_sessions(AppendLog::new(), &["a", "b"]);
    for request_id in 1..=count {
        let mut payload = vec![0; bytes];
        payload[..8].copy_from_slice(&request_id.to_be_bytes());
        run.command("a", request_id, payload);
    }
    run
}

#[test]
fn taking_a_snapshot_costs_the_same_for_any_state() {
    let cost = |run: &Run<AppendLog>| {
        let used = allocation_counter::measure(|| drop(run.machine.snapshot()));
        (used.count_total, used.bytes_total)
    };
    let (small, large) = (cost(&many(1, 100)), cost(&many(10_000, 100)));
    assert_eq!(small, large);
    assert!(large.0 <= 2, "{large:?}");

    let mut store = Run::with_sessions(KvStore::new(), &["a"]);
    let cost = |run: &Run<KvStore>| {
        allocation_counter::measure(|| drop(run.machine.snapshot())).count_total
    };
    let empty = cost(&store);
    for request_id in 1..=5000 {
        let (key, value) = (format!("key {request_id}").try_into(), "value".try_into());
        let set = zraft_kv::Command::Set { key: key.unwrap(), value: value.unwrap() };
        store.command("a", request_id, set.encode());
    }
    assert_eq!(cost(&store), empty);
}

#[test]
fn command_after_a_snapshot_copies_a_path_and_not_the_state() {
    let mut run = many(10_000, 100);
    let frozen = run.machine.snapshot();
    let used = allocation_counter::measure(|| drop(run.command("b", 1, "x")));
    assert!(used.count_total < 200, "{used:?}");
    drop(frozen);
}

#[test]
fn writing_and_verifying_hold_a_few_chunks_in_memory() {
    let run = many(256, 64 << 10);
    let snapshot = run.machine.snapshot();
    let mut written = 0;
    let used = allocation_counter::measure(|| {
        written = snapshot.write_to(io::sink()).unwrap().bytes;
    });
    assert!(written > 16 << 20);
    assert!(used.bytes_max < 128 << 10, "{used:?}");
    let bytes = run.snapshot();
    let used = allocation_counter::measure(|| {
        verify_snapshot(&bytes[..]).unwrap();
    });
    assert!(used.bytes_max < 256 << 10, "{used:?}");
}

#[test]
fn restoring_holds_little_more_than_the_state() {
    let run = many(256, 64 << 10);
    let bytes = run.snapshot();
    let used = allocation_counter::measure(|| {
        drop(StateMachine::<AppendLog>::restore(&bytes[..]).unwrap());
    });
    assert!(used.bytes_max < (bytes.len() + bytes.len() / 4) as u64, "{used:?}");
}

#[test]
fn bytes_that_were_read_keep_no_room_to_grow() {
    let mut bytes = Vec::new();
    // No power of two, which growing would meet exactly.
    SnapshotOutput::new(&mut bytes).write_bytes(&[7; 70_000]).unwrap();
    let mut kept = None;
    let used = allocation_counter::measure(|| {
        kept = SnapshotInput::new(&mut &bytes[..]).read_bytes().ok();
    });
    assert_eq!(kept.map(|kept| kept.len()), Some(70_000));
    assert!(used.bytes_current < 71_000, "{used:?}");
}

#[test]
fn fields_read_back_as_they_were_written() {
    let mut bytes = Vec::new();
    let mut output = SnapshotOutput::new(&mut bytes);
    output.write_u8(1).unwrap();
    output.write_u32(2).unwrap();
    output.write_u64(u64::MAX).unwrap();
    output.write_i64(-4).unwrap();
    output.write_bytes(b"bytes").unwrap();
    output.write_bytes(b"payload").unwrap();
    output.write_text("text").unwrap();
    output.write_session_id(&session("s")).unwrap();
    output.write_request_id(id(9)).unwrap();
    output.write_time(time(10)).unwrap();
    output.write_all(b"raw").unwrap();
    output.flush().unwrap();
    let mut reader = &bytes[..];
    let mut input = SnapshotInput::new(&mut reader);
    assert_eq!(input.read_u8().unwrap(), 1);
    assert_eq!(input.read_u32().unwrap(), 2);
    assert_eq!(input.read_u64().unwrap(), u64::MAX);
    assert_eq!(input.read_i64().unwrap(), -4);
    assert_eq!(input.read_bytes().unwrap(), "bytes");
    assert_eq!(input.read_payload().unwrap(), payload("payload"));
    assert_eq!(input.read_text().unwrap(), "text");
    assert_eq!(input.read_session_id().unwrap(), session("s"));
    assert_eq!(input.read_request_id().unwrap(), id(9));
    assert_eq!(input.read_time().unwrap(), time(10));
    assert_eq!(&input.read_array::<3>().unwrap(), b"raw");
    assert!(matches!(input.read_u8(), Err(RestoreError::Truncated)));
}

proptest! {
    #![proptest_config(crate::support::cases(256))]

    #[test]
    fn any_bytes_restore_to_an_error_or_a_state(
        head in prop_oneof![Just(vec![]), Just(b"ZRAFTSNP\0\x01".to_vec())],
        tail in vec(any::<u8>(), 0..400),
    ) {
        let _ = restore(&[head, tail].concat());
    }

    #[test]
    fn any_body_with_right_checksums_restores_to_an_error_or_a_state(
        keep in 0_usize..500,
        tail in vec(prop_oneof![Just(0), any::<u8>()], 0..200),
    ) {
        let good = body(&rich().snapshot());
        let bytes = [&good[..keep.min(good.len())], &tail[..]].concat();
        if let Ok(machine) = restore(&sealed(&bytes)) {
            prop_assert_eq!(body(&verify_written(&machine)), bytes);
        }
    }
}

#[test]
fn debug_output_of_a_frozen_application_shows_nothing_of_its_state() {
    let frozen = zraft_session::AppSnapshot::new(|_| Ok(()));
    assert_eq!(format!("{frozen:?}"), "AppSnapshot { .. }");
}
