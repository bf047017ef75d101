//! The cluster by itself, with a client that only sends commands and resumes.

use std::{collections::BTreeMap, time::Duration};

use zraft_core::Instant;
use zraft_protocol::{
    Capabilities, ClientMessage, CorrelationId, Nonce, Payload, RejectionReason, RequestId,
    ServerMessage, SessionId, Timestamp,
};
use zraft_replica::{
    Configuration, ConnectionId, Limits, Output as Wanted, SnapshotFile, SnapshotMeta,
};
use zraft_session::Settings;

use super::{Cluster, ClusterPlan, DiskFault, Output, Task, application::Rules};
use crate::{random::Rng, world::trace::ORIGIN};

const MS: Duration = Duration::from_millis(1);

struct Drive {
    cluster: Cluster,
    now: Instant,
    received: BTreeMap<ConnectionId, Vec<ServerMessage>>,
    /// The client's connection, while it is open.
    connection: Option<ConnectionId>,
    session: Option<SessionId>,
    requests: u64,
    queries: u64,
}

impl Drive {
    fn new(plan: ClusterPlan) -> Self {
        Self {
            cluster: Cluster::new(plan, ORIGIN, false),
            now: ORIGIN,
            received: BTreeMap::new(),
            connection: None,
            session: None,
            requests: 0,
            queries: 0,
        }
    }

    fn carry_out(&mut self) {
        while let Some(output) = self.cluster.poll_output() {
            match output {
                Output::Send { peer, message } => {
                    self.received.entry(peer).or_default().push(message);
                }
                Output::Close { peer, .. } if self.connection == Some(peer) => {
                    self.connection = None;
                }
                _ => {}
            }
        }
    }

    fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        self.carry_out();
        while let Some(next) = self.cluster.poll_timeout().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.cluster.handle_timeout(self.now);
            self.carry_out();
            assert!(self.cluster.violation.is_none(), "{:?}", self.cluster.violation);
        }
        self.now = end;
    }

    fn until(&mut self, what: &str, mut is: impl FnMut(&Cluster) -> bool) {
        for _ in 0..6_000 {
            if is(&self.cluster) {
                return;
            }
            self.run(5 * MS);
        }
        panic!("not within 30 s: {what}");
    }

    fn leader(&mut self) -> usize {
        self.until("a member serves", |cluster| cluster.leader().is_some());
        self.cluster.leader().unwrap()
    }

    fn settle(&mut self) {
        self.cluster.heal(self.now);
        self.until("the cluster settles", Cluster::is_settled);
        self.cluster.finish(self.now);
        assert!(self.cluster.violation.is_none(), "{:?}", self.cluster.violation);
    }

    /// Connects to the leader with a session, a new one at first.
    fn connect(&mut self) -> ConnectionId {
        loop {
            let leader = self.leader();
            let Some(connection) = self.cluster.connected(self.now, leader) else {
                self.run(20 * MS);
                continue;
            };
            self.connection = Some(connection);
            let nonce = Nonce::new(7).unwrap();
            let message = match &self.session {
                Some(session) => {
                    ClientMessage::ContinueSession { session_id: session.clone(), nonce }
                }
                None => {
                    let entries = [("kind".to_owned(), "test".to_owned())];
                    let capabilities = Capabilities::new(entries).unwrap();
                    ClientMessage::CreateSession { capabilities, nonce }
                }
            };
            self.cluster.received(self.now, connection, message);
            for _ in 0..100 {
                self.run(5 * MS);
                for message in self.received.remove(&connection).unwrap_or_default() {
                    match message {
                        ServerMessage::SessionCreated { session_id, .. } => {
                            self.session = Some(session_id);
                            return connection;
                        }
                        ServerMessage::SessionContinued { .. } => return connection,
                        ServerMessage::SessionRejected { reason, .. } => {
                            assert_eq!(reason, RejectionReason::NotLeader, "the session lives");
                        }
                        _ => {}
                    }
                }
                if self.connection.is_none() {
                    break;
                }
            }
            self.hang_up();
            self.run(5 * MS);
        }
    }

    fn hang_up(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.cluster.disconnected(self.now, connection);
        }
    }

    /// Sends a command until it is answered, and returns its position in the ledger.
    fn command(&mut self, text: &str) -> u64 {
        self.requests += 1;
        let request = self.requests;
        self.again(request, text)
    }

    fn again(&mut self, request: u64, text: &str) -> u64 {
        for _ in 0..50 {
            let connection = match self.connection {
                Some(connection) => connection,
                None => self.connect(),
            };
            let message = ClientMessage::ClientRequest {
                request_id: RequestId::new(request).unwrap(),
                lowest_pending_request_id: RequestId::new(request).unwrap(),
                payload: Payload::new(text.to_owned()).unwrap(),
                created_at: Timestamp::from_millis(0),
            };
            self.cluster.received(self.now, connection, message);
            for _ in 0..200 {
                self.run(5 * MS);
                for message in self.received.remove(&connection).unwrap_or_default() {
                    if let ServerMessage::ClientResponse { request_id, result } = message
                        && request_id.get() == request
                    {
                        return u64::from_be_bytes(result[..].try_into().unwrap());
                    }
                }
                if self.connection.is_none() {
                    break;
                }
            }
            self.hang_up();
        }
        panic!("command {request} is not answered");
    }

    fn length(&mut self) -> u64 {
        loop {
            let connection = match self.connection {
                Some(connection) => connection,
                None => self.connect(),
            };
            self.queries += 1;
            let correlation = format!("q{}", self.queries);
            let message = ClientMessage::Query {
                correlation_id: CorrelationId::new(correlation).unwrap(),
                payload: Payload::default(),
                created_at: Timestamp::from_millis(0),
            };
            self.cluster.received(self.now, connection, message);
            self.run(500 * MS);
            for message in self.received.remove(&connection).unwrap_or_default() {
                if let ServerMessage::QueryResponse { result, .. } = message {
                    return u64::from_be_bytes(result[..].try_into().unwrap());
                }
            }
            self.hang_up();
        }
    }

    fn commands(&mut self, count: usize) {
        for _ in 0..count {
            let text = format!("command {}", self.requests + 1);
            self.command(&text);
        }
    }
}

fn calm() -> Drive {
    Drive::new(ClusterPlan::calm(7))
}

/// A cluster that takes a snapshot every few commands.
fn with_snapshots(seed: u64) -> Drive {
    let mut plan = ClusterPlan::calm(seed);
    plan.limits = Limits { snapshot_after: 500, ..Limits::default() };
    Drive::new(plan)
}

#[test]
fn a_cluster_elects_serves_and_restarts_from_its_disks() {
    let mut drive = calm();
    for at in 0..20 {
        assert_eq!(drive.command(&format!("command {at}")), at);
    }
    for place in 0..3 {
        drive.cluster.crash(drive.now, place);
    }
    assert_eq!(drive.cluster.leader(), None);
    drive.carry_out();
    for place in 0..3 {
        drive.cluster.start(drive.now, place);
    }
    assert_eq!(drive.again(20, "command 19"), 19, "the answer is cached");
    assert_eq!(drive.command("one more"), 20);
    assert_eq!(drive.length(), 21);
    drive.settle();
    assert_eq!(drive.cluster.journal().len(), 21);
}

#[test]
fn the_leader_is_replaced_after_each_kind_of_end() {
    let mut drive = calm();
    for end in 0..3 {
        drive.commands(3);
        let leader = drive.leader();
        match end {
            0 => drive.cluster.crash(drive.now, leader),
            1 => drive.cluster.kill(drive.now, leader),
            _ => drive.cluster.stop(drive.now, leader),
        }
        drive.commands(3);
        assert!(!drive.cluster.is_running(leader));
        drive.cluster.start(drive.now, leader);
        drive.run(300 * MS);
    }
    drive.settle();
    assert_eq!(drive.cluster.journal().len(), 18);
}

#[test]
fn a_leader_that_stands_still_is_replaced_and_follows_when_it_goes_on() {
    for suspended in [false, true] {
        let mut drive = calm();
        drive.commands(3);
        let leader = drive.leader();
        drive.cluster.freeze(drive.now, leader, suspended);
        drive.hang_up();
        drive.run(1_000 * MS);
        assert_ne!(drive.leader(), leader);
        drive.commands(3);
        drive.cluster.thaw(drive.now, leader);
        drive.commands(3);
        drive.settle();
        assert_eq!(drive.cluster.journal().len(), 9);
    }
}

#[test]
fn a_leader_whose_disk_stalls_hands_over() {
    let mut drive = calm();
    drive.commands(3);
    let leader = drive.leader();
    drive.cluster.stall_disk(drive.now, leader);
    drive.commands(3);
    drive.run(3_000 * MS);
    assert_ne!(drive.leader(), leader);
    drive.cluster.mend_disk(drive.now, leader);
    drive.commands(3);
    drive.settle();
}

#[test]
fn a_member_whose_disk_fails_ends_and_starts_again() {
    let faults = [
        DiskFault::FailingSync(0),
        DiskFault::FailingWrite(2),
        DiskFault::Full(0),
        DiskFault::Dead(5),
    ];
    for fault in faults {
        for of_leader in [false, true] {
            let mut drive = with_snapshots(8);
            drive.commands(3);
            let leader = drive.leader();
            let place = if of_leader { leader } else { (leader + 1) % 3 };
            drive.cluster.disk_fault(drive.now, place, fault);
            for at in 0..200 {
                drive.command(&format!("{at}"));
                if !drive.cluster.is_running(place) {
                    break;
                }
            }
            assert!(!drive.cluster.is_running(place), "{fault:?} was met");
            drive.commands(3);
            drive.settle();
            assert!(drive.cluster.is_running(place));
        }
    }
}

#[test]
fn a_leader_cut_off_in_either_direction_is_replaced() {
    for (out, back) in [(true, true), (true, false), (false, true)] {
        let mut drive = calm();
        drive.commands(3);
        let leader = drive.leader();
        for other in (0..3).filter(|other| *other != leader) {
            drive.cluster.block(drive.now, leader, other, out);
            drive.cluster.block(drive.now, other, leader, back);
        }
        drive.run(2_000 * MS);
        drive.hang_up();
        drive.commands(3);
        assert_ne!(drive.leader(), leader, "{out} {back}");
        drive.settle();
    }
}

#[test]
fn connections_between_members_that_are_reset_lose_nothing_that_matters() {
    let mut plan = ClusterPlan::calm(9);
    (plan.link.reset, plan.link.duplicate, plan.link.jitter) = (20, 20, MS);
    let mut drive = Drive::new(plan);
    for at in 0..30 {
        drive.cluster.reset_connections(drive.now, at % 3, (at + 1) % 3);
        drive.commands(1);
    }
    drive.settle();
    assert_eq!(drive.cluster.journal().len(), 30);
}

#[test]
fn way_that_opens_after_the_faults_loses_no_connection() {
    let mut plan = ClusterPlan::calm(9);
    (plan.link.reset, plan.link.duplicate) = (20, 20);
    let mut drive = Drive::new(plan);
    drive.cluster.heal(drive.now);
    drive.cluster.open_ways(drive.now);
    let link = *drive.cluster.peers.link(0, 1);
    assert_eq!((link.reset, link.duplicate), (0, 0));
}

#[test]
fn a_member_that_lags_gets_a_snapshot() {
    let mut drive = with_snapshots(10);
    let behind = (drive.leader() + 1) % 3;
    drive.cluster.kill(drive.now, behind);
    drive.commands(60);
    drive.cluster.start(drive.now, behind);
    drive.commands(5);
    drive.settle();
    assert!(drive.cluster.facts.snapshots_taken > 3);
    assert!(drive.cluster.facts.snapshots_restored > 0);
}

#[test]
fn a_member_that_lost_its_disk_comes_back_as_a_new_one() {
    let mut drive = with_snapshots(11);
    drive.commands(10);
    let place = drive.leader();
    let id = drive.cluster.members[place].id;
    drive.cluster.wipe(drive.now, place);
    drive.cluster.order(drive.now, Task::Rejoin { place });
    drive.commands(20);
    drive.settle();
    assert!(drive.cluster.is_running(place));
    assert_ne!(drive.cluster.members[place].id, id);
    assert_eq!(drive.cluster.facts.membership_changes, 1);
}

#[test]
fn members_are_added_replaced_and_removed_while_commands_run() {
    let mut drive = with_snapshots(12);
    let leader = drive.leader();
    let tasks = [
        Task::Add { place: 3 },
        Task::Add { place: 4 },
        Task::Replace { old: (leader + 1) % 3, new: 5 },
        Task::Remove { place: leader },
    ];
    for task in tasks {
        drive.cluster.order(drive.now, task);
        drive.commands(20);
    }
    drive.settle();
    assert_eq!(drive.cluster.facts.membership_changes, 4);
    assert!(!drive.cluster.is_running(leader) && drive.cluster.is_running(5));
    assert!(drive.cluster.is_empty(leader));
}

#[test]
fn the_operator_hands_over_changes_settings_and_ends_sessions() {
    let mut drive = calm();
    drive.commands(3);
    let leader = drive.leader();
    let to = (leader + 1) % 3;
    drive.cluster.order(drive.now, Task::HandOver { to: Some(to) });
    drive.until("the next member leads", |cluster| cluster.leader() == Some(to));
    let settings = Settings { cached_answers: 5, application_level: 1, ..Settings::default() };
    let settings = Box::new(settings.check().unwrap());
    drive.cluster.order(drive.now, Task::Settings(settings));
    drive.commands(3);
    let session = drive.session.take().unwrap();
    drive.cluster.order(drive.now, Task::EndSession(session));
    drive.until("the operator is done", |cluster| cluster.tasks() == 0);
    drive.run(100 * MS);
    assert_eq!(drive.connection, None, "the client was told");
    drive.requests = 0;
    drive.commands(3);
    drive.settle();
    for member in drive.cluster.members.iter().filter_map(|member| member.process.as_ref()) {
        assert_eq!(member.replica.view().settings.cached_answers, 5);
    }
}

#[test]
fn wall_clocks_that_jump_and_slow_members_change_no_answer() {
    let mut drive = calm();
    for (at, millis) in [(0, 60_000), (1, -60_000), (2, 5_000)] {
        drive.cluster.jump_wall(drive.now, at, millis);
        drive.cluster.slow_disk(drive.now, at, 20);
        drive.cluster.slow_jobs(drive.now, at, 500);
        drive.commands(5);
    }
    drive.settle();
    assert_eq!(drive.cluster.journal().len(), 15);
}

#[test]
fn the_ledger_rejects_and_pushes_as_its_rules_say() {
    let mut plan = ClusterPlan::calm(13);
    plan.rules = Rules { push_own: 40, push_other: 40, tick: 30, ..Rules::default() };
    let mut drive = Drive::new(plan);
    drive.commands(30);
    drive.run(3_000 * MS);
    let session = drive.session.clone().unwrap();
    let pushed = drive.cluster.pushed(session.as_str());
    for kind in ["own", "other", "tick"] {
        assert!(pushed.iter().any(|payload| payload.starts_with(kind.as_bytes())), "{kind}");
    }
    drive.settle();
}

#[test]
fn a_leader_whose_disk_is_nearly_full_hands_over_and_commands_wait_while_all_are() {
    let mut drive = calm();
    drive.commands(3);
    let leader = drive.leader();
    drive.cluster.fill_disk(drive.now, leader, 0);
    drive.commands(3);
    assert_ne!(drive.leader(), leader);
    for place in 0..3 {
        drive.cluster.fill_disk(drive.now, place, 0);
    }
    assert_eq!(drive.length(), 6, "queries are answered");
    for place in 0..3 {
        drive.cluster.mend_disk(drive.now, place);
    }
    drive.commands(3);
    drive.settle();
}

#[test]
fn a_file_that_begins_while_the_disk_works_on_another_is_a_violation() {
    let file = |index| {
        let configuration = Configuration::default();
        let meta = SnapshotMeta { index, term: 1, configuration };
        Box::new(SnapshotFile { meta, bytes: 2, hash: [0; 16] })
    };
    for verifies in [false, true] {
        let mut drive = calm();
        drive.cluster.carry_out(0, Wanted::BeginSnapshot(file(5)));
        let part = Wanted::WriteSnapshot { index: 5, offset: 0, data: "ab".into() };
        drive.cluster.carry_out(0, part);
        if verifies {
            drive.run(1_000 * MS);
            drive.cluster.carry_out(0, Wanted::VerifySnapshot(file(5)));
        }
        assert!(drive.cluster.violation.is_none());
        drive.cluster.carry_out(0, Wanted::BeginSnapshot(file(6)));
        let rule = drive.cluster.violation.as_ref().map(|violation| violation.rule);
        assert_eq!(rule, Some("a member handles one part of a snapshot's file at a time"));
    }
}

/// A run in which everything strikes a cluster that serves one client.
fn eventful(seed: u64) -> Cluster {
    let mut rng = Rng::new(seed);
    let mut drive =
        Drive::new(ClusterPlan { rules: Rules::default(), ..ClusterPlan::draw(&mut rng) });
    for _ in 0..8 {
        drive.commands(2);
        let (now, place) = (drive.now, rng.index(drive.cluster.plan.voters));
        let other = (place + 1) % drive.cluster.plan.voters;
        let cluster = &mut drive.cluster;
        match rng.below(14) {
            0 => cluster.crash(now, place),
            1 => cluster.freeze(now, place, false),
            2 => cluster.freeze(now, place, true),
            3 => cluster.block(now, place, other, true),
            4 => cluster.kill(now, place),
            5 => cluster.stop(now, place),
            6 => cluster.stall_disk(now, place),
            7 => cluster.disk_fault(now, place, DiskFault::FailingSync(rng.below(4))),
            8 => cluster.disk_fault(now, place, DiskFault::Dead(rng.below(40))),
            9 => cluster.fill_disk(now, place, 0),
            10 => cluster.jump_wall(now, place, 30_000),
            11 => cluster.order(now, Task::HandOver { to: Some(place) }),
            12 => cluster.slow_disk(now, place, 10),
            _ => cluster.reset_connections(now, place, other),
        }
        drive.run(rng.millis(0, 500));
        drive.hang_up();
        drive.cluster.heal(drive.now);
    }
    drive.settle();
    drive.cluster
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    for seed in 1..4 {
        let (first, second) = (eventful(seed), eventful(seed));
        assert_eq!(first.trace.hash(), second.trace.hash(), "seed {seed}");
        assert_eq!(first.now, second.now);
    }
    assert_ne!(eventful(1).trace.hash(), eventful(2).trace.hash());
}
