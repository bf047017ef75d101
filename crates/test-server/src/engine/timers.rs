//! The timers: elections, commits, expiry, redelivery and the application's own timer.

use zraft_protocol::{ServerMessage, SessionCloseReason};
use zraft_zmtp::Instant;

use super::Engine;
use super::log::{EndCause, Entry};
use super::member::Run;
use super::output::CloseHow;
use super::replicated::Key;

impl Engine {
    /// Returns when the caller must next call [`handle_timeout`](Self::handle_timeout), or `None` if no timer runs.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let resets = self.members.iter().filter_map(|member| match member.run {
            Run::Stopping(at) => Some(at),
            Run::Up | Run::Down => None,
        });
        let mut next = resets.chain(self.election_at).min();
        let mut at = |time: Option<Instant>| {
            if let Some(time) = time {
                next = Some(next.map_or(time, |next| next.min(time)));
            }
        };
        if self.commits {
            at(self.log.due(self.commit_interval()));
            at(self.replicated.app.poll_timeout());
        }
        if self.leader_serves() {
            at(self.first_expiry.map(|first| first.max(self.next_expiry_tick)));
            if self.replicated.unacknowledged > 0 {
                at(Some(self.next_redelivery_tick));
            }
        }
        next
    }

    /// Handles the timers that are due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.advance(now);
        self.run_due();
    }

    pub(super) fn run_due(&mut self) {
        self.reset_stopped();
        if self.election_at.is_some_and(|at| at <= self.now) {
            self.hold_election();
        }
        self.run_log();
        if self.leader_serves() {
            self.tick_expiry();
            self.tick_redelivery();
            self.run_log();
        }
        if self.commits && self.replicated.app.poll_timeout().is_some_and(|at| at <= self.now) {
            self.replicated.app.handle_timeout(self.now);
        }
    }

    /// Returns true if the leader can commit and handles messages of clients.
    fn leader_serves(&self) -> bool {
        self.commits
            && self.leader.is_some_and(|leader| {
                let leader = &self.members[leader];
                !leader.deaf && leader.stale_map.is_none()
            })
    }

    fn reset_stopped(&mut self) {
        for index in 0..self.members.len() {
            if matches!(self.members[index].run, Run::Stopping(at) if at <= self.now) {
                self.members[index].run = Run::Down;
                for peer in self.peers_of(index) {
                    self.close(peer, CloseHow::Reset);
                }
            }
        }
    }

    /// Takes note that a session expires at `expires_at`.
    pub(super) fn expiry_added(&mut self, expires_at: Instant) {
        self.first_expiry = Some(self.first_expiry.map_or(expires_at, |at| at.min(expires_at)));
    }

    pub(super) fn extend(&mut self, session: Key) {
        let expires_at = self.now + self.config.session_timeout;
        if let Some(session) = self.replicated.sessions.get_mut(&session) {
            session.expires_at = expires_at;
        }
        // A switch may have shortened the timeout.
        self.expiry_added(expires_at);
    }

    fn tick_expiry(&mut self) {
        let Some(last) = last_tick(&mut self.next_expiry_tick, self.config.expiry_tick, self.now)
        else {
            return;
        };
        if self.first_expiry.is_none_or(|first| first > last) {
            return;
        }
        let expired: Vec<_> = self
            .replicated
            .sessions
            .iter()
            .filter(|(_, session)| !session.ending && session.expires_at <= last)
            .map(|(key, _)| *key)
            .collect();
        for key in expired {
            self.expire(key);
        }
        let alive = self.replicated.sessions.values().filter(|session| !session.ending);
        self.first_expiry = alive.map(|session| session.expires_at).min();
    }

    /// Announces that a session has expired, and appends its end to the log.
    pub(super) fn expire(&mut self, key: Key) {
        if let Some(session) = self.replicated.sessions.get_mut(&key) {
            session.ending = true;
        }
        let leader = self.leader.and_then(|leader| self.members.get(leader));
        if let Some(peer) = leader.and_then(|leader| leader.bindings.get(&key)).copied() {
            let reason = SessionCloseReason::SessionExpired;
            self.send(peer, ServerMessage::SessionClosed { reason, leader_id: None });
            self.drop_peer(peer);
        }
        self.append(Entry::EndSession { session: key, cause: EndCause::Expired });
    }

    fn tick_redelivery(&mut self) {
        let interval = self.config.redelivery_interval;
        if last_tick(&mut self.next_redelivery_tick, interval, self.now).is_some()
            && self.replicated.redelivery_due(self.now, interval)
        {
            self.append(Entry::Redeliver);
        }
    }
}

/// Returns the latest tick at or before `now`, if one is due, and sets `next` to the first tick after it.
fn last_tick(next: &mut Instant, every: std::time::Duration, now: Instant) -> Option<Instant> {
    if *next > now {
        return None;
    }
    let every = u64::try_from(every.as_nanos()).unwrap_or(u64::MAX).max(1);
    let passed = (now.as_nanos() - next.as_nanos()) / every;
    let last = next.as_nanos().saturating_add(passed.saturating_mul(every));
    *next = Instant::from_nanos(last.saturating_add(every));
    Some(Instant::from_nanos(last))
}
