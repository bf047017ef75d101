use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use zraft_protocol::{MemberId, Payload, RequestId, SessionId};
use zraft_zmtp::Instant;

use super::incidents::Incidents;
use super::port::Port;
use super::shared::{Shared, State};
use super::stats::Stats;
use crate::engine::{Engine, Hints, KillLoss, MemberIndex, MessageClass, SessionView, SwitchError};
use crate::journal::Execution;

/// Attempts to listen on a restarted member's port, and the pause between them: 2 s in all. A connection of the member's
/// former life can hold the port for a moment.
const LISTEN_TRIES: u32 = 200;
const LISTEN_PAUSE: Duration = Duration::from_millis(10);

/// Controls and observes a running cluster. Members are named by their ids.
///
/// Every switch has taken effect when its method returns.
#[derive(Clone)]
pub struct ClusterHandle {
    pub(super) shared: Arc<Shared>,
}

impl fmt::Debug for ClusterHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.summary(f, "ClusterHandle")
    }
}

impl ClusterHandle {
    /// Writes the endpoints and the main figures as the fields of a struct called `name`.
    ///
    /// Writes no field while another call holds the cluster's lock, because `Debug` must not wait.
    pub(super) fn summary(&self, f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
        let mut shown = f.debug_struct(name);
        let Some(state) = self.shared.try_lock() else { return shown.finish_non_exhaustive() };
        let members = state.engine.members().map(MemberId::as_str);
        let endpoints = state.ports.iter().map(Port::endpoint);
        shown
            .field("endpoints", &members.zip(endpoints).collect::<BTreeMap<_, _>>())
            .field("leader", &state.engine.leader_id().map(MemberId::as_str))
            .field("sessions", &state.engine.sessions().count())
            .field("executed", &state.engine.journal().executed())
            .finish_non_exhaustive()
    }

    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Returns the members and their endpoints, such as `tcp://127.0.0.1:port`. A member keeps its port as long as the
    /// cluster lives.
    pub fn endpoints(&self) -> BTreeMap<MemberId, String> {
        let state = self.shared.lock();
        let ports = state.ports.iter().map(Port::endpoint);
        state.engine.members().cloned().zip(ports).collect()
    }

    /// Returns the leader, or `None` during an election.
    pub fn leader(&self) -> Option<MemberId> {
        self.shared.lock().engine.leader_id().cloned()
    }

    /// Returns the executions that the journal still holds, in order.
    pub fn journal(&self) -> Vec<Execution> {
        self.shared.lock().engine.journal().iter().cloned().collect()
    }

    /// Returns the number of commands executed, and the number of executions that the journal has dropped.
    pub fn executed(&self) -> (u64, u64) {
        let state = self.shared.lock();
        (state.engine.journal().executed(), state.engine.journal().dropped())
    }

    /// Returns the sessions that exist, oldest first.
    pub fn sessions(&self) -> Vec<SessionView> {
        self.shared.lock().engine.sessions().collect()
    }

    /// Returns the figures since the start.
    pub fn stats(&self) -> Stats {
        let state = self.shared.lock();
        Stats { engine: state.engine.stats(), transport: state.stats.clone() }
    }

    /// Returns a stream of the incidents from now on: what the person who runs the cluster should know.
    pub fn incidents(&self) -> Incidents {
        let state = self.shared.lock();
        Incidents::new(state.incidents.as_ref().map(tokio::sync::broadcast::Sender::subscribe))
    }

    /// Calls `inspect` with the engine. The cluster stands still meanwhile.
    pub fn inspect<R>(&self, inspect: impl FnOnce(&Engine) -> R) -> R {
        inspect(&self.shared.lock().engine)
    }

    /// Waits until `wanted` returns true. It is called after each change while the cluster stands still, so it must
    /// return soon.
    pub async fn wait_for(&self, mut wanted: impl FnMut(&Engine) -> bool) {
        self.wait_until(|state| wanted(&state.engine)).await;
    }

    /// Waits until the cluster has executed `count` commands since its start.
    pub async fn journal_reached(&self, count: u64) {
        self.wait_for(|engine| engine.journal().executed() >= count).await;
    }

    /// Waits until a member leads and can commit, and returns its id.
    pub async fn leader_elected(&self) -> MemberId {
        loop {
            self.wait_for(Engine::commits).await;
            if let Some(leader) = self.leader() {
                return leader;
            }
        }
    }

    /// Waits until `wanted` returns true for the figures since the start.
    pub async fn stats_reached(&self, mut wanted: impl FnMut(&Stats) -> bool) {
        self.wait_until(|state| {
            wanted(&Stats { engine: state.engine.stats(), transport: state.stats.clone() })
        })
        .await;
    }

    async fn wait_until(&self, mut wanted: impl FnMut(&State) -> bool) {
        loop {
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if wanted(&self.shared.lock()) {
                return;
            }
            changed.await;
        }
    }

    /// See [`Engine::stop`].
    ///
    /// # Errors
    /// [`SwitchError`] if the member is unknown or does not run.
    pub fn stop(&self, member: &str) -> Result<(), SwitchError> {
        self.switch(member, Engine::stop)
    }

    /// See [`Engine::kill`]. Its connections have ended when this returns.
    ///
    /// # Errors
    /// [`SwitchError`] if the member is unknown or does not run.
    pub async fn kill(&self, member: &str, loss: KillLoss) -> Result<(), SwitchError> {
        let index = self.index(member)?;
        self.switch(member, |engine, now, member| engine.kill(now, member, loss))?;
        self.wait_until(|state| {
            state.engine.is_running(index) || state.slots.values().all(|slot| slot.member != index)
        })
        .await;
        Ok(())
    }

    /// See [`Engine::restart`]. The port is open when this returns.
    ///
    /// # Errors
    /// [`SwitchError`] if the member is unknown or runs, or its port cannot be opened again.
    pub async fn restart(&self, member: &str) -> Result<(), SwitchError> {
        let index = self.index(member)?;
        self.switch(member, Engine::restart)?;
        for _ in 0..LISTEN_TRIES {
            {
                let mut state = self.shared.lock();
                if state.stopping || !state.engine.is_running(index) {
                    return Ok(());
                }
                let Some(port) = state.ports.get_mut(index.get()) else { break };
                port.reopen(&self.shared.runtime);
                if port.is_open() {
                    return Ok(());
                }
            }
            tokio::time::sleep(LISTEN_PAUSE).await;
        }
        let state = self.shared.lock();
        let port = state.ports.get(index.get());
        Err(SwitchError::Listen {
            endpoint: port.map(Port::endpoint).unwrap_or_default(),
            error: port.and_then(Port::error).unwrap_or_default().to_owned(),
        })
    }

    /// Makes the leader step down. `next`, or the next member in order, leads after the election pause; this method does
    /// not wait for it. See [`Engine::step_down_for`].
    ///
    /// # Errors
    /// [`SwitchError`] if `next` is unknown or cannot lead.
    pub fn step_down(&self, next: Option<&str>) -> Result<(), SwitchError> {
        let next = next.map(|next| self.index(next)).transpose()?;
        self.shared.update(|state, now| state.engine.step_down_for(now, next))
    }

    /// Hands leadership to `member` and waits until it leads.
    ///
    /// # Errors
    /// [`SwitchError`] if the member is unknown or cannot lead.
    pub async fn move_leadership(&self, member: &str) -> Result<(), SwitchError> {
        let index = self.index(member)?;
        self.step_down(Some(member))?;
        self.wait_for(|engine| engine.leader() == Some(index) || !engine.is_running(index)).await;
        Ok(())
    }

    /// See [`Engine::set_election_pause`].
    pub fn set_election_pause(&self, pause: Duration) {
        self.shared.update(|state, _| state.engine.set_election_pause(pause));
    }

    /// See [`Engine::set_stale_leader`].
    ///
    /// # Errors
    /// [`SwitchError`] if the member is unknown or does not run.
    pub fn set_stale_leader(&self, member: &str, on: bool) -> Result<(), SwitchError> {
        self.switch(member, |engine, now, member| engine.set_stale_leader(now, member, on))
    }

    /// See [`Engine::set_frozen`].
    ///
    /// # Errors
    /// [`SwitchError`] if the member is unknown or does not run.
    pub fn set_frozen(&self, member: &str, on: bool) -> Result<(), SwitchError> {
        self.switch(member, |engine, now, member| engine.set_frozen(now, member, on))
    }

    /// See [`Engine::set_deaf`].
    ///
    /// # Errors
    /// [`SwitchError`] if the member is unknown or does not run.
    pub fn set_deaf(&self, member: &str, on: bool) -> Result<(), SwitchError> {
        self.switch(member, |engine, now, member| engine.set_deaf(now, member, on))
    }

    /// See [`Engine::set_stale_session_map`].
    ///
    /// # Errors
    /// [`SwitchError`] if the member is unknown or does not run, or a session does not exist.
    pub fn set_stale_session_map(
        &self,
        member: &str,
        known: Option<&[SessionId]>,
    ) -> Result<(), SwitchError> {
        self.switch(member, |engine, now, member| engine.set_stale_session_map(now, member, known))
    }

    /// See [`Engine::forget_sessions`].
    pub fn forget_sessions(&self) {
        self.shared.update(|state, now| state.engine.forget_sessions(now));
    }

    /// See [`Engine::set_commit_delay`].
    pub fn set_commit_delay(&self, delay: Duration) {
        self.shared.update(|state, _| state.engine.set_commit_delay(delay));
    }

    /// See [`Engine::set_commits_per_second`].
    pub fn set_commits_per_second(&self, rate: Option<u32>) {
        self.shared.update(|state, now| state.engine.set_commits_per_second(now, rate));
    }

    /// See [`Engine::set_session_timeout`].
    pub fn set_session_timeout(&self, timeout: Duration) {
        self.shared.update(|state, _| state.engine.set_session_timeout(timeout));
    }

    /// Resets all connections of a member, or of all members. They have ended when this returns.
    ///
    /// # Errors
    /// [`SwitchError`] if the member is unknown.
    pub async fn cut_connections(&self, member: Option<&str>) -> Result<(), SwitchError> {
        let index = member.map(|member| self.index(member)).transpose()?;
        let cut: Vec<_> = self.shared.update(|state, now| {
            state.engine.cut_connections(now, index)?;
            Shared::cut_handshakes(state, index);
            let slots = state.slots.iter();
            let of = slots.filter(|(_, slot)| index.is_none_or(|index| index == slot.member));
            Ok(of.map(|(number, _)| *number).collect())
        })?;
        self.wait_until(|state| cut.iter().all(|number| !state.slots.contains_key(number))).await;
        Ok(())
    }

    /// See [`Engine::drop_messages`].
    pub fn drop_messages(&self, class: MessageClass, first: Option<u64>) {
        self.shared.update(|state, _| state.engine.drop_messages(class, first));
    }

    /// See [`Engine::deliver_all`].
    pub fn deliver_all(&self) {
        self.shared.update(|state, _| state.engine.deliver_all());
    }

    /// See [`Engine::expire_session`].
    ///
    /// # Errors
    /// [`SwitchError`] if the session does not exist, or no member leads.
    pub fn expire_session(&self, session: &SessionId) -> Result<(), SwitchError> {
        self.shared.update(|state, now| state.engine.expire_session(now, session))
    }

    /// Sets the leader that rejections of a member, or of all members, name.
    ///
    /// # Errors
    /// [`SwitchError`] if the member is unknown.
    pub fn set_hints(&self, member: Option<&str>, hints: Hints) -> Result<(), SwitchError> {
        let member = member.map(|member| self.index(member)).transpose()?;
        self.shared.update(|state, _| state.engine.set_hints(member, hints))
    }

    /// See [`Engine::set_deduplication`].
    pub fn set_deduplication(&self, on: bool) {
        self.shared.update(|state, _| state.engine.set_deduplication(on));
    }

    /// See [`Engine::push_server_request`].
    ///
    /// # Errors
    /// [`SwitchError`] if the session does not exist, or holds as many unacknowledged server requests as it may.
    pub fn push_server_request(
        &self,
        session: &SessionId,
        payload: &Payload,
    ) -> Result<RequestId, SwitchError> {
        self.shared.update(|state, now| state.engine.push_server_request(now, session, payload))
    }

    fn index(&self, member: &str) -> Result<MemberIndex, SwitchError> {
        let index = self.shared.lock().engine.index_of(member);
        index.ok_or_else(|| SwitchError::UnknownMember(member.to_owned()))
    }

    fn switch(
        &self,
        member: &str,
        switch: impl FnOnce(&mut Engine, Instant, MemberIndex) -> Result<(), SwitchError>,
    ) -> Result<(), SwitchError> {
        let member = self.index(member)?;
        self.shared.update(|state, now| switch(&mut state.engine, now, member))
    }
}
