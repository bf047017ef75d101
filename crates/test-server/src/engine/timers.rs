//! The timers: elections, commits, expiry, redelivery and the application's own timer.

use zraft_protocol::{ServerMessage, SessionCloseReason};
use zraft_session::{EndReason, Operation};
use zraft_zmtp::Instant;

use super::Engine;
use super::log::Entry;
use super::member::Run;
use super::output::CloseHow;
use super::table::Key;

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
            at(self.replicated.next_tick());
        }
        if self.leader_serves() {
            at(self.first_expiry.map(|first| first.max(self.next_expiry_tick)));
            if self.replicated.has_server_requests() {
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
        if self.commits && self.replicated.next_tick().is_some_and(|at| at <= self.now) {
            let effects = self.replicated.apply(self.now, Operation::Tick);
            self.carry_out(effects);
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
        if let Some(row) = self.table.get_mut(session) {
            row.expires_at = expires_at;
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
            .table
            .iter()
            .filter(|(_, row)| !row.ending && row.expires_at <= last)
            .map(|(key, _)| key)
            .collect();
        for key in expired {
            self.expire(key);
        }
        let alive = self.table.iter().filter(|(_, row)| !row.ending);
        self.first_expiry = alive.map(|(_, row)| row.expires_at).min();
    }

    /// Announces that a session has expired, and appends its end to the log.
    pub(super) fn expire(&mut self, key: Key) {
        if let Some(row) = self.table.get_mut(key) {
            row.ending = true;
        }
        self.announce_end(key);
        self.append(Entry::EndSession { session: key, reason: EndReason::Expired });
    }

    /// Tells the connection bound to a session that the session has ended, and drops it.
    pub(super) fn announce_end(&mut self, key: Key) {
        if let Some(peer) = self.bound_peer(key) {
            let reason = SessionCloseReason::SessionExpired;
            self.send(peer, ServerMessage::SessionClosed { reason, leader_id: None });
            self.drop_peer(peer);
        }
    }

    fn tick_redelivery(&mut self) {
        let interval = self.config.redelivery_interval;
        if last_tick(&mut self.next_redelivery_tick, interval, self.now).is_some()
            && self.table.has_overdue(self.now, interval)
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
