//! The journal of executed commands.

use zraft_test_server::{AppendLog, Execution};

use crate::engine::rig::{Rig, config, id, member_ids, ms, payload};

#[test]
fn execution_has_position_session_request_payload_and_member() {
    let mut rig = Rig::new(3);
    let (peer, session) = rig.session();
    rig.command_of(peer, 1, 1, payload(b"one"));
    rig.commit();
    rig.engine.step_down_for(rig.now, None).expect("a leader");
    rig.after(ms(100));
    let peer = rig.resumed(&session);
    rig.command_of(peer, 2, 2, payload(b"two"));
    rig.commit();
    let expected =
        [(0, 1, b"one", 0), (1, 2, b"two", 1)].map(|(position, number, text, member)| Execution {
            position,
            session: session.clone(),
            request_id: id(number),
            payload: payload(text),
            member: member_ids(3)[member].clone(),
        });
    let journal: Vec<_> = rig.engine.journal().iter().cloned().collect();
    assert_eq!(journal, expected);
}

#[test]
fn oldest_executions_are_dropped_at_the_limit_and_counted() {
    for (entries, bytes) in [(10, usize::MAX), (usize::MAX, 100)] {
        let mut config = config(1);
        config.limits.journal_entries = entries;
        config.limits.journal_bytes = bytes;
        let mut rig = Rig::with(config, AppendLog::new());
        let (peer, _) = rig.session();
        for number in 1..=25 {
            rig.command_of(peer, number, number, payload(b"10 bytes.."));
        }
        rig.commit();
        let journal = rig.engine.journal();
        assert_eq!((journal.executed(), journal.dropped(), journal.len()), (25, 15, 10));
        assert_eq!(journal.iter().next().map(|execution| execution.position), Some(15));
    }
}
