//! How the faults of the live system end.

use std::time::Duration;

use zraft_protocol::SessionId;
use zraft_test_server::{Hints, KillLoss};

use crate::world::{
    calendar::{Mend, What},
    sim::Sim,
    system::SystemMend,
};

/// The end of a fault of the live system, or its next part.
#[derive(Debug, Clone, Copy)]
pub(crate) enum LiveMend {
    Start(usize),
    Restart(usize),
    Rejoin(usize),
    Thaw(usize),
    Hear(usize),
    TrueMap(usize),
    Hints,
    Rate,
    Deliver,
    Outage,
    /// The client's session expires again, this many times more.
    ExpireAgain(usize, u32),
    /// Leadership moves, and all ways are slow.
    SlowMove(usize),
}

impl Sim {
    pub(super) fn later_live(&mut self, low: u64, high: u64, mend: LiveMend) {
        self.later(low, high, Mend::System(SystemMend::Live(mend)));
    }

    pub(in crate::world::system) fn mend_live(&mut self, mend: LiveMend) {
        let now = self.now;
        let Some(live) = self.system.live() else { return };
        let (engine, members) = (&mut live.engine, &live.members);
        match mend {
            // It may run again already.
            LiveMend::Start(member) => {
                let _ = engine.restart(now, members[member]);
            }
            // The heal phase has ended the deafness.
            LiveMend::Restart(_) if self.healing.is_some() => {}
            LiveMend::Restart(member) => {
                let _ = engine.kill(now, members[member], KillLoss::Uncommitted);
                let at = now + self.rng.millis(50, 1_000);
                let start = Mend::System(SystemMend::Live(LiveMend::Start(member)));
                self.queue.push(at, What::Mend(start));
            }
            LiveMend::Rejoin(member) => {
                let _ = engine.set_stale_leader(now, members[member], false);
            }
            LiveMend::Thaw(member) => {
                let _ = engine.set_frozen(now, members[member], false);
            }
            LiveMend::Hear(member) => {
                let _ = engine.set_deaf(now, members[member], false);
            }
            LiveMend::TrueMap(member) => {
                let _ = engine.set_stale_session_map(now, members[member], None);
            }
            LiveMend::Hints => {
                let _ = engine.set_hints(None, Hints::Leader);
            }
            LiveMend::Rate => engine.set_commits_per_second(now, live.rate),
            LiveMend::Deliver => engine.deliver_all(),
            LiveMend::ExpireAgain(client, times) => {
                let id = self.clients[client].judge.session_id().map(str::to_owned);
                if let Some(id) = id.and_then(|id| SessionId::new(id).ok()) {
                    let _ = engine.expire_session(now, &id);
                }
                if times > 0 && self.healing.is_none() {
                    self.later_live(1, 10, LiveMend::ExpireAgain(client, times - 1));
                }
            }
            LiveMend::SlowMove(client) => self.move_slowly(client),
            LiveMend::Outage => {
                for member in members {
                    let _ = engine.restart(now, *member);
                }
            }
        }
    }

    fn move_slowly(&mut self, client: usize) {
        if self.healing.is_some() {
            return;
        }
        let rate = self.rng.range(60_000, 200_000);
        for path in &mut self.net.paths[client] {
            path.up.rate = Some(rate);
        }
        if let Some(live) = self.system.live() {
            let _ = live.engine.step_down_for(self.now, None);
        }
        self.later(4_000, 12_000, Mend::Paths(Some(client), None));
        self.later_live(4_000, 12_000, LiveMend::Rate);
    }

    /// Ends every fault of a member.
    pub(in crate::world::system) fn heal_live_member(&mut self, member: usize) {
        for mend in [
            LiveMend::Start(member),
            LiveMend::Rejoin(member),
            LiveMend::Thaw(member),
            LiveMend::Hear(member),
            LiveMend::TrueMap(member),
        ] {
            self.mend_live(mend);
        }
    }

    /// Ends every other fault of the system.
    pub(in crate::world::system) fn heal_live(&mut self) {
        self.mend_live(LiveMend::Hints);
        self.mend_live(LiveMend::Deliver);
        if let Some(live) = self.system.live() {
            live.engine.set_commits_per_second(self.now, None);
            live.engine.set_election_pause(Duration::from_millis(200));
        }
    }
}
