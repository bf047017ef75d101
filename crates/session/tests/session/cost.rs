//! What a command costs in allocations, whatever the state holds.

use zraft_session::{
    Application, Entry, Sessions, Snapshot, StateMachine, Time, applications::Echo,
};

use crate::support::{Run, command, create};

/// Allocations of 1,000 commands, decoded from their bytes, at a state with this many sessions.
fn allocations(sessions: u64) -> u64 {
    let mut run = Run::new(Echo);
    for number in 0..sessions {
        run.apply(create(&format!("session {number}")));
    }
    let log: Vec<_> = (0..1100_u64)
        .map(|at| {
            let name = format!("session {}", at % 10);
            // Each session has 16 commands in flight.
            let id = at / 10 + 1;
            let operation = command(&name, id, id.saturating_sub(16).max(1), [7; 100]);
            Entry { time: Time::ZERO, operation }.encode()
        })
        .collect();
    let mut effects = Vec::with_capacity(16);
    let mut apply = |run: &mut Run<Echo>, bytes| {
        let entry = Entry::decode(bytes).unwrap();
        effects.clear();
        run.machine.apply(run.machine.applied() + 1, &entry, &mut effects).unwrap();
    };
    for bytes in &log[..100] {
        apply(&mut run, bytes);
    }
    let used = allocation_counter::measure(|| {
        for bytes in &log[100..] {
            apply(&mut run, bytes);
        }
    });
    used.count_total
}

#[test]
fn command_takes_few_allocations_and_no_more_with_many_sessions() {
    let (few, many) = (allocations(10), allocations(10_000));
    assert_eq!(few, many);
    // The session's id, the copy of the payload (two, as it is shared), the cached answer's node and entry.
    assert!(few <= 8 * 1000, "{few} for 1,000 commands");
}

#[test]
fn snapshots_and_sessions_can_go_to_other_threads_and_applications_behind_pointers() {
    fn send<T: Send + 'static>() {}
    fn sync<T: Sync>() {}
    fn object(_: Option<Box<dyn Application>>) {}
    send::<Snapshot>();
    send::<StateMachine<Echo>>();
    send::<Sessions>();
    sync::<Sessions>();
    object(None);
}
