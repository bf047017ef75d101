//! The switches: what a test can do to the cluster.

use std::collections::BTreeSet;
use std::time::Duration;

use zraft_protocol::{Payload, RequestId, SessionId};
use zraft_zmtp::Instant;

use super::member::Run;
use super::output::{CloseHow, Listening, Output};
use super::replicated::Key;
use super::{Engine, Hints, KillLoss, MemberIndex, MessageClass, SwitchError};

impl Engine {
    /// The member is told to stop, as by SIGTERM: it goes silent at once, without a word to anybody,
    /// its port closes, and it resets its connections `stop_linger` later. What was pending is lost.
    ///
    /// # Errors
    /// When it does not run.
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

    /// The member ends at once, its connections are reset and its port closes.
    ///
    /// # Errors
    /// When it does not run.
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

    /// A stopped or killed member runs again, healthy: as a follower that listens where it did.
    ///
    /// # Errors
    /// When it runs.
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

    /// The leader steps down: it sends SessionClosed(NotLeaderAnymore) without a hint to the
    /// connections bound to it and forgets what was pending. The next leads after the election pause:
    /// `next`, or the next member in order.
    ///
    /// # Errors
    /// When `next` cannot lead.
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

    /// How long after the loss of a leader, from now on, the next one leads.
    pub fn set_election_pause(&mut self, pause: Duration) {
        self.config.election_pause = pause;
    }

    /// Cuts a member off from the other members, or joins it again.
    ///
    /// While cut off it believes that it leads: it answers KeepAlive, and ContinueSession from what it
    /// knew, and commits nothing. A real leader that is cut off is replaced after the election pause
    /// where the others are a majority. Joined again, it steps down if it was replaced.
    ///
    /// # Errors
    /// When the member does not run.
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
            let known = self.replicated.sessions.keys().copied().collect();
            self.members[index].unaware = Some(known);
        }
        self.become_aware(index);
        self.reassess();
        Ok(())
    }

    /// Freezes a member, as SIGSTOP does, or lets it go on: it reads nothing and answers no PING; its
    /// connections stay, and its port accepts nobody. A frozen leader is replaced after the election
    /// pause where the others are a majority, and steps down when it goes on.
    ///
    /// # Errors
    /// When the member does not run.
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

    /// Makes a member deaf, or cures it: deaf, it accepts connections, shakes hands and answers PING,
    /// and looks at no message. Its other half goes on: it may lead and is hinted at.
    ///
    /// # Errors
    /// When the member does not run.
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

    /// Gives a member a stale session map, or the true one again.
    ///
    /// With `Some(known)` it believes that it leads and that these sessions are all there are: it
    /// rejects any other as expired, answers KeepAlive and ContinueSession of these, and drops
    /// commands, queries, acknowledgements and CreateSession silently. Whether it leads in truth does
    /// not change.
    ///
    /// # Errors
    /// When the member does not run, or a session does not live.
    pub fn set_stale_session_map(
        &mut self,
        now: Instant,
        member: MemberIndex,
        known: Option<&[SessionId]>,
    ) -> Result<(), SwitchError> {
        self.advance(now);
        let index = self.running(member)?;
        let keys = |known: &[SessionId]| -> Result<BTreeSet<Key>, SwitchError> {
            let keys = known.iter().map(|id| self.replicated.key(id));
            keys.map(|key| key.ok_or(SwitchError::UnknownSession)).collect()
        };
        let map = known.map(keys).transpose()?;
        let cured = map.is_none() && self.members[index].stale_map.is_some();
        self.members[index].stale_map = map;
        if cured && self.leader != Some(index) && self.members[index].unaware.is_none() {
            // What it had bound was bound by mistake.
            self.announce_step_down(index);
        }
        self.served_again(index, cured);
        Ok(())
    }

    /// A leader that talks to clients again gives every session its whole time.
    fn served_again(&mut self, index: usize, again: bool) {
        if again && self.leader == Some(index) {
            self.renew_sessions();
        }
        self.run_due();
    }

    /// How long after it was received an entry of the log is committed.
    pub fn set_commit_delay(&mut self, delay: Duration) {
        self.config.commit_delay = delay;
    }

    /// How many entries of the log are committed in a second; none: as many as come.
    pub fn set_commits_per_second(&mut self, now: Instant, rate: Option<u32>) {
        self.advance(now);
        self.config.commits_per_second = rate;
        self.run_due();
    }

    /// How long a session lives without KeepAlive, counted from its next extension on.
    pub fn set_session_timeout(&mut self, timeout: Duration) {
        self.config.session_timeout = timeout;
    }

    /// Resets every connection of a member, or of all.
    ///
    /// # Errors
    /// When there is no such member.
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

    /// Makes messages of a class vanish: all from now on, or the `first` so many (of each kind, where
    /// the class has several).
    pub fn drop_messages(&mut self, class: MessageClass, first: Option<u64>) {
        self.drops.add(class, first);
    }

    /// No message vanishes any more.
    pub fn deliver_all(&mut self) {
        self.drops.clear();
    }

    /// Expires a session now, as if its time were over: announced at once, and committed through the
    /// log.
    ///
    /// # Errors
    /// When the session does not live, or nobody leads.
    pub fn expire_session(&mut self, now: Instant, id: &SessionId) -> Result<(), SwitchError> {
        self.advance(now);
        let key = self.replicated.key(id).ok_or(SwitchError::UnknownSession)?;
        if self.leader.is_none() {
            return Err(SwitchError::NoLeader);
        }
        self.expire(key);
        self.run_log();
        Ok(())
    }

    /// What the rejections of a member, or of all, name as the leader.
    ///
    /// # Errors
    /// When there is no such member.
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

    /// Turns deduplication off, and every copy of a command is executed, or on again.
    pub fn set_deduplication(&mut self, on: bool) {
        self.replicated.deduplication = on;
    }

    /// Pushes a server request to a session: numbered and kept now, and sent where it is bound.
    ///
    /// # Errors
    /// When the session does not live, or has as many unacknowledged as it may.
    pub fn push_server_request(
        &mut self,
        now: Instant,
        session: &SessionId,
        payload: &Payload,
    ) -> Result<RequestId, SwitchError> {
        self.advance(now);
        self.replicated.key(session).ok_or(SwitchError::UnknownSession)?;
        self.push_to(session, payload).ok_or(SwitchError::Limit)
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
