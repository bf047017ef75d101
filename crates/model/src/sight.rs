//! What can be seen of a world, without what cannot matter: times, nonces, the numbers of connections.

use bytes::Bytes;
use zraft_core::{Failure, StateName};
use zraft_protocol::{ClientMessage, ServerMessage};

use crate::world::{World, payload};

/// How a command ended for its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fate {
    /// With its answer, which says its place in the order of execution.
    Answered(u64),
    /// It never ran and never will.
    NotExecuted,
    /// Nobody knows.
    Unknown,
    /// The server gave its answer up.
    Evicted,
}

impl Fate {
    pub(crate) fn of(result: &Result<Bytes, Failure>) -> Self {
        match result {
            Ok(answer) => {
                Self::Answered(answer.first_chunk().map_or(u64::MAX, |at| u64::from_be_bytes(*at)))
            }
            Err(Failure::ResponseEvicted { .. }) => Self::Evicted,
            Err(failure) if failure.maybe_executed() => Self::Unknown,
            Err(_) => Self::NotExecuted,
        }
    }
}

/// A message on its way, without its times and nonces.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Seen {
    /// A command: its id, its lowest pending id, which command it is.
    Command(u64, u64, usize),
    /// An answer: its id and where it was executed.
    Answer(u64, u64),
    /// Anything else, by its name.
    Other(&'static str),
}

/// What can be seen.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Sight {
    /// The client's state.
    pub state: &'static str,
    /// The member it is connected to.
    pub member: Option<String>,
    /// Requests in its hands: queued, in flight, detached.
    pub held: (u64, u64, u64),
    /// Of each command, what its caller was told, and what became of it in the end.
    pub fates: Vec<(Option<Fate>, Option<Fate>)>,
    /// On the way to the server, oldest first.
    pub to_server: Vec<Seen>,
    /// On the way to the client, oldest first.
    pub to_client: Vec<Seen>,
    /// Ids that went on the present connection: how often, and whether time has passed since the last time.
    pub sent: Vec<(u64, usize, bool)>,
    /// Connections that carried commands and ended without an answer.
    pub barren: usize,
    /// The connection speaks for a session at its member.
    pub bound: bool,
    /// The leader.
    pub leader: Option<String>,
    /// Of each session that lives: L and how many answers are kept.
    pub sessions: Vec<(u64, usize)>,
    /// Executed: which session's which id, which command.
    pub journal: Vec<(usize, u64, usize)>,
    /// A rule that was broken on the way.
    pub broken: Option<String>,
}

impl Sight {
    /// Looks.
    pub fn of(world: &World) -> Self {
        let (machine, engine) = (world.machine(), world.engine());
        let stats = machine.stats();
        let mut names = Vec::new();
        let journal = engine.journal().iter().map(|execution| {
            let session = place(&mut names, execution.session.as_str());
            (session, execution.request_id.get(), command(&execution.payload))
        });
        let journal = journal.collect();
        let on_the_way = world.on_the_way();
        let (sent, barren) = world.history();
        Self {
            state: state(machine.state()),
            member: machine.member_id().map(|id| id.as_str().to_owned()),
            held: (stats.queued, stats.in_flight, stats.detached),
            fates: world.fates().to_vec(),
            to_server: on_the_way
                .iter()
                .flat_map(|(queue, ..)| queue.iter().map(to_server))
                .collect(),
            to_client: on_the_way
                .iter()
                .flat_map(|(_, queue, _)| queue.iter().map(to_client))
                .collect(),
            sent,
            barren,
            bound: on_the_way.is_some_and(|(.., peer)| engine.is_bound(peer)),
            leader: engine.leader_id().map(|id| id.as_str().to_owned()),
            sessions: engine
                .sessions()
                .map(|session| (session.lowest_pending.get(), session.cached_answers))
                .collect(),
            journal,
            broken: world.broken().cloned(),
        }
    }
}

fn place(names: &mut Vec<String>, name: &str) -> usize {
    names.iter().position(|known| known == name).unwrap_or_else(|| {
        names.push(name.to_owned());
        names.len() - 1
    })
}

fn command(bytes: &[u8]) -> usize {
    (0..9).find(|number| payload(*number) == bytes).expect("one of ours")
}

fn state(state: StateName) -> &'static str {
    state.name()
}

fn to_server(message: &ClientMessage) -> Seen {
    match message {
        ClientMessage::ClientRequest { request_id, lowest_pending_request_id, payload, .. } => {
            Seen::Command(request_id.get(), lowest_pending_request_id.get(), command(payload))
        }
        other => Seen::Other(other.kind().name()),
    }
}

fn to_client(message: &ServerMessage) -> Seen {
    match message {
        ServerMessage::ClientResponse { request_id, result } => {
            let at = result.first_chunk().map_or(u64::MAX, |at| u64::from_be_bytes(*at));
            Seen::Answer(request_id.get(), at)
        }
        other => Seen::Other(other.kind().name()),
    }
}
