//! What commands cost a cluster: entries of the log, and fsyncs.

use std::{collections::BTreeMap, time::Duration};

use zraft_protocol::{
    Capabilities, ClientMessage, Nonce, Payload, RequestId, ServerMessage, Timestamp,
};
use zraft_replica::{ConnectionId, Limits};
use zraft_store::StoreError;

use super::cluster::{Cluster, LATENCY, Told};

/// What a number of commands cost.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// The commands that were answered.
    pub commands: u64,
    /// The entries that the log grew by.
    pub entries: u64,
    /// The fsyncs of all members together.
    pub syncs: u64,
    /// The bytes that all members wrote to their disks.
    pub bytes: u64,
}

/// How commands come.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// The sessions, one client each.
    pub sessions: u64,
    /// Commands in flight of each session.
    pub window: u64,
    /// Commands of each session.
    pub commands: u64,
    /// How often each command is sent before it is answered. It is sent once more after that.
    pub copies: u64,
}

/// A client that sends each command several times.
#[derive(Debug, Default)]
struct Client {
    sent: u64,
    /// The answers to each command.
    answered: BTreeMap<u64, u64>,
    /// Everything up to this id was answered.
    settled: u64,
}

struct Run {
    cluster: Cluster,
    load: Load,
    clients: BTreeMap<ConnectionId, Client>,
    /// Messages on their way to the leader.
    under_way: BTreeMap<(Duration, ConnectionId), Vec<ClientMessage>>,
}

fn request(id: u64) -> RequestId {
    RequestId::new(id).expect("ids of a run are small")
}

/// Counts what commands cost a new cluster of three, in virtual time.
///
/// # Errors
/// Never on a sound store.
///
/// # Panics
/// If a command is not answered.
pub fn cost(load: Load, seed: u64) -> Result<Cost, StoreError> {
    let limits = Limits { snapshot_after: u64::MAX / 8, ..Limits::default() };
    let cluster = Cluster::new(3, seed, limits)?;
    let (clients, under_way) = (BTreeMap::new(), BTreeMap::new());
    let mut run = Run { cluster, load, clients, under_way };
    run.until(|run| run.cluster.serving().is_some());
    let leader = run.cluster.serving().expect("it serves");
    for _ in 0..load.sessions {
        let connection = run.cluster.connect(leader).expect("the leader runs");
        let capabilities = Capabilities::new([("kind".to_owned(), "bench".to_owned())]);
        let capabilities = capabilities.expect("they are few and short");
        let nonce = Nonce::new(1).expect("it is not 0");
        run.cluster.say(connection, [ClientMessage::CreateSession { capabilities, nonce }]);
        run.until(|run| run.clients.contains_key(&connection));
    }
    // The first entries of the term and the sessions are not the commands' cost.
    run.rest(Duration::from_millis(100));
    let before = run.used();
    let connections: Vec<_> = run.clients.keys().copied().collect();
    for connection in connections {
        run.submit(connection);
    }
    let all = load.sessions * load.commands;
    run.until(|run| run.clients.values().map(|client| client.settled).sum::<u64>() == all);
    run.rest(Duration::from_millis(20));
    let after = run.used();
    let answers = run.clients.values().flat_map(|client| client.answered.values());
    assert!(answers.min().is_some_and(|answers| *answers >= 2), "a copy got no answer");
    Ok(Cost {
        commands: all,
        entries: after.entries - before.entries,
        syncs: after.syncs - before.syncs,
        bytes: after.bytes - before.bytes,
    })
}

impl Run {
    fn used(&self) -> Cost {
        let usage = self.cluster.usage();
        let leader = self.cluster.serving().and_then(|leader| self.cluster.replica(leader));
        Cost {
            commands: 0,
            entries: leader.map_or(0, zraft_replica::Replica::last_index),
            syncs: usage.iter().map(|usage| usage.syncs).sum(),
            bytes: usage.iter().map(|usage| usage.bytes).sum(),
        }
    }

    fn rest(&mut self, duration: Duration) {
        let end = self.cluster.now() + duration;
        self.until(|run| run.cluster.now() >= end);
    }

    /// Lets time pass until something is so.
    fn until(&mut self, is: impl Fn(&Self) -> bool) {
        let end = self.cluster.now() + Duration::from_secs(60);
        while !is(self) {
            let client = self.under_way.keys().next().map(|(at, _)| *at);
            let next = [self.cluster.next_event(), client].into_iter().flatten().min();
            let next = next.filter(|next| *next < end).expect("not within a minute");
            self.cluster.step(next);
            let now = self.cluster.now();
            while let Some(due) = self.under_way.first_entry().filter(|due| due.key().0 <= now) {
                let ((_, connection), messages) = due.remove_entry();
                self.cluster.say(connection, messages);
            }
            self.hear();
        }
    }

    fn hear(&mut self) {
        for (connection, told) in self.cluster.take_told() {
            match told {
                Told::Message(ServerMessage::SessionCreated { .. }) => {
                    self.clients.insert(connection, Client::default());
                }
                Told::Message(ServerMessage::ClientResponse { request_id, .. }) => {
                    let id = request_id.get();
                    let client = self.clients.get_mut(&connection).expect("it has a session");
                    let answers = client.answered.entry(id).or_default();
                    *answers += 1;
                    let first = *answers == 1;
                    while client.answered.contains_key(&(client.settled + 1)) {
                        client.settled += 1;
                    }
                    if first {
                        self.send(connection, id);
                        self.submit(connection);
                    }
                }
                told => panic!("the leader goes on leading: {told:?}"),
            }
        }
    }

    /// Fills a client's window.
    fn submit(&mut self, connection: ConnectionId) {
        let client = &self.clients[&connection];
        let open = client.sent - client.answered.len() as u64;
        let more = (self.load.window - open).min(self.load.commands - client.sent);
        for _ in 0..more {
            let Some(client) = self.clients.get_mut(&connection) else { return };
            client.sent += 1;
            let id = client.sent;
            for _ in 0..self.load.copies {
                self.send(connection, id);
            }
        }
    }

    /// Sends a command. It takes the answer's way back and its own way there.
    fn send(&mut self, connection: ConnectionId, id: u64) {
        let at = self.cluster.now() + 2 * LATENCY;
        let message = ClientMessage::ClientRequest {
            request_id: request(id),
            lowest_pending_request_id: request((self.clients[&connection].settled + 1).min(id)),
            payload: Payload::new(vec![7; 64]).expect("64 bytes are a payload"),
            created_at: Timestamp::from_millis(1),
        };
        self.under_way.entry((at, connection)).or_default().push(message);
    }
}
