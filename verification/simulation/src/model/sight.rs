//! The observable part of a world, without what cannot matter: times, nonces and the numbers of connections.

use zraft_core::StateName;
use zraft_protocol::{ClientMessage, ServerMessage};

use super::{
    fate::Fate,
    world::{World, payload},
};

/// A message in flight, without its times and nonces.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Seen {
    /// A command: its id, its lowest pending id L, and its number among the submitted commands.
    Command(u64, u64, usize),
    /// An answer: the id of the command, and the position of its execution.
    Answer(u64, u64),
    /// Any other message, by its name.
    Other(&'static str),
}

/// The observable part of a state.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Sight {
    /// The name of the client's state.
    pub(crate) state: &'static str,
    /// The member that the client is connected to.
    pub(crate) member: Option<String>,
    /// The members that the client asks beside its current connection.
    pub(crate) waiting: Vec<String>,
    /// The client's requests: how many are queued, in flight and detached.
    pub(crate) held: (u64, u64, u64),
    /// For each command, the outcome that its caller was given, and the final outcome.
    pub(crate) fates: Vec<(Option<Fate>, Option<Fate>)>,
    /// The messages in flight to the server, oldest first.
    pub(crate) to_server: Vec<Seen>,
    /// The messages in flight to the client, oldest first.
    pub(crate) to_client: Vec<Seen>,
    /// For each id sent on the current connection: how many copies, and whether time has passed since the last.
    pub(crate) sent: Vec<(u64, usize, bool)>,
    /// The number of connections that carried commands and ended without an answer.
    pub(crate) barren: usize,
    /// Whether a session is bound to the connection at its member.
    pub(crate) bound: bool,
    /// The leader's id, if there is one.
    pub(crate) leader: Option<String>,
    /// For each session: its L and the number of cached answers.
    pub(crate) sessions: Vec<(u64, usize)>,
    /// The executed commands in order: the session's number, the request id, and the command's number.
    pub(crate) journal: Vec<(usize, u64, usize)>,
    /// A violation found on the way to this state.
    pub(crate) broken: Option<String>,
}

impl Sight {
    /// Captures the observable part of a world.
    pub(crate) fn of(world: &World) -> Self {
        let (machine, engine) = (world.machine(), world.engine());
        let stats = machine.stats();
        let mut names = Vec::new();
        let journal = engine.journal().iter().map(|execution| {
            let session = place(&mut names, execution.session.as_str());
            (session, execution.request_id.get(), command(&execution.payload))
        });
        let journal = journal.collect();
        let in_flight = world.in_flight_messages();
        let (sent, barren) = world.history();
        Self {
            state: state(machine.state()),
            member: machine.member_id().map(|id| id.as_str().to_owned()),
            waiting: world.waiting(),
            held: (stats.queued, stats.in_flight, stats.detached),
            fates: world.fates().to_vec(),
            to_server: in_flight
                .iter()
                .flat_map(|(queue, ..)| queue.iter().map(to_server))
                .collect(),
            to_client: in_flight
                .iter()
                .flat_map(|(_, queue, _)| queue.iter().map(to_client))
                .collect(),
            sent,
            barren,
            bound: in_flight.is_some_and(|(.., peer)| engine.is_bound(peer)),
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
    (0..9)
        .find(|number| payload(*number) == bytes)
        .expect("the payload must be that of a submitted command")
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
