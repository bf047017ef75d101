//! The cluster by itself, with a client that only sends commands and resumes.

mod answers;
mod disks;
mod losses;
mod network;
mod operator;

use std::{collections::BTreeMap, time::Duration};

use zraft_core::Instant;
use zraft_protocol::{
    Capabilities, ClientMessage, CorrelationId, Nonce, Payload, RejectionReason, RequestId,
    ServerMessage, SessionId, Timestamp,
};
use zraft_replica::{ConnectionId, Limits};

use super::{Cluster, ClusterPlan, Output};
use crate::world::trace::ORIGIN;

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
