//! The switches with which a test controls the cluster.

use std::collections::BTreeSet;
use std::time::Duration;

use zraft_protocol::{Payload, RequestId, SessionId};
use zraft_session::EndReason;
use zraft_zmtp::Instant;

use super::member::Run;
use super::output::{CloseHow, Listening, Output};
use super::table::Key;
use super::{Engine, Hints, KillLoss, MemberIndex, MessageClass, SwitchError};

impl Engine {
    /// Stops a member, as SIGTERM does: it sends nothing more, closes its port, and resets its connections after
    /// [`stop_linger`](super::EngineConfig::stop_linger). Entries that a leader has not committed are lost.
    ///
    /// # Errors
    /// [`SwitchError`] if the member does not run.
    pub fn stop(&mut self, now: Instant, member: MemberIndex) -> Result<(), SwitchError> {
        self.advance(now);
        let index = self.running(member)?;
        for peer in self.peers_of(index) {
            self.unbind(peer);
            if self.reads(peer) {
                self.outputs.push_back(Output::StopReading { peer });
            }
        }
        self.end(index, Run::Stopping(self.now + self.config.stop_linger));
        Ok(())
    }

    /// Ends a member at once, as SIGKILL does: its connections are reset and its port closes. `loss` says what a leader
    /// takes with it.
    ///
    /// # Errors
    /// [`SwitchError`] if the member does not run.
    pub fn kill(
        &mut self,
        now: Instant,
        member: MemberIndex,
        loss: KillLoss,
    ) -> Result<(), SwitchError> {
        self.advance(now);
        let index = self.running(member)?;
        let mut how = CloseHow::Reset;
        if self.leader == Some(index) && self.commits {
            let waiting = self.log.len();
            let (answered, committed) = match loss {
                KillLoss::Unreceived => (waiting, waiting),
                KillLoss::Uncommitted => (0, 0),
                KillLoss::Unanswered => (0, waiting),
                KillLoss::Mixed => {
                    let committed = self.seed.up_to(waiting);
                    (self.seed.up_to(committed), committed)
                }
            };
            self.commit_next(answered);
            self.answers_lost = true;
            self.commit_next(committed - answered);
            self.answers_lost = false;
            if answered > 0 {
                how = CloseHow::Flush;
            }
        }
        for peer in self.peers_of(index) {
            self.close(peer, how);
        }
        self.end(index, Run::Down);
        Ok(())
    }

    fn end(&mut self, index: usize, run: Run) {
        self.members[index].reset();
        self.members[index].run = run;
        self.listen(index, Listening::Closed);
        if self.leader == Some(index) {
            self.lose_leader();
        }
        self.reassess();
    }

    /// Starts a stopped or killed member without any of its faults. It is a follower and listens on its old port.
    ///
    /// # Errors
    /// [`SwitchError`] if the member runs.
    pub fn restart(&mut self, now: Instant, member: MemberIndex) -> Result<(), SwitchError> {
        self.advance(now);
        let index = self.known(member)?;
        if self.members[index].run == Run::Up {
            return Err(SwitchError::Running(self.name(index)));
        }
        for peer in self.peers_of(index) {
            self.close(peer, CloseHow::Reset);
        }
        self.members[index].run = Run::Up;
        self.listen(index, Listening::Open);
        self.reassess();
        Ok(())
    }

    /// Makes the leader step down: it sends SessionClosed(NotLeaderAnymore) without a hint to all bound connections and
    /// drops the entries that it has not committed. After the election pause `next` leads, or the next member in order.
    ///
    /// # Errors
    /// [`SwitchError`] if `next` cannot lead.
    pub fn step_down_for(
        &mut self,
        now: Instant,
        next: Option<MemberIndex>,
    ) -> Result<(), SwitchError> {
        self.advance(now);
        if let Some(next) = next {
            let next = self.known(next)?;
            if !self.members[next].is_electable() {
                return Err(SwitchError::CannotLead(self.name(next)));
            }
            if self.leader == Some(next) {
                return Ok(());
            }
            self.preferred = Some(next);
        }
        self.step_down();
        self.reassess();
        Ok(())
    }

    /// Sets the time from the loss of a leader to the next leader, for later elections.
    pub fn set_election_pause(&mut self, pause: Duration) {
        self.config.election_pause = pause;
    }

    /// Cuts a member off from the other members, or connects it again.
    ///
    /// A member that is cut off believes that it leads. It answers KeepAlive, and ContinueSession for the sessions that
    /// it knew, and commits nothing. If the others are a majority, they replace a leader that is cut off after the
    /// election pause. A replaced leader steps down when it is connected again.
    ///
    /// # Errors
    /// [`SwitchError`] if the member does not run.
    pub fn set_stale_leader(
        &mut self,
        now: Instant,
        member: MemberIndex,
        on: bool,
    ) -> Result<(), SwitchError> {
        self.advance(now);
        let index = self.running(member)?;
        self.members[index].cut_off = on;
        if on && self.leader != Some(index) && self.members[index].unaware.is_none() {
            let known = self.table.keys().collect();
            self.members[index].unaware = Some(known);
        }
        self.become_aware(index);
        self.reassess();
        Ok(())
    }

    /// Freezes a member, as SIGSTOP does, or lets it continue.
    ///
    /// A frozen member reads nothing and answers no PING. Its connections stay open, and its port accepts none. If the
    /// others are a majority, they replace a frozen leader after the election pause; it steps down when it continues.
    ///
    /// # Errors
    /// [`SwitchError`] if the member does not run.
    pub fn set_frozen(
        &mut self,
        now: Instant,
        member: MemberIndex,
        on: bool,
    ) -> Result<(), SwitchError> {
        self.advance(now);
        let index = self.running(member)?;
        if self.members[index].frozen == on {
            return Ok(());
        }
        self.members[index].frozen = on;
        for peer in self.peers_of(index) {
            if self.peers.get(&peer).is_some_and(|state| !state.muted) {
                self.outputs.push_back(if on {
                    Output::StopReading { peer }
                } else {
                    Output::ResumeReading { peer }
                });
            }
        }
        self.listen(index, if on { Listening::Held } else { Listening::Open });
        self.become_aware(index);
        self.reassess();
        Ok(())
    }

    /// Makes a member deaf, or lets it hear again.
    ///
    /// A deaf member accepts connections, completes ZMTP handshakes and answers PING, but handles no message. It still
    /// takes part in the cluster: it may lead, and other members hint at it.
    ///
    /// # Errors
    /// [`SwitchError`] if the member does not run.
    pub fn set_deaf(
        &mut self,
        now: Instant,
        member: MemberIndex,
        on: bool,
    ) -> Result<(), SwitchError> {
        self.advance(now);
        let index = self.running(member)?;
        self.members[index].deaf = on;
        self.served_again(index, !on);
        Ok(())
    }

    /// Gives a member a stale session map, or the true one again with `None`.
    ///
    /// With `Some(known)` the member believes that it leads and that only these sessions exist. It answers their
    /// KeepAlive and ContinueSession, rejects any other session as expired, and ignores commands, queries,
    /// acknowledgements and CreateSession. Whether it really leads does not change.
    ///
    /// # Errors
    /// [`SwitchError`] if the member does not run, or a session does not exist.
    pub fn set_stale_session_map(
        &mut self,
        now: Instant,
        member: MemberIndex,
        known: Option<&[SessionId]>,
    ) -> Result<(), SwitchError> {
        self.advance(now);
        let index = self.running(member)?;
        let keys = |known: &[SessionId]| -> Result<BTreeSet<Key>, SwitchError> {
            let keys = known.iter().map(|id| self.table.key(id));
            keys.map(|key| key.ok_or(SwitchError::UnknownSession)).collect()
        };
        let map = known.map(keys).transpose()?;
        let cured = map.is_none() && self.members[index].stale_map.is_some();
        self.members[index].stale_map = map;
        if cured && self.leader != Some(index) && self.members[index].unaware.is_none() {
            // The member bound sessions although it does not lead.
            self.announce_step_down(index);
        }
        self.served_again(index, cured);
        Ok(())
    }

    /// Restarts the timeout of every session if the leader serves clients `again`.
    fn served_again(&mut self, index: usize, again: bool) {
        if again && self.leader == Some(index) {
            self.renew_sessions();
        }
        self.run_due();
    }

    /// Sets the time from the arrival of an entry to its commit.
    pub fn set_commit_delay(&mut self, delay: Duration) {
        self.config.commit_delay = delay;
    }

    /// Sets the greatest number of entries committed per second; `None` sets no limit.
    pub fn set_commits_per_second(&mut self, now: Instant, rate: Option<u32>) {
        self.advance(now);
        self.config.commits_per_second = rate;
        self.run_due();
    }

    /// Sets the session timeout. It applies to a session from its next KeepAlive or ContinueSession on.
    pub fn set_session_timeout(&mut self, timeout: Duration) {
        self.config.session_timeout = timeout;
    }

    /// Resets all connections of a member, or of all members.
    ///
    /// # Errors
    /// [`SwitchError`] if the member does not exist.
    pub fn cut_connections(
        &mut self,
        now: Instant,
        member: Option<MemberIndex>,
    ) -> Result<(), SwitchError> {
        self.advance(now);
        let only = member.map(|member| self.known(member)).transpose()?;
        let cut: Vec<_> = self
            .peers
            .iter()
            .filter(|(_, peer)| only.is_none_or(|only| only == peer.member))
            .map(|(id, _)| *id)
            .collect();
        for peer in cut {
            self.close(peer, CloseHow::Reset);
        }
        Ok(())
    }

    /// Drops messages of a class: the `first` ones of each kind in it, or all of them with `None`.
    pub fn drop_messages(&mut self, class: MessageClass, first: Option<u64>) {
        self.drops.add(class, first);
    }

    /// Drops no more messages.
    pub fn deliver_all(&mut self) {
        self.drops.clear();
    }

    /// Expires a session now: the leader announces the end at once, and the log commits it.
    ///
    /// # Errors
    /// [`SwitchError`] if the session does not exist, or no member leads.
    pub fn expire_session(&mut self, now: Instant, id: &SessionId) -> Result<(), SwitchError> {
        self.advance(now);
        let key = self.table.key(id).ok_or(SwitchError::UnknownSession)?;
        if self.leader.is_none() {
            return Err(SwitchError::NoLeader);
        }
        self.expire(key);
        self.run_log();
        Ok(())
    }

    /// Ends every session without a word to its client, as a cluster does that is restarted without its state. A client that asks
    /// for its session is told that it expired, and other messages on its connection are answered as on one without a session.
    /// Commands of these sessions that wait in the log are not executed. To the application the sessions expire; its own state and
    /// the journal stay.
    pub fn forget_sessions(&mut self, now: Instant) {
        self.advance(now);
        for session in self.table.keys().collect::<Vec<_>>() {
            self.end_session(session, EndReason::Expired);
        }
        self.run_due();
    }

    /// Sets the leader that rejections of a member, or of all members, name.
    ///
    /// # Errors
    /// [`SwitchError`] if the member does not exist.
    pub fn set_hints(
        &mut self,
        member: Option<MemberIndex>,
        hints: Hints,
    ) -> Result<(), SwitchError> {
        match member {
            Some(member) => {
                let index = self.known(member)?;
                self.members[index].hints = hints;
            }
            None => self.members.iter_mut().for_each(|member| member.hints = hints.clone()),
        }
        Ok(())
    }

    /// Turns deduplication on or off. Without it, the cluster executes every copy of a command.
    pub fn set_deduplication(&mut self, on: bool) {
        self.replicated.set_deduplication(on);
    }

    /// Adds a server request to a session, and sends it if a connection is bound to the session.
    ///
    /// # Errors
    /// [`SwitchError`] if the session does not exist, or holds as many unacknowledged server requests as it may.
    pub fn push_server_request(
        &mut self,
        now: Instant,
        session: &SessionId,
        payload: &Payload,
    ) -> Result<RequestId, SwitchError> {
        self.advance(now);
        self.table.key(session).ok_or(SwitchError::UnknownSession)?;
        let (pushed, effects) = self.replicated.push_server_request(session, payload);
        self.carry_out(effects);
        pushed.map_err(|_| SwitchError::Limit)
    }

    fn listen(&mut self, index: usize, listening: Listening) {
        self.outputs.push_back(Output::Listen { member: MemberIndex(index), listening });
    }

    fn known(&self, member: MemberIndex) -> Result<usize, SwitchError> {
        if member.0 < self.members.len() {
            Ok(member.0)
        } else {
            Err(SwitchError::UnknownMember(member.to_string()))
        }
    }

    fn running(&self, member: MemberIndex) -> Result<usize, SwitchError> {
        let index = self.known(member)?;
        if self.members[index].run == Run::Up {
            Ok(index)
        } else {
            Err(SwitchError::NotRunning(self.name(index)))
        }
    }

    fn name(&self, index: usize) -> String {
        self.members[index].id.as_str().to_owned()
    }
}
