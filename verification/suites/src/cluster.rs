//! A cluster of real members, controlled and observed as the embedded cluster is.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Handle, Runtime};
use tokio::sync::{Mutex, OwnedMutexGuard, mpsc};
use tokio::time::timeout;
use zraft_client::{OnSessionExpired, RaftClient};
use zraft_protocol::{MemberId, Payload, RequestId, SessionId};
use zraft_server::{LocalCluster, RaftId};
use zraft_test_server::{Hints, KillLoss, MessageClass, SwitchError};

use crate::application::{OWN, Order, Recorded};
use crate::builder::abandon;
use crate::doors::Doors;
use crate::record::{Execution, Record, SessionView, View};

/// Longer than this is a hang.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long answers may take after their commands were executed: far longer than they do, for a busy machine, and short enough for tests
/// that drop the answers.
const ANSWERS: Duration = Duration::from_secs(1);
/// How often a wait looks again, for changes that no one announces.
const LOOK: Duration = Duration::from_millis(10);

type Members = LocalCluster<Recorded>;

/// A running cluster. It stops when this value is dropped; [`shutdown`](Self::shutdown) also waits until it has stopped.
pub struct TestCluster {
    handle: ClusterHandle,
    /// The members' own threads: a test may block all threads of its runtime.
    runtime: Option<Runtime>,
}

/// Controls and observes a running cluster. Members are named by their ids.
#[derive(Clone)]
pub struct ClusterHandle {
    inner: Arc<Inner>,
}

struct Inner {
    runtime: Handle,
    record: Arc<Record>,
    doors: Arc<Doors>,
    /// None once the cluster was shut down.
    members: Arc<Mutex<Option<Members>>>,
    /// The cluster's own client, once it was needed.
    own: Mutex<Option<RaftClient>>,
}

impl TestCluster {
    pub(crate) fn new(
        runtime: Runtime,
        record: Arc<Record>,
        doors: Arc<Doors>,
        members: Members,
    ) -> Self {
        let inner = Inner {
            runtime: runtime.handle().clone(),
            record,
            doors,
            members: Arc::new(Mutex::new(Some(members))),
            own: Mutex::new(None),
        };
        Self { handle: ClusterHandle { inner: Arc::new(inner) }, runtime: Some(runtime) }
    }

    /// Returns a handle that does not stop the cluster when it is dropped.
    #[must_use]
    pub fn handle(&self) -> ClusterHandle {
        self.handle.clone()
    }

    /// Stops the cluster. When this returns, its ports are closed and its files deleted.
    pub async fn shutdown(self) {
        let inner = self.inner.clone();
        self.on(async move {
            for member in 0..inner.doors.names().len() {
                inner.doors.close(member).await;
            }
            inner.doors.cut(None).await;
            if let Some(members) = inner.members.lock().await.take() {
                members.stop().await;
            }
        })
        .await;
    }
}

impl Drop for TestCluster {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            abandon(runtime);
        }
    }
}

impl Deref for TestCluster {
    type Target = ClusterHandle;

    fn deref(&self) -> &ClusterHandle {
        &self.handle
    }
}

impl ClusterHandle {
    /// Returns the members and the endpoints that clients connect to. A member keeps its endpoint while the cluster lives.
    #[must_use]
    pub fn endpoints(&self) -> BTreeMap<MemberId, String> {
        self.inner.doors.endpoints()
    }

    /// Returns the commands that the cluster has executed, in order.
    #[must_use]
    pub fn journal(&self) -> Vec<Execution> {
        self.inner.record.executed()
    }

    /// Returns the number of commands executed, and of those that [`journal`](Self::journal) leaves out: none.
    #[must_use]
    pub fn executed(&self) -> (u64, u64) {
        (self.inner.record.count(), 0)
    }

    /// Returns the sessions that have not ended, oldest first.
    #[must_use]
    pub fn sessions(&self) -> Vec<SessionView> {
        self.inner.record.view().sessions
    }

    /// Calls `inspect` with the state of the cluster.
    pub fn inspect<R>(&self, inspect: impl FnOnce(&View) -> R) -> R {
        inspect(&self.inner.record.view())
    }

    /// Waits until `wanted` returns true for the state of the cluster.
    pub async fn wait_for(&self, mut wanted: impl FnMut(&View) -> bool) {
        self.wait_until(|record| wanted(&record.view())).await;
    }

    /// Waits until the cluster has executed `count` commands since its start. Their answers have reached the proxies when this
    /// returns, or their sessions have lost their connections: a test may stop to drop answers next.
    pub async fn journal_reached(&self, count: u64) {
        self.wait_until(|record| record.count() >= count).await;
        // An answer that a member lost does not come before its command is sent again.
        let _ = timeout(ANSWERS, self.wait_until(|record| record.has_answers(count))).await;
    }

    async fn wait_until(&self, mut wanted: impl FnMut(&Record) -> bool) {
        let record = &self.inner.record;
        loop {
            let changed = record.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if wanted(record) {
                return;
            }
            changed.await;
        }
    }

    /// Waits until a member leads and all members that run know it, and returns its id.
    ///
    /// # Panics
    /// If a member has ended by itself.
    pub async fn leader_elected(&self) -> MemberId {
        let inner = self.inner.clone();
        self.on(async move {
            loop {
                let members = inner.members().await;
                // The members are not kept from others for long: a test may kill one meanwhile.
                let leader = timeout(LOOK, running(&members).leader()).await;
                drop(members);
                match leader {
                    Ok(leader) => return inner.name(leader.expect("no member ends by itself")),
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        })
        .await
    }

    /// Kills a member abruptly. Its connections have ended when this returns. What is lost is up to the member.
    ///
    /// # Errors
    /// [`SwitchError`] if the member is unknown or does not run.
    pub async fn kill(&self, member: &str, _loss: KillLoss) -> Result<(), SwitchError> {
        let (index, name) = (self.index(member)?, member.to_owned());
        let inner = self.inner.clone();
        self.on(async move {
            let mut members = inner.members().await;
            let members = running_mut(&mut members);
            if members.member(number(index)).is_err() {
                return Err(SwitchError::NotRunning(name));
            }
            inner.doors.close(index).await;
            members.kill(number(index)).await.expect("it runs");
            inner.doors.cut(Some(index)).await;
            Ok(())
        })
        .await
    }

    /// Starts a member that was killed. Its port is open when this returns.
    ///
    /// # Errors
    /// [`SwitchError`] if the member is unknown or runs.
    ///
    /// # Panics
    /// If the member does not start.
    pub async fn restart(&self, member: &str) -> Result<(), SwitchError> {
        let (index, name) = (self.index(member)?, member.to_owned());
        let inner = self.inner.clone();
        self.on(async move {
            let mut members = inner.members().await;
            let members = running_mut(&mut members);
            if members.member(number(index)).is_ok() {
                return Err(SwitchError::Running(name));
            }
            members.reopen(number(index)).await.expect("its files are sound");
            let target = members.member(number(index)).expect("it runs").client_address();
            inner.doors.open(index, target).expect("the port is reserved");
            Ok(())
        })
        .await
    }

    /// Makes the leader hand leadership over to `next`, or to the next member in order. The leader has been asked when this
    /// returns, and is asked again until another member leads.
    ///
    /// # Errors
    /// [`SwitchError`] if `next` is unknown or cannot lead, or no member leads.
    pub fn step_down(&self, next: Option<&str>) -> Result<(), SwitchError> {
        let next = next.map(|next| self.index(next)).transpose()?;
        let inner = self.inner.clone();
        self.blocking(async move { inner.step_down(next).await })
    }

    /// Hands leadership to `member` and waits until it leads.
    ///
    /// # Errors
    /// [`SwitchError`] if the member is unknown or does not run.
    ///
    /// # Panics
    /// If a member has ended by itself.
    pub async fn move_leadership(&self, member: &str) -> Result<(), SwitchError> {
        let (index, name) = (self.index(member)?, member.to_owned());
        let inner = self.inner.clone();
        self.on(async move {
            let members = inner.members().await;
            let members = running(&members);
            if members.member(number(index)).is_err() {
                return Err(SwitchError::CannotLead(name));
            }
            members.hand_over(number(index)).await.expect("no member ends by itself");
            Ok(())
        })
        .await
    }

    /// Has no effect: an election takes as long as the members need.
    pub fn set_election_pause(&self, _pause: Duration) {}

    /// Makes a member deaf: messages neither reach it nor leave it, while its socket answers PING.
    ///
    /// # Errors
    /// [`SwitchError`] if the member is unknown.
    pub fn set_deaf(&self, member: &str, on: bool) -> Result<(), SwitchError> {
        self.inner.doors.set_deaf(self.index(member)?, on);
        Ok(())
    }

    /// Sets the leader that rejections of a member, or of all members, name.
    ///
    /// # Errors
    /// [`SwitchError`] if the member is unknown.
    pub fn set_hints(&self, member: Option<&str>, hints: Hints) -> Result<(), SwitchError> {
        let member = member.map(|member| self.index(member)).transpose()?;
        self.inner.doors.set_hints(member, &hints);
        Ok(())
    }

    /// Sets the time that a command waits before it reaches a member.
    pub fn set_commit_delay(&self, delay: Duration) {
        self.inner.doors.set_command_delay(delay);
    }

    /// Resets all connections of a member, or of all members. They have ended when this returns.
    ///
    /// # Errors
    /// [`SwitchError`] if the member is unknown.
    pub async fn cut_connections(&self, member: Option<&str>) -> Result<(), SwitchError> {
        let member = member.map(|member| self.index(member)).transpose()?;
        self.inner.doors.cut(member).await;
        Ok(())
    }

    /// Drops the next `first` messages of a class, or all of them.
    pub fn drop_messages(&self, class: MessageClass, first: Option<u64>) {
        self.inner.doors.drop_messages(class, first);
    }

    /// Ends every [`drop_messages`](Self::drop_messages).
    pub fn deliver_all(&self) {
        self.inner.doors.deliver_all();
    }

    /// Ends a session as its timeout would: its client is told that it has expired.
    ///
    /// # Errors
    /// [`SwitchError`] if the session does not exist, or no member leads.
    pub fn expire_session(&self, session: &SessionId) -> Result<(), SwitchError> {
        let (handle, session) = (self.clone(), session.clone());
        self.blocking(async move { handle.end_session(session).await })
    }

    /// Ends a session like [`expire_session`](Self::expire_session), without blocking the thread.
    ///
    /// # Errors
    /// [`SwitchError`] if the session does not exist, or no member leads.
    pub async fn end_session(&self, session: SessionId) -> Result<(), SwitchError> {
        self.inner.order(Order::End(session)).await?;
        Ok(())
    }

    /// Makes a server request of a session. Returns its id.
    ///
    /// # Errors
    /// [`SwitchError`] if the session does not exist, or no member leads.
    pub async fn push_server_request(
        &self,
        session: SessionId,
        payload: Payload,
    ) -> Result<RequestId, SwitchError> {
        let id = self.inner.order(Order::Push(session, payload)).await?;
        id.parse().ok().and_then(|id| RequestId::new(id).ok()).ok_or(SwitchError::Limit)
    }

    /// Returns the number of server requests of each session that the session has not acknowledged, as the leader knows them.
    ///
    /// # Errors
    /// [`SwitchError`] if no member leads.
    pub async fn unacknowledged(&self) -> Result<BTreeMap<String, u64>, SwitchError> {
        let own = self.inner.own().await?;
        let answer = own.submit_query("sessions").await.map_err(|_| SwitchError::NoLeader)?;
        let pairs: Vec<(String, u64)> = serde_json::from_slice::<serde_json::Value>(&answer)
            .ok()
            .and_then(|value| {
                let pair = |pair: &serde_json::Value| {
                    Some((pair[0].as_str()?.to_owned(), pair[1].as_u64()?))
                };
                value.as_array()?.iter().map(pair).collect()
            })
            .unwrap_or_default();
        Ok(pairs.into_iter().collect())
    }

    fn index(&self, member: &str) -> Result<usize, SwitchError> {
        let names = self.inner.doors.names();
        let place = names.iter().position(|name| name.as_str() == member);
        place.ok_or_else(|| SwitchError::UnknownMember(member.to_owned()))
    }

    /// Runs a future on the members' threads.
    async fn on<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> T {
        self.inner.runtime.spawn(future).await.expect("the cluster was not dropped")
    }

    /// Runs a future on the members' threads, and blocks this one meanwhile: some methods of the embedded cluster are not
    /// asynchronous.
    fn blocking<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> T {
        let (done, result) = std::sync::mpsc::channel();
        self.inner.runtime.spawn(async move { done.send(future.await) });
        result.recv_timeout(PATIENCE).expect("the cluster does what it is asked to")
    }
}

impl Inner {
    async fn members(&self) -> OwnedMutexGuard<Option<Members>> {
        self.members.clone().lock_owned().await
    }

    fn name(&self, number: u64) -> MemberId {
        let names = self.doors.names();
        let index = usize::try_from(number - 1).unwrap_or(usize::MAX);
        names.get(index).expect("it is a member").clone()
    }

    async fn step_down(&self, next: Option<usize>) -> Result<(), SwitchError> {
        let guard = self.members().await;
        let members = running(&guard);
        let leader = timeout(PATIENCE, members.leader()).await;
        let Ok(Ok(leader)) = leader else { return Err(SwitchError::NoLeader) };
        let next = match next.map(number) {
            Some(next) => next,
            None => {
                let all: Vec<_> = members.running().collect();
                let after = all.iter().find(|number| **number > leader).or(all.first());
                after.copied().unwrap_or(leader)
            }
        };
        if members.member(next).is_err() {
            return Err(SwitchError::CannotLead(self.name(next).as_str().to_owned()));
        }
        if let Ok(member) = members.member(leader) {
            member.hand_over(RaftId::new(next)).await;
        }
        tokio::spawn(async move {
            // An error means that a member has ended, which the test will see.
            let _ = timeout(PATIENCE, running(&guard).hand_over(next)).await;
        });
        Ok(())
    }

    /// Returns the cluster's own client. It knows the members' own ports, so no switch reaches it.
    async fn own(&self) -> Result<RaftClient, SwitchError> {
        let mut own = self.own.lock().await;
        if let Some(client) = &*own {
            return Ok(client.clone());
        }
        let mut builder = RaftClient::builder()
            .capability(OWN, "1")
            .connection_timeout(Duration::from_secs(1))
            .session_timeout(Duration::from_secs(1))
            .keep_alive_interval(Duration::from_millis(200))
            .resend_interval(Duration::from_millis(500))
            .request_timeout(PATIENCE)
            .on_session_expired(OnSessionExpired::NewSession);
        let members = self.members().await;
        let members = running(&members);
        for (number, (name, endpoint)) in members.numbers().zip(members.endpoints()) {
            let member = members.member(number);
            let own = member.map(|member| format!("tcp://{}", member.client_address()));
            builder = builder.member(name.as_str(), own.unwrap_or(endpoint));
        }
        let client = builder.build().map_err(|_| SwitchError::NoLeader)?;
        let (connected, mut is_connected) = mpsc::channel(1);
        let connecting = client.clone();
        // The client's driver runs where it is connected first.
        self.runtime.spawn(async move {
            let _ = connected.send(connecting.connect_within(PATIENCE).await).await;
        });
        match is_connected.recv().await {
            Some(Ok(())) => Ok(own.insert(client).clone()),
            _ => Err(SwitchError::NoLeader),
        }
    }

    /// Gives an order, and returns the answer.
    async fn order(&self, order: Order) -> Result<String, SwitchError> {
        let own = self.own().await?;
        let answer = own.submit_command(order.encode()).await.map_err(|_| SwitchError::NoLeader)?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        if answer.starts_with("refused") { Err(SwitchError::UnknownSession) } else { Ok(answer) }
    }
}

/// A member's number, which begins at 1.
fn number(index: usize) -> u64 {
    index as u64 + 1
}

fn running(members: &Option<Members>) -> &Members {
    members.as_ref().expect("the cluster was not shut down")
}

fn running_mut(members: &mut Option<Members>) -> &mut Members {
    members.as_mut().expect("the cluster was not shut down")
}

impl fmt::Debug for TestCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestCluster")
            .field("endpoints", &self.endpoints())
            .field("executed", &self.inner.record.count())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ClusterHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterHandle")
            .field("endpoints", &self.endpoints())
            .finish_non_exhaustive()
    }
}
