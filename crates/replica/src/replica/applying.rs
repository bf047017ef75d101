//! What was committed and is on its way through the state machine.

use std::collections::VecDeque;

use zraft_session::Effect;

use super::Replica;
use crate::{Job, LogEntry, Now, QueryKey, SnapshotMeta, View};

/// Bytes of entries in one job. A query waits behind the job before it, so it stays short.
const JOB_BYTES: usize = 1 << 20;
/// What an entry counts beside its data.
const ENTRY_OVERHEAD: usize = 64;

#[derive(Debug)]
pub(super) struct Applying {
    /// The state as of the last job that was done.
    pub(super) view: View,
    /// False if this member applies nothing.
    enabled: bool,
    /// Everything up to this index was put into jobs.
    handed: u64,
    entries: Vec<LogEntry>,
    bytes: usize,
    /// Everything up to this index is in a job that was closed.
    closed: u64,
    jobs: VecDeque<Job>,
    /// The jobs that are not done: last index and bytes.
    unapplied: VecDeque<(u64, usize)>,
    unapplied_bytes: usize,
    /// Never starts again, so that a late answer meets no other query.
    last_key: u64,
}

impl Applying {
    pub(super) fn new(applied: u64, view: View, enabled: bool) -> Self {
        Self {
            view,
            enabled,
            handed: applied,
            entries: Vec::new(),
            bytes: 0,
            closed: applied,
            jobs: VecDeque::new(),
            unapplied: VecDeque::new(),
            unapplied_bytes: 0,
            last_key: 0,
        }
    }

    pub(super) fn handed(&self) -> u64 {
        self.handed
    }

    pub(super) fn unapplied_bytes(&self) -> usize {
        self.unapplied_bytes
    }

    pub(super) fn commit(&mut self, entry: LogEntry) {
        self.handed = entry.index;
        if !entry.data.is_empty() && self.enabled {
            let bytes = entry.data.len() + ENTRY_OVERHEAD;
            self.bytes += bytes;
            self.unapplied_bytes += bytes;
            self.entries.push(entry);
        }
        if self.bytes >= JOB_BYTES {
            self.close();
        }
    }

    /// Takes note of an entry that the state machine has no part in.
    pub(super) fn pass_over(&mut self, index: u64) {
        self.handed = index;
    }

    pub(super) fn restore(&mut self, snapshot: SnapshotMeta) {
        self.close();
        (self.handed, self.closed) = (snapshot.index, snapshot.index);
        if !self.enabled {
            return;
        }
        self.unapplied.push_back((snapshot.index, 0));
        self.jobs.push_back(Job::Restore(snapshot));
    }

    pub(super) fn next_key(&mut self) -> QueryKey {
        self.last_key += 1;
        QueryKey(self.last_key)
    }

    /// Adds a job that sees everything that was handed over before it.
    pub(super) fn then(&mut self, job: Job) {
        self.close();
        self.jobs.push_back(job);
    }

    /// Makes a job of the entries that came so far.
    fn close(&mut self) {
        if self.closed == self.handed {
            return;
        }
        self.closed = self.handed;
        if !self.enabled {
            return;
        }
        self.unapplied.push_back((self.handed, std::mem::take(&mut self.bytes)));
        let entries = std::mem::take(&mut self.entries);
        self.jobs.push_back(Job::Apply { entries, up_to: self.handed });
    }

    pub(super) fn next_job(&mut self) -> Option<Job> {
        if self.jobs.is_empty() {
            self.close();
        }
        self.jobs.pop_front()
    }

    fn applied(&mut self, view: View) {
        while let Some((up_to, bytes)) = self.unapplied.front()
            && *up_to <= view.applied
        {
            self.unapplied_bytes -= bytes;
            self.unapplied.pop_front();
        }
        self.view = view;
    }
}

impl Replica {
    /// Takes what an [`Apply`](Job::Apply) or [`Restore`](Job::Restore) job led to.
    pub fn applied(&mut self, now: Now, effects: Vec<Effect>, view: View) {
        self.enter(now, false, |replica| {
            replica.clock.observe(view.time, replica.now.monotonic);
            replica.applying.applied(view);
            replica.serve_if_ready();
            for effect in effects {
                replica.effect(effect);
            }
            replica.reconsider_waiting();
            replica.pump_lagging();
            replica.settle_unknown();
            Ok(())
        });
    }
}
