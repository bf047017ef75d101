//! The state of one client, besides its machine: its sockets, its application and its judge.

use std::collections::VecDeque;

use zraft_core::{ConnId, Instant, Member, ServerRequest};
use zraft_protocol::Timestamp;

use crate::{
    judge::{Judge, frames::Tap},
    random::Rng,
    world::{net::Line, plan::ClientPlan, trace::ORIGIN},
};

/// The wall clock at the beginning of a run: late in 2023, so that timestamps look like real ones.
const WALL: i64 = 1_700_000_000_000;

/// A connection as the driver sees it.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) line: Line,
    pub(crate) id: ConnId,
    pub(crate) sent: Tap,
    pub(crate) received: Tap,
    pub(crate) written: u64,
    /// When the machine closed it. Later reads are late.
    pub(crate) closed_at: Option<Instant>,
    pub(crate) finish: bool,
    /// The write half was shut, or will be as soon as all is written.
    pub(crate) shut: bool,
}

pub(crate) struct Client {
    pub(crate) index: usize,
    pub(crate) plan: ClientPlan,
    /// The members that it was configured with.
    pub(crate) configured: Vec<usize>,
    pub(crate) judge: Judge,
    pub(crate) rng: Rng,
    pub(crate) sockets: Vec<Socket>,
    /// What ports answered, and the driver has not read yet.
    pub(crate) opened: VecDeque<(Line, bool)>,
    pub(crate) armed: Option<Instant>,
    pub(crate) paused: bool,
    /// Its application blocks the driver for more than a second after each turn.
    pub(crate) late: bool,
    /// The driver is blocked until then.
    pub(crate) blocked_until: Instant,
    pub(crate) wall_offset: i64,
    pub(crate) commands_left: usize,
    pub(crate) queries_left: usize,
    pub(crate) number: u64,
    /// False while the application is busy and takes no server requests.
    pub(crate) consuming: bool,
    pub(crate) slow_until: Instant,
    pub(crate) taken: Option<ServerRequest>,
    pub(crate) connecting: bool,
    /// The run ends, and the client wants no session any more.
    pub(crate) leaving: bool,
    pub(crate) poison: u32,
    /// The application's next turn. Earlier events for a turn are ignored.
    pub(crate) works_at: Option<Instant>,
}

impl Client {
    /// `everyone` are the members of the cluster, of which the client may know some.
    pub(crate) fn new(
        index: usize,
        plan: ClientPlan,
        everyone: &[Member],
        rng: Rng,
        now: Instant,
    ) -> Self {
        let known = plan.config.members();
        let configured: Vec<usize> = known
            .iter()
            .filter_map(|known| everyone.iter().position(|each| each == known))
            .collect();
        let judge = Judge::new(index, &plan.config, everyone, &configured, now);
        Self {
            index,
            configured,
            commands_left: plan.commands,
            queries_left: plan.queries,
            plan,
            judge,
            rng,
            sockets: Vec::new(),
            opened: VecDeque::new(),
            armed: None,
            paused: false,
            late: false,
            blocked_until: now,
            wall_offset: 0,
            number: 0,
            consuming: true,
            slow_until: now,
            taken: None,
            connecting: false,
            leaving: false,
            poison: 0,
            works_at: None,
        }
    }

    pub(crate) fn wall(&self, now: Instant) -> Timestamp {
        let since = (now - ORIGIN).as_millis() as i64;
        Timestamp::from_millis(WALL + since + self.wall_offset)
    }

    pub(crate) fn current(&self) -> Option<Line> {
        self.sockets.iter().find(|socket| socket.closed_at.is_none()).map(|socket| socket.line)
    }
}
