//! The network: all connections, the paths between clients and members, and the members' ports.

use std::collections::BTreeMap;

use zraft_core::{ConnId, Instant};
use zraft_zmtp::{Config, Connection};

use crate::{
    random::Rng,
    world::{
        pipe::{Pipe, Way},
        system::Listening,
    },
};

/// Numbers the connections of a run, over all clients.
pub(crate) type Line = u64;

/// The member's end of a connection.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) zmtp: Connection,
    /// The process accepted it from its backlog.
    pub(crate) accepted: bool,
    /// The system takes its messages.
    pub(crate) known: bool,
    pub(crate) reading: bool,
    pub(crate) over: bool,
    pub(crate) armed: Option<Instant>,
    pub(crate) hostile: Hostile,
}

/// What a member does to a connection on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hostile {
    No,
    /// It reads nothing, and sends a PONG now and then.
    NotReading,
    /// It sends one message, a byte now and then, and nothing else.
    Trickles,
    /// It continued a session that it does not serve.
    Captor,
}

#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) client: usize,
    pub(crate) id: ConnId,
    pub(crate) member: usize,
    /// TCP's handshake is complete.
    pub(crate) open: bool,
    pub(crate) up: Pipe,
    pub(crate) down: Pipe,
    /// The client has closed its socket. Its driver may still read from it.
    pub(crate) closed: bool,
    /// The client has read the end of the stream.
    pub(crate) told: bool,
    /// No bytes pass in either direction, and neither end is told.
    pub(crate) half_open: bool,
    /// No bytes pass from the member to the client.
    pub(crate) held_back: bool,
    pub(crate) served: Served,
}

impl Conn {
    pub(crate) fn new(
        client: usize,
        id: ConnId,
        member: usize,
        capacity: usize,
        now: Instant,
    ) -> Self {
        Self {
            client,
            id,
            member,
            open: false,
            up: Pipe::new(capacity),
            down: Pipe::new(capacity),
            closed: false,
            told: false,
            half_open: false,
            held_back: false,
            served: Served {
                zmtp: Connection::new(Config::server(), now),
                accepted: false,
                known: false,
                reading: true,
                over: false,
                armed: None,
                hostile: Hostile::No,
            },
        }
    }
}

/// The path between a client and a member.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Path {
    pub(crate) up: Way,
    pub(crate) down: Way,
    /// The port refuses, even if the process listens.
    pub(crate) refused: bool,
}

/// A member's port.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Port {
    pub(crate) listening: Listening,
    /// The port accepts connections, but the process does not.
    pub(crate) silent: bool,
}

#[derive(Debug)]
pub(crate) struct Net {
    pub(crate) conns: BTreeMap<Line, Conn>,
    /// The paths by client, then by member.
    pub(crate) paths: Vec<Vec<Path>>,
    pub(crate) healthy: Path,
    pub(crate) ports: Vec<Port>,
    pub(crate) rng: Rng,
    pub(crate) capacity: usize,
    /// How many connections were attempted at each member.
    pub(crate) opened: Vec<usize>,
    lines: Line,
}

impl Net {
    pub(crate) fn new(
        clients: usize,
        members: usize,
        healthy: Path,
        capacity: usize,
        rng: Rng,
    ) -> Self {
        Self {
            conns: BTreeMap::new(),
            paths: vec![vec![healthy; members]; clients],
            healthy,
            ports: vec![Port { listening: Listening::Open, silent: false }; members],
            rng,
            capacity,
            opened: vec![0; members],
            lines: 0,
        }
    }

    pub(crate) fn add(&mut self, client: usize, id: ConnId, member: usize, now: Instant) -> Line {
        self.lines += 1;
        self.opened[member] += 1;
        let conn = Conn::new(client, id, member, self.capacity, now);
        self.conns.insert(self.lines, conn);
        self.lines
    }

    pub(crate) fn path(&self, client: usize, member: usize) -> &Path {
        &self.paths[client][member]
    }

    /// Returns the connections between these two; `None` means all clients or members.
    pub(crate) fn lines(&self, client: Option<usize>, member: Option<usize>) -> Vec<Line> {
        let wanted = |conn: &Conn| {
            client.is_none_or(|client| client == conn.client)
                && member.is_none_or(|member| member == conn.member)
        };
        self.conns.iter().filter(|(_, conn)| wanted(conn)).map(|(line, _)| *line).collect()
    }

    /// Forgets a connection that neither end needs any more.
    pub(crate) fn forget(&mut self, line: Line) {
        if self
            .conns
            .get(&line)
            .is_some_and(|conn| conn.closed && conn.served.over && conn.down.is_empty())
        {
            self.conns.remove(&line);
        }
    }
}
