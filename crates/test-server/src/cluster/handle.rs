use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use zraft_protocol::{MemberId, Payload, RequestId, SessionId};
use zraft_zmtp::Instant;

use super::incidents::Incidents;
use super::shared::Shared;
use super::stats::Stats;
use crate::engine::{Engine, Hints, KillLoss, MemberIndex, MessageClass, SessionView, SwitchError};
use crate::journal::Execution;

/// How long and how often a port that is not free yet is tried again.
const LISTEN_TRIES: u32 = 200;
const LISTEN_PAUSE: Duration = Duration::from_millis(10);

/// The switches and windows of a running cluster. Members are named by their ids.
///
/// Every switch has taken effect when it returns: what comes after it is treated accordingly.
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
    /// Shows where the members listen and the main figures, as the fields of `name`.
    ///
    /// Shows none of them while another call holds the cluster's lock: `Debug` never waits.
    pub(super) fn summary(&self, f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
        let mut shown = f.debug_struct(name);
        let Some(inner) = self.shared.try_look() else { return shown.finish_non_exhaustive() };
        let members = inner.engine.members().map(MemberId::as_str);
        let endpoints = inner.ports.iter().map(|port| port.address.endpoint());
        shown
            .field("endpoints", &members.zip(endpoints).collect::<BTreeMap<_, _>>())
            .field("leader", &inner.engine.leader_id().map(MemberId::as_str))
            .field("sessions", &inner.engine.sessions().count())
            .field("executed", &inner.engine.journal().executed())
            .finish_non_exhaustive()
    }

    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// The members and where they listen, as `tcp://127.0.0.1:port`. Ports stay the same as long as
    /// the cluster lives.
    pub fn endpoints(&self) -> BTreeMap<MemberId, String> {
        let inner = self.shared.look();
        let ports = inner.ports.iter().map(|port| port.address.endpoint());
        inner.engine.members().cloned().zip(ports).collect()
    }

    /// The member that leads.
    pub fn leader(&self) -> Option<MemberId> {
        self.shared.look().engine.leader_id().cloned()
    }

    /// What was executed and is still held, in order.
    pub fn journal(&self) -> Vec<Execution> {
        self.shared.look().engine.journal().iter().cloned().collect()
    }

    /// How many commands were executed, and how many executions gave way in the journal.
    pub fn executed(&self) -> (u64, u64) {
        let inner = self.shared.look();
        (inner.engine.journal().executed(), inner.engine.journal().dropped())
    }

    /// The living sessions, oldest first.
    pub fn sessions(&self) -> Vec<SessionView> {
        self.shared.look().engine.sessions().collect()
    }

    /// What was done so far.
    pub fn stats(&self) -> Stats {
        let inner = self.shared.look();
        Stats { engine: inner.engine.stats(), transport: inner.stats.clone() }
    }

    /// What happens from now on that whoever runs the cluster should hear of.
    pub fn incidents(&self) -> Incidents {
        let inner = self.shared.look();
        Incidents::new(inner.incidents.as_ref().map(tokio::sync::broadcast::Sender::subscribe))
    }

    /// Looks at the engine.
    pub fn inspect<R>(&self, look: impl FnOnce(&Engine) -> R) -> R {
        look(&self.shared.look().engine)
    }

    /// Waits until the engine is as wanted. It is looked at after each change; look only, quickly.
    pub async fn wait_for(&self, mut wanted: impl FnMut(&Engine) -> bool) {
        self.wait_until(|inner| wanted(&inner.engine)).await;
    }

    /// Waits until `count` commands were executed since the start.
    pub async fn journal_reached(&self, count: u64) {
        self.wait_for(|engine| engine.journal().executed() >= count).await;
    }

    /// Waits until a member leads and can commit, and names it.
    pub async fn leader_elected(&self) -> MemberId {
        loop {
            self.wait_for(Engine::commits).await;
            if let Some(leader) = self.leader() {
                return leader;
            }
        }
    }

    /// Waits until the figures are as wanted.
    pub async fn stats_reached(&self, mut wanted: impl FnMut(&Stats) -> bool) {
        self.wait_until(|inner| {
            wanted(&Stats { engine: inner.engine.stats(), transport: inner.stats.clone() })
        })
        .await;
    }

    async fn wait_until(&self, mut wanted: impl FnMut(&super::shared::Inner) -> bool) {
        loop {
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if wanted(&self.shared.look()) {
                return;
            }
            changed.await;
        }
    }

    /// See [`Engine::stop`].
    ///
    /// # Errors
    /// When the member is unknown or does not run.
    pub fn stop(&self, member: &str) -> Result<(), SwitchError> {
        self.switch(member, Engine::stop)
    }

    /// See [`Engine::kill`]. Its connections have ended when this returns.
    ///
    /// # Errors
    /// When the member is unknown or does not run.
    pub async fn kill(&self, member: &str, loss: KillLoss) -> Result<(), SwitchError> {
        let index = self.index(member)?;
        self.switch(member, |engine, now, member| engine.kill(now, member, loss))?;
        self.wait_until(|inner| {
            inner.engine.is_running(index) || inner.slots.values().all(|slot| slot.member != index)
        })
        .await;
        Ok(())
    }

    /// See [`Engine::restart`]. The port is open when this returns.
    ///
    /// # Errors
    /// When the member is unknown or runs, or its port cannot be had again.
    pub async fn restart(&self, member: &str) -> Result<(), SwitchError> {
        let index = self.index(member)?;
        self.switch(member, Engine::restart)?;
        for _ in 0..LISTEN_TRIES {
            {
                let mut inner = self.shared.look();
                if inner.stopping || !inner.engine.is_running(index) {
                    return Ok(());
                }
                let Some(port) = inner.ports.get_mut(index.get()) else { break };
                if port.listener.is_none() {
                    // Where the system does not let both be bound, the reservation gives way.
                    port.reservation = None;
                    port.open(&self.shared.runtime);
                }
                if port.listener.is_some() {
                    return Ok(());
                }
            }
            tokio::time::sleep(LISTEN_PAUSE).await;
        }
        let inner = self.shared.look();
        let port = inner.ports.get(index.get());
        Err(SwitchError::Listen {
            endpoint: port.map(|port| port.address.endpoint()).unwrap_or_default(),
            error: port.and_then(|port| port.error.clone()).unwrap_or_default(),
        })
    }

    /// The leader steps down, and `next`, or whoever is next in order, leads after the election
    /// pause; this does not wait for it. See [`Engine::step_down_for`].
    ///
    /// # Errors
    /// When `next` is unknown or cannot lead.
    pub fn step_down(&self, next: Option<&str>) -> Result<(), SwitchError> {
        let next = next.map(|next| self.index(next)).transpose()?;
        self.shared.act(|inner, now| inner.engine.step_down_for(now, next))
    }

    /// Hands leadership to `member` and waits until it leads.
    ///
    /// # Errors
    /// When it is unknown or cannot lead.
    pub async fn move_leadership(&self, member: &str) -> Result<(), SwitchError> {
        let index = self.index(member)?;
        self.step_down(Some(member))?;
        self.wait_for(|engine| engine.leader() == Some(index) || !engine.is_running(index)).await;
        Ok(())
    }

    /// See [`Engine::set_election_pause`].
    pub fn set_election_pause(&self, pause: Duration) {
        self.shared.act(|inner, _| inner.engine.set_election_pause(pause));
    }

    /// See [`Engine::set_stale_leader`].
    ///
    /// # Errors
    /// When the member is unknown or does not run.
    pub fn set_stale_leader(&self, member: &str, on: bool) -> Result<(), SwitchError> {
        self.switch(member, |engine, now, member| engine.set_stale_leader(now, member, on))
    }

    /// See [`Engine::set_frozen`].
    ///
    /// # Errors
    /// When the member is unknown or does not run.
    pub fn set_frozen(&self, member: &str, on: bool) -> Result<(), SwitchError> {
        self.switch(member, |engine, now, member| engine.set_frozen(now, member, on))
    }

    /// See [`Engine::set_deaf`].
    ///
    /// # Errors
    /// When the member is unknown or does not run.
    pub fn set_deaf(&self, member: &str, on: bool) -> Result<(), SwitchError> {
        self.switch(member, |engine, now, member| engine.set_deaf(now, member, on))
    }

    /// See [`Engine::set_stale_session_map`].
    ///
    /// # Errors
    /// When the member is unknown or does not run, or a session does not live.
    pub fn set_stale_session_map(
        &self,
        member: &str,
        known: Option<&[SessionId]>,
    ) -> Result<(), SwitchError> {
        self.switch(member, |engine, now, member| engine.set_stale_session_map(now, member, known))
    }

    /// See [`Engine::set_commit_delay`].
    pub fn set_commit_delay(&self, delay: Duration) {
        self.shared.act(|inner, _| inner.engine.set_commit_delay(delay));
    }

    /// See [`Engine::set_commits_per_second`].
    pub fn set_commits_per_second(&self, rate: Option<u32>) {
        self.shared.act(|inner, now| inner.engine.set_commits_per_second(now, rate));
    }

    /// See [`Engine::set_session_timeout`].
    pub fn set_session_timeout(&self, timeout: Duration) {
        self.shared.act(|inner, _| inner.engine.set_session_timeout(timeout));
    }

    /// Resets every connection of a member, or of all; they have ended when this returns.
    ///
    /// # Errors
    /// When the member is unknown.
    pub async fn cut_connections(&self, member: Option<&str>) -> Result<(), SwitchError> {
        let index = member.map(|member| self.index(member)).transpose()?;
        let cut: Vec<_> = self.shared.act(|inner, now| {
            inner.engine.cut_connections(now, index)?;
            Shared::cut_handshakes(inner, index);
            let slots = inner.slots.iter();
            let of = slots.filter(|(_, slot)| index.is_none_or(|index| index == slot.member));
            Ok(of.map(|(number, _)| *number).collect())
        })?;
        self.wait_until(|inner| cut.iter().all(|number| !inner.slots.contains_key(number))).await;
        Ok(())
    }

    /// See [`Engine::drop_messages`].
    pub fn drop_messages(&self, class: MessageClass, first: Option<u64>) {
        self.shared.act(|inner, _| inner.engine.drop_messages(class, first));
    }

    /// See [`Engine::deliver_all`].
    pub fn deliver_all(&self) {
        self.shared.act(|inner, _| inner.engine.deliver_all());
    }

    /// See [`Engine::expire_session`].
    ///
    /// # Errors
    /// When the session does not live, or nobody leads.
    pub fn expire_session(&self, session: &SessionId) -> Result<(), SwitchError> {
        self.shared.act(|inner, now| inner.engine.expire_session(now, session))
    }

    /// What the rejections of a member, or of all, name as the leader.
    ///
    /// # Errors
    /// When the member is unknown.
    pub fn set_hints(&self, member: Option<&str>, hints: Hints) -> Result<(), SwitchError> {
        let member = member.map(|member| self.index(member)).transpose()?;
        self.shared.act(|inner, _| inner.engine.set_hints(member, hints))
    }

    /// See [`Engine::set_deduplication`].
    pub fn set_deduplication(&self, on: bool) {
        self.shared.act(|inner, _| inner.engine.set_deduplication(on));
    }

    /// See [`Engine::push_server_request`].
    ///
    /// # Errors
    /// When the session does not live, or has as many unacknowledged as it may.
    pub fn push_server_request(
        &self,
        session: &SessionId,
        payload: &Payload,
    ) -> Result<RequestId, SwitchError> {
        self.shared.act(|inner, now| inner.engine.push_server_request(now, session, payload))
    }

    fn index(&self, member: &str) -> Result<MemberIndex, SwitchError> {
        let index = self.shared.look().engine.index_of(member);
        index.ok_or_else(|| SwitchError::UnknownMember(member.to_owned()))
    }

    fn switch(
        &self,
        member: &str,
        switch: impl FnOnce(&mut Engine, Instant, MemberIndex) -> Result<(), SwitchError>,
    ) -> Result<(), SwitchError> {
        let member = self.index(member)?;
        self.shared.act(|inner, now| switch(&mut inner.engine, now, member))
    }
}
