//! What the cluster has executed, as the members note it while they apply the log.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Notify;
use zraft_protocol::{MemberId, Payload, RequestId, SessionId};
use zraft_session::{Application, RestoreError, SnapshotInput};

/// The records of all clusters in this process. A restored application finds its own by the number in the snapshot.
static RECORDS: LazyLock<Mutex<HashMap<u64, Weak<Record>>>> = LazyLock::new(Mutex::default);

/// Makes an application from the bytes of a snapshot.
pub(crate) type Restore = fn(&mut SnapshotInput<'_>) -> Result<Box<dyn Application>, RestoreError>;

/// One command that the cluster has executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Execution {
    /// The position in the order of execution, counted from 0.
    pub position: u64,
    /// The session that sent the command.
    pub session: SessionId,
    /// The command's id within the session.
    pub request_id: RequestId,
    /// The command's payload.
    pub payload: Payload,
    /// The member to which the session was bound. None if the connection had ended.
    pub member: Option<MemberId>,
}

/// A session that has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionView {
    /// The session's id.
    pub id: SessionId,
    /// True if a connection is open that the session is bound to.
    pub bound: bool,
}

/// The state of a cluster at one moment.
#[derive(Clone, Debug)]
pub struct View {
    pub(crate) sessions: Vec<SessionView>,
}

impl View {
    /// Returns the sessions that have not ended, oldest first.
    pub fn sessions(&self) -> impl Iterator<Item = &SessionView> {
        self.sessions.iter()
    }

    /// Returns one session.
    #[must_use]
    pub fn session(&self, id: &SessionId) -> Option<&SessionView> {
        self.sessions().find(|session| session.id == *id)
    }
}

/// What the cluster has executed. The first member that applies an entry notes it; the others compare.
pub(crate) struct Record {
    pub(crate) number: u64,
    pub(crate) restore: Restore,
    /// Notified after each change.
    pub(crate) changed: Notify,
    facts: Mutex<Facts>,
}

#[derive(Default)]
struct Facts {
    steps: Vec<Step>,
    executed: Vec<Execution>,
    sessions: Vec<SessionId>,
    /// The commands whose answers have left the members.
    answered: HashSet<(SessionId, RequestId)>,
    /// The member to which each session is bound, by the number of its connection.
    bindings: BTreeMap<u64, (SessionId, MemberId)>,
}

/// What one call of the application did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A session began.
    Created(SessionId),
    /// A session ended.
    Ended(SessionId),
    /// A command was executed.
    Executed(SessionId, RequestId),
}

impl Record {
    pub(crate) fn new(restore: Restore) -> Arc<Self> {
        let mut records = RECORDS.lock().unwrap_or_else(PoisonError::into_inner);
        records.retain(|_, record| record.strong_count() > 0);
        let number = (0..).find(|number| !records.contains_key(number)).unwrap_or_default();
        let (changed, facts) = (Notify::new(), Mutex::default());
        let record = Arc::new(Self { number, restore, changed, facts });
        records.insert(number, Arc::downgrade(&record));
        record
    }

    /// Returns the record of a cluster.
    pub(crate) fn of(number: u64) -> Option<Arc<Self>> {
        let records = RECORDS.lock().unwrap_or_else(PoisonError::into_inner);
        records.get(&number).and_then(Weak::upgrade)
    }

    fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the step with this number, counted from 0.
    ///
    /// # Panics
    /// If another member did something else in this step. A panic of an application ends its member, so the test fails.
    pub(crate) fn note(&self, number: usize, step: Step, payload: Option<&Payload>) {
        let mut facts = self.facts();
        if let Some(noted) = facts.steps.get(number) {
            assert_eq!(*noted, step, "members differ in step {number}");
            return;
        }
        assert_eq!(facts.steps.len(), number, "a member has left out a step");
        facts.steps.push(step.clone());
        match step {
            Step::Created(session) => facts.sessions.push(session),
            Step::Ended(session) => facts.sessions.retain(|each| *each != session),
            Step::Executed(session, request_id) => {
                let member = facts.bindings.values().find(|(bound, _)| *bound == session);
                let execution = Execution {
                    position: facts.executed.len() as u64,
                    member: member.map(|(_, member)| member.clone()),
                    session,
                    request_id,
                    payload: payload.map(zraft_session::detached).unwrap_or_default(),
                };
                facts.executed.push(execution);
            }
        }
        drop(facts);
        self.changed.notify_waiters();
    }

    pub(crate) fn bind(&self, connection: u64, session: SessionId, member: MemberId) {
        self.facts().bindings.insert(connection, (session, member));
        self.changed.notify_waiters();
    }

    pub(crate) fn unbind(&self, connection: u64) {
        self.facts().bindings.remove(&connection);
        self.changed.notify_waiters();
    }

    /// Notes that a connection carries the answer to a command.
    pub(crate) fn answer(&self, connection: u64, request_id: RequestId) {
        let mut facts = self.facts();
        let Some((session, _)) = facts.bindings.get(&connection) else { return };
        let command = (session.clone(), request_id);
        facts.answered.insert(command);
        drop(facts);
        self.changed.notify_waiters();
    }

    /// Returns true if each of the first `count` commands was answered, or its session is bound to no connection.
    pub(crate) fn has_answers(&self, count: u64) -> bool {
        let facts = self.facts();
        let count = usize::try_from(count).unwrap_or(usize::MAX).min(facts.executed.len());
        facts.executed[..count].iter().all(|command| {
            let key = (command.session.clone(), command.request_id);
            facts.answered.contains(&key)
                || facts.bindings.values().all(|(session, _)| *session != command.session)
        })
    }

    pub(crate) fn executed(&self) -> Vec<Execution> {
        self.facts().executed.clone()
    }

    pub(crate) fn count(&self) -> u64 {
        self.facts().executed.len() as u64
    }

    pub(crate) fn view(&self) -> View {
        let facts = self.facts();
        let bound = |id: &SessionId| facts.bindings.values().any(|(session, _)| session == id);
        let views =
            facts.sessions.iter().map(|id| SessionView { id: id.clone(), bound: bound(id) });
        View { sessions: views.collect() }
    }
}
