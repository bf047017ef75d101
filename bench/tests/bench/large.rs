//! A state that is large beside everything else: its snapshot, its transfer to a new member, and the restore.

use std::io::Cursor;

use zraft_bench::members::large;
use zraft_session::{
    Capabilities, Entry, Operation, Payload, RequestId, SessionId, StateMachine, Time,
    applications::KvStore,
};

const MIB: u64 = 1 << 20;

#[test]
fn a_new_member_gets_a_state_of_16_mib_while_the_leader_answers() {
    let folder = tempfile::tempdir().unwrap();
    large::prepare(folder.path(), 16).unwrap();
    let outcome = large::measure(folder.path()).unwrap();
    assert_eq!(outcome.hashes[0], outcome.hashes[1]);
    assert!(outcome.answered > 0);
    let steps: Vec<_> = outcome.steps.iter().map(|step| step.name).collect();
    assert!(steps.contains(&"transfer") && steps.contains(&"restore"), "{steps:?}");
}

/// Returns a key-value store with this many keys, whose values have 1 KiB.
fn state(keys: u64) -> StateMachine<KvStore> {
    let mut state = StateMachine::new(KvStore::new());
    let session = SessionId::new("session").unwrap();
    let mut apply = |operation| {
        let entry = Entry { time: Time::ZERO, operation };
        state.apply(state.applied() + 1, &entry, &mut Vec::new()).unwrap();
    };
    apply(Operation::CreateSession {
        session: session.clone(),
        capabilities: Capabilities::none(),
    });
    for number in 1..=keys {
        let key = format!("key {number:08}").try_into().unwrap();
        let value = "v".repeat(1024).try_into().unwrap();
        let payload = Payload::new(zraft_kv::Command::Set { key, value }.encode()).unwrap();
        let request_id = RequestId::new(number).unwrap();
        let (session, lowest_pending) = (session.clone(), request_id);
        apply(Operation::Command { session, request_id, lowest_pending, payload });
    }
    state
}

#[test]
fn freezing_a_state_costs_the_same_whatever_its_size() {
    let [small, large] = [16, 16_384].map(|keys| {
        let state = state(keys);
        let counted = allocation_counter::measure(|| drop(state.snapshot()));
        (counted.count_total, counted.bytes_total)
    });
    assert_eq!(small, large);
}

#[test]
fn writing_a_snapshot_of_16_mib_takes_less_than_a_mib_of_memory() {
    let state = state(16_384);
    let mut written = 0;
    let counted = allocation_counter::measure(|| {
        written = state.snapshot().write_to(std::io::sink()).unwrap().bytes;
    });
    assert!(written > 16 * MIB);
    assert!(counted.bytes_max < MIB, "{} bytes", counted.bytes_max);
}

#[test]
fn restoring_a_snapshot_of_16_mib_takes_less_than_a_mib_beside_the_state() {
    let mut file = Vec::new();
    state(16_384).snapshot().write_to(&mut file).unwrap();
    let mut restored = None;
    let counted = allocation_counter::measure(|| {
        restored = Some(StateMachine::<KvStore>::restore(Cursor::new(&file)).unwrap());
    });
    assert_eq!(restored.unwrap().application().len(), 16_384);
    let beside = counted.bytes_max - counted.bytes_current as u64;
    assert!(beside < MIB, "{beside} bytes beside {}", counted.bytes_current);
    // The values, and what a tree of them takes.
    assert!(counted.bytes_max < 16 * MIB * 3 / 2, "{} bytes", counted.bytes_max);
}
