//! The incidents that the engine reports.

use zraft_protocol::CorrelationId;
use zraft_test_server::{AppendLog, ClosedFor, Incident, KillLoss, KvStore, Rejected};

use crate::engine::rig::{Rig, config, id, member_ids, ms, payload, secs};

fn taken(rig: &mut Rig) -> Vec<Incident> {
    std::mem::take(&mut rig.incidents)
}

fn closed(session: Option<u64>, reason: ClosedFor) -> Incident {
    let member = member_ids(1).remove(0);
    Incident::ConnectionClosed { member, address: None, session, reason }
}

fn undecodable() -> Rejected {
    Rejected::without_answer().because("the application cannot decode this payload")
}

#[test]
fn undecodable_command_is_reported_with_its_session_and_id() {
    let mut rig = Rig::with(config(1), KvStore::new());
    rig.session();
    let (peer, _) = rig.session();
    rig.command_of(peer, 7, 7, payload(b"not a command"));
    rig.commit();
    let reason = ClosedFor::RejectedCommand { request_id: id(7), rejected: undecodable() };
    let incidents = taken(&mut rig);
    assert_eq!(incidents, [closed(Some(2), reason)]);
    assert_eq!(
        incidents[0].to_string(),
        "node-1 closed a connection (session 2): command 7 was refused: the application cannot decode this payload"
    );
}

#[test]
fn undecodable_query_is_reported_in_one_line() {
    let mut rig = Rig::with(config(1), KvStore::new());
    let (peer, _) = rig.session();
    rig.query(peer, "line\nbreak", payload(b"not a query"));
    rig.commit();
    let correlation_id = CorrelationId::new("line\nbreak").expect("short");
    let reason = ClosedFor::RejectedQuery { correlation_id, rejected: undecodable() };
    let incidents = taken(&mut rig);
    assert_eq!(incidents, [closed(Some(1), reason)]);
    assert!(!incidents[0].to_string().contains(char::is_control), "{}", incidents[0]);
}

#[test]
fn undecodable_message_is_reported() {
    let mut rig = Rig::new(1);
    let peer = rig.connect(1);
    rig.engine.received_undecodable(rig.now, peer);
    rig.after(ms(0));
    assert_eq!(taken(&mut rig), [closed(None, ClosedFor::UndecodableMessage)]);
}

#[test]
fn limit_that_closes_a_connection_is_reported_by_its_name() {
    type Set = fn(&mut zraft_test_server::Limits);
    let limits: [(&str, Set); 7] = [
        ("sessions", |limits| limits.sessions = 1),
        ("log_entries", |limits| limits.log_entries = 10),
        ("log_bytes", |limits| limits.log_bytes = 100),
        ("cached_answers", |limits| limits.cached_answers = 10),
        ("cached_bytes", |limits| limits.cached_bytes = 80),
        ("server_requests", |limits| limits.server_requests = 10),
        ("server_request_bytes", |limits| limits.server_request_bytes = 100),
    ];
    for (name, set) in limits {
        let mut config = config(1);
        set(&mut config.limits);
        let mut rig = Rig::with(config, AppendLog::new());
        let (peer, session) = rig.session();
        if name == "sessions" {
            let greedy = rig.connect(1);
            rig.create(greedy);
        }
        for number in 1..=15 {
            if name.starts_with("server_") {
                // The caller gets an error. This test is about the report.
                let _ = rig.engine.push_server_request(rig.now, &session, &payload(b"10 bytes.."));
            } else {
                rig.command_of(peer, number, 1, payload(b"10 bytes.."));
            }
        }
        rig.commit();
        let incidents = taken(&mut rig);
        let session = (name != "sessions").then_some(1);
        assert_eq!(incidents, [closed(session, ClosedFor::Limit(name))], "{name}");
        assert!(incidents[0].to_string().contains(name), "{}", incidents[0]);
    }
}

#[test]
fn connection_beyond_the_limit_of_a_member_is_reported() {
    let mut config = config(1);
    config.limits.peers_per_member = 1;
    let mut rig = Rig::with(config, AppendLog::new());
    rig.connect(1);
    let one = rig.member(1);
    assert!(rig.engine.connected(rig.now, one).is_none());
    rig.after(ms(0));
    let (member, limit) = (member_ids(1).remove(0), "peers_per_member");
    let refused = Incident::ConnectionRefused { member, address: None, limit };
    assert_eq!(taken(&mut rig), [refused]);
}

#[test]
fn loss_of_a_leader_and_election_of_the_next_are_reported() {
    let mut rig = Rig::new(3);
    rig.after(secs(1));
    assert_eq!(taken(&mut rig), [], "the first leader is not a change");
    let ids = member_ids(3);
    let change = [
        Incident::LeaderLost { member: ids[0].clone() },
        Incident::LeaderElected { member: ids[1].clone() },
    ];
    rig.engine.kill(rig.now, rig.member(1), KillLoss::Unanswered).expect("it runs");
    rig.after(secs(1));
    assert_eq!(taken(&mut rig), change);
    assert_eq!(change[1].to_string(), "node-2 leads now");
    rig.engine.step_down_for(rig.now, None).expect("one leads");
    rig.after(secs(1));
    let change = [
        Incident::LeaderLost { member: ids[1].clone() },
        Incident::LeaderElected { member: ids[2].clone() },
    ];
    assert_eq!(taken(&mut rig), change);
    // A frozen leader does not learn that another member is elected.
    let restarted = rig.member(1);
    rig.engine.restart(rig.now, restarted).expect("it is down");
    rig.engine.set_frozen(rig.now, rig.member(3), true).expect("it runs");
    rig.after(secs(1));
    assert_eq!(taken(&mut rig), [Incident::LeaderElected { member: ids[0].clone() }]);
}

#[test]
fn expired_session_is_reported_and_closed_session_is_not() {
    let mut rig = Rig::new(1);
    let (closing, _) = rig.session();
    rig.session();
    rig.close_session(closing);
    rig.after(secs(100));
    let incidents = taken(&mut rig);
    assert_eq!(incidents, [Incident::SessionExpired { session: 2 }]);
    assert_eq!(incidents[0].to_string(), "session 2 expired");
}
