//! The state machine of a member, and the work that the replica gives it.
//!
//! It runs on its own thread, so that a slow application delays no heartbeat: the replica gives out [`Job`]s, the
//! shell passes them to [`Machine::run`] in order, and hands back what it returns.

use std::io::Read;

use zraft_session::{
    Application, CheckedSettings, Effect, Entry, HistoryHash, Payload, QueryError, RestoreError,
    SessionId, Sessions, Snapshot, StateMachine, Time,
};

use crate::{EntryKind, LogEntry, SnapshotMeta, StopReason};

/// Work for the state machine. Jobs must run in the order in which the replica gave them out.
#[derive(Clone, Debug)]
pub enum Job {
    /// Apply committed entries.
    Apply {
        /// The entries. Those that belong to Raft alone, and changes of the configuration, are left out.
        entries: Vec<LogEntry>,
        /// Everything up to this index is applied with this job.
        up_to: u64,
    },
    /// Answer a query from the state as it is now.
    Query {
        /// Names the query in the answer.
        key: QueryKey,
        /// The session that asks.
        session: SessionId,
        /// The application's bytes.
        payload: Payload,
    },
    /// Freeze the state, to be written to a file as this snapshot.
    Freeze(SnapshotMeta),
    /// Replace the state by the snapshot's file, by [`Machine::restore`].
    Restore(SnapshotMeta),
}

/// The name of a query between the replica and the state machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueryKey(pub(crate) u64);

/// What a [`Job`] led to.
#[derive(Debug)]
pub enum Done {
    /// Entries were applied. Goes to [`Replica::applied`](crate::Replica::applied).
    Applied {
        /// What the entries led to, in order.
        effects: Vec<Effect>,
        /// The state after them.
        view: View,
    },
    /// A query was answered. Goes to [`Replica::answered`](crate::Replica::answered).
    Answered {
        /// The query.
        key: QueryKey,
        /// The answer.
        answer: Result<Payload, QueryError>,
    },
    /// The state is frozen. The shell writes it to a file on any thread, then calls
    /// [`Replica::snapshot_taken`](crate::Replica::snapshot_taken).
    Frozen {
        /// Names the snapshot.
        meta: SnapshotMeta,
        /// The state.
        snapshot: Box<Snapshot>,
    },
}

/// What the leader must know of the replicated state: a frozen copy, which costs a few reference counts.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Everything up to this index is applied.
    pub applied: u64,
    /// The sessions.
    pub sessions: Sessions,
    /// The replicated settings.
    pub settings: CheckedSettings,
    /// The replicated time.
    pub time: Time,
    /// The term of the last Genesis entry; 0 before the cluster's first leader.
    pub genesis: u64,
    /// When the application next wants a tick.
    pub next_tick: Option<Time>,
    /// The hash of all effects so far. Members that applied the same entries have the same.
    pub history: HistoryHash,
}

/// The hash of the history after an entry that the state machine has applied.
///
/// Members that applied the same entries have the same points. The first point that differs is that of the entry on which they
/// disagreed, and all later ones differ too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryPoint {
    /// The index of the entry. Entries of Raft alone and changes of the configuration have no point.
    pub index: u64,
    /// The hash of all effects up to this entry.
    pub hash: HistoryHash,
}

/// A state machine that runs [`Job`]s.
#[derive(Debug)]
pub struct Machine<A> {
    state: StateMachine<A>,
    applied: u64,
    applying: Option<u64>,
    points: Vec<HistoryPoint>,
}

impl<A: Application> Machine<A> {
    /// Returns a machine that goes on from this state, for example one that was restored from the newest snapshot.
    /// `applied` is the snapshot's index.
    #[must_use]
    pub fn new(state: StateMachine<A>, applied: u64) -> Self {
        Self { state, applied, applying: None, points: Vec::new() }
    }

    /// Returns what a replica that starts must know of the state.
    #[must_use]
    pub fn view(&self) -> View {
        View {
            applied: self.applied,
            sessions: self.state.sessions().clone(),
            settings: self.state.settings().clone(),
            time: self.state.time(),
            genesis: self.state.term(),
            next_tick: self.state.next_tick(),
            history: self.state.history_hash(),
        }
    }

    /// Returns the state machine.
    #[must_use]
    pub fn state(&self) -> &StateMachine<A> {
        &self.state
    }

    /// Returns the state machine, for one who needs no machine any more.
    #[must_use]
    pub fn into_state(self) -> StateMachine<A> {
        self.state
    }

    /// Returns the index of the entry that is being applied: after a panic of the application, the entry at which it
    /// panicked. None if it panicked elsewhere, for example in a query.
    ///
    /// A machine whose application has panicked must not be used for anything else.
    #[must_use]
    pub fn applying(&self) -> Option<u64> {
        self.applying
    }

    /// Returns the history after the last entry that was applied.
    #[must_use]
    pub fn point(&self) -> HistoryPoint {
        HistoryPoint { index: self.state.applied(), hash: self.state.history_hash() }
    }

    /// Returns the history after each entry that the last job has applied, in order. Restoring a snapshot applies none.
    #[must_use]
    pub fn points(&self) -> &[HistoryPoint] {
        &self.points
    }

    /// Runs a job other than [`Job::Restore`], which needs a file.
    ///
    /// # Errors
    /// [`StopReason`] if an entry cannot be applied. The member must end: going on would make it diverge.
    pub fn run(&mut self, job: Job) -> Result<Done, StopReason> {
        self.points.clear();
        match job {
            Job::Apply { entries, up_to } => {
                let mut effects = Vec::new();
                for entry in &entries {
                    self.apply(entry, &mut effects)?;
                }
                self.applied = up_to;
                Ok(Done::Applied { effects, view: self.view() })
            }
            Job::Query { key, session, payload } => {
                Ok(Done::Answered { key, answer: self.state.query(&session, &payload) })
            }
            Job::Freeze(meta) => {
                Ok(Done::Frozen { meta, snapshot: Box::new(self.state.snapshot()) })
            }
            Job::Restore(meta) => Err(StopReason::NotApplied {
                index: meta.index,
                error: "the snapshot's file was not given".to_owned(),
            }),
        }
    }

    /// Runs a [`Job::Restore`] with the snapshot's file.
    ///
    /// # Errors
    /// [`RestoreError`] if the file is not a snapshot. Nothing has changed then; the member must end.
    pub fn restore(&mut self, meta: &SnapshotMeta, file: impl Read) -> Result<Done, RestoreError> {
        self.state = StateMachine::restore(file)?;
        self.points.clear();
        self.applied = meta.index;
        Ok(Done::Applied { effects: Vec::new(), view: self.view() })
    }

    fn apply(&mut self, entry: &LogEntry, effects: &mut Vec<Effect>) -> Result<(), StopReason> {
        let LogEntry { index, kind, data, .. } = entry;
        let index = *index;
        // What is applied already comes again after a restart that found an older snapshot.
        if data.is_empty() || *kind == EntryKind::Change || index <= self.state.applied() {
            return Ok(());
        }
        let entry = Entry::decode_shared(data)
            .map_err(|error| StopReason::UnknownEntry { index, error })?;
        self.applying = Some(index);
        let done = self.state.apply(index, &entry, effects);
        self.applying = None;
        done.map_err(|error| StopReason::NotApplied { index, error: error.to_string() })?;
        self.points.push(self.point());
        Ok(())
    }
}
