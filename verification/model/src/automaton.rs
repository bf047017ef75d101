//! The members as automata that are learned from the real code.
//!
//! Members act on each other only by what they send, so the state of a cluster is the states of its members and what is
//! on its way. A member's state has a number. What an input makes of it is computed once, by the real code, and then
//! looked up. The code cannot be copied, so a state is reached again by repeating the inputs that led to it.

use std::{collections::HashMap, sync::Arc};

use zraft_replica::{PeerFrame, PeerMessage, VoteKind};

use crate::member::{Facts, Input, Member, Plan, Pool, Told};

/// Names a state of a member.
pub(crate) type StateId = u32;

/// Members that are kept alive, so that not every step repeats its history. Some 20 kB each.
const ALIVE: usize = 4096;

/// What an input makes of a state.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) next: StateId,
    /// The numbers of the frames.
    pub(crate) sent: Vec<u32>,
    pub(crate) told: Vec<(u8, Told)>,
    /// Votes that were given: the term, and the candidate.
    pub(crate) votes: Vec<(u64, u8)>,
    /// What could be seen of the member when it died.
    pub(crate) last: Option<Facts>,
}

struct Node {
    number: u8,
    from: Option<(StateId, Input, bool)>,
    facts: Arc<Facts>,
}

/// A frame, without its content.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Route {
    pub(crate) from: u8,
    pub(crate) to: u8,
    pub(crate) kind: Kind,
}

/// What a frame can lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It answers a frame of the receiver.
    Response,
    /// It asks for a vote.
    VoteRequest,
    /// It makes the receiver stand for election.
    TimeoutNow,
    /// The receiver answers it at most.
    Other,
}

pub(crate) struct Automaton {
    plan: Plan,
    pool: Pool,
    routes: Vec<Route>,
    frames: HashMap<(u8, u8, bytes::Bytes), u32>,
    nodes: Vec<Node>,
    states: HashMap<u64, StateId>,
    table: HashMap<(StateId, Input, bool), Arc<Outcome>>,
    alive: HashMap<StateId, Member>,
    /// States that were reached by other inputs, too: the state, and those inputs.
    #[cfg(test)]
    merged: Vec<(StateId, (StateId, Input, bool))>,
}

impl Automaton {
    pub(crate) fn new(plan: Plan) -> Self {
        Self {
            plan,
            pool: Pool::default(),
            routes: Vec::new(),
            frames: HashMap::new(),
            nodes: Vec::new(),
            states: HashMap::new(),
            table: HashMap::new(),
            alive: HashMap::new(),
            #[cfg(test)]
            merged: Vec::new(),
        }
    }

    /// The state in which a member of a new cluster starts.
    pub(crate) fn first(&mut self, number: u8) -> StateId {
        self.keep(Member::new(number, self.plan), number, None)
    }

    pub(crate) fn facts(&self, state: StateId) -> &Arc<Facts> {
        &self.nodes[state as usize].facts
    }

    pub(crate) fn route(&self, frame: u32) -> Route {
        self.routes[frame as usize]
    }

    pub(crate) fn remember_session(&mut self, session: zraft_protocol::SessionId) {
        self.pool.sessions.push(session);
    }

    pub(crate) fn sessions(&self) -> usize {
        self.pool.sessions.len()
    }

    /// The states of members that were reached.
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Returns what an input makes of a state.
    pub(crate) fn step(&mut self, state: StateId, input: Input, dies: bool) -> Arc<Outcome> {
        if let Some(known) = self.table.get(&(state, input, dies)) {
            return Arc::clone(known);
        }
        let mut member = self.alive.remove(&state).unwrap_or_else(|| self.repeat(state));
        let effects = member.take(&self.pool, input, dies);
        let number = self.nodes[state as usize].number;
        let next = self.keep(member, number, Some((state, input, dies)));
        let votes = effects.sent.iter().filter_map(|frame| vote(number, frame)).collect();
        let sent = effects.sent.into_iter().map(|frame| self.name(frame)).collect();
        let (told, last) = (effects.told, effects.last);
        let outcome = Arc::new(Outcome { next, sent, told, votes, last });
        self.table.insert((state, input, dies), Arc::clone(&outcome));
        outcome
    }

    /// Repeats the inputs that led to a state.
    pub(crate) fn repeat(&self, state: StateId) -> Member {
        let mut inputs = Vec::new();
        let mut at = &self.nodes[state as usize];
        while let Some((before, input, dies)) = at.from {
            inputs.push((input, dies));
            at = &self.nodes[before as usize];
        }
        let mut member = Member::new(at.number, self.plan);
        for (input, dies) in inputs.into_iter().rev() {
            member.take(&self.pool, input, dies);
        }
        member
    }

    /// Names the state of a member.
    fn keep(
        &mut self,
        member: Member,
        number: u8,
        from: Option<(StateId, Input, bool)>,
    ) -> StateId {
        let fingerprint = member.fingerprint();
        if let Some(known) = self.states.get(&fingerprint) {
            #[cfg(test)]
            self.merged.extend(from.map(|from| (*known, from)));
            return *known;
        }
        let state = self.nodes.len() as StateId;
        self.nodes.push(Node { number, from, facts: Arc::new(member.facts()) });
        self.states.insert(fingerprint, state);
        if self.alive.len() == ALIVE {
            self.alive.clear();
        }
        self.alive.insert(state, member);
        state
    }

    /// Compares what the same inputs make of members that were taken for the same. Returns how many pairs there were.
    #[cfg(test)]
    pub(crate) fn compare_merged(&self) -> usize {
        let mut inputs: HashMap<StateId, Vec<(Input, bool)>> = HashMap::new();
        for (state, input, dies) in self.table.keys() {
            inputs.entry(*state).or_default().push((*input, *dies));
        }
        let mut compared = 0;
        for (state, (before, last, died)) in &self.merged {
            for (input, dies) in inputs.get(state).into_iter().flatten() {
                let mut one = self.repeat(*state);
                let mut other = self.repeat(*before);
                other.take(&self.pool, *last, *died);
                let effects = one.take(&self.pool, *input, *dies);
                let others = other.take(&self.pool, *input, *dies);
                let case = format!("{state} and {before} with {last:?}, then {input:?}");
                assert_eq!(effects.sent, others.sent, "{case}");
                assert_eq!(effects.told, others.told, "{case}");
                assert_eq!(one.facts(), other.facts(), "{case}");
                assert_eq!(one.fingerprint(), other.fingerprint(), "{case}");
                compared += 1;
            }
        }
        compared
    }

    fn name(&mut self, frame: PeerFrame) -> u32 {
        let (from, to) = (frame.from.get() as u8, frame.to.get() as u8);
        let number = self.pool.frames.len() as u32;
        let known = *self.frames.entry((from, to, frame.encode())).or_insert(number);
        if known == number {
            self.routes.push(Route { from, to, kind: kind(&frame.message) });
            self.pool.frames.push(frame);
        }
        known
    }
}

fn kind(message: &PeerMessage) -> Kind {
    match message {
        PeerMessage::AppendResponse { .. }
        | PeerMessage::HeartbeatResponse { .. }
        | PeerMessage::VoteResponse { .. } => Kind::Response,
        PeerMessage::VoteRequest { .. } => Kind::VoteRequest,
        PeerMessage::TimeoutNow { .. } => Kind::TimeoutNow,
        _ => Kind::Other,
    }
}

/// The vote that a frame gives.
fn vote(own: u8, frame: &PeerFrame) -> Option<(u64, u8)> {
    match &frame.message {
        PeerMessage::VoteResponse { term, kind: VoteKind::Vote, granted: true, .. } => {
            Some((*term, frame.to.get() as u8))
        }
        PeerMessage::VoteRequest { term, kind: VoteKind::Vote | VoteKind::HandOver, .. } => {
            Some((*term, own))
        }
        _ => None,
    }
}
