//! Session messages that a member holds while it does not serve.

use std::time::Duration;

use zraft_replica::Timing;

use super::{ClusterJudge, rules::Rule};

/// Clients wait about 5 s for the answer to a session message.
const BELOW: Duration = Duration::from_secs(4);
/// The world rounds a member's timers up to its own ticks.
const ROUNDING: Duration = Duration::from_millis(1);

/// Returns how long a session message may be held: two election timeouts, and below 4 s.
pub(super) fn longest(timing: &Timing) -> Duration {
    (2 * timing.election_max).min(BELOW)
}

impl ClusterJudge {
    /// A member begins to serve. It must continue at once the sessions whose clients wait for that.
    pub(super) fn take_up(&mut self, member: usize) {
        let state = &mut self.members[member];
        let known = state.standing.known;
        for (connection, place) in &state.connections {
            let living = place.handshakes.iter().filter(|handshake| {
                let wanted = handshake.wants.as_ref();
                let wanted = wanted.and_then(|id| self.ledger.sessions.get(id));
                wanted.is_some_and(|session| session.lives_at(known))
            });
            state.taken_up.extend(living.map(|handshake| (*connection, handshake.nonce)));
        }
    }

    /// Checks what a member did with session messages until the last time at which it ran. What was due then is done.
    pub(super) fn check_held(&mut self, member: usize) {
        let name = self.name(member);
        let state = &mut self.members[member];
        for (connection, nonce) in std::mem::take(&mut state.taken_up) {
            let waits = state.connections.get(&connection).is_some_and(|place| {
                place.handshakes.iter().any(|handshake| handshake.nonce == nonce)
            });
            self.verdict.demand(!waits, Rule::HeldServed, || {
                format!("{name} began to serve and left a ContinueSession on {connection:?}")
            });
        }
        // It rejects overdue messages once it looks at its clock.
        let reads = state.clock < state.woke + ROUNDING;
        if state.standing.serving || reads {
            return;
        }
        let most = longest(&self.terms.timing) + ROUNDING;
        for (connection, place) in &state.connections {
            for handshake in &place.handshakes {
                let held = state.clock.saturating_sub(handshake.clock);
                self.verdict.demand(held <= most, Rule::HeldInTime, || {
                    format!("{name} has held {handshake:?} on {connection:?} for {held:?}")
                });
            }
        }
    }
}
