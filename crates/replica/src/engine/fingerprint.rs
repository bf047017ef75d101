//! The engine's part of a member's fingerprint.

use std::fmt;

use super::Engine;

impl Engine {
    /// Writes everything that decides what the engine does next. What raft keeps private follows from this once
    /// everything that was ready is taken, which is the case between two inputs.
    pub(crate) fn write_fingerprint(&self, to: &mut dyn fmt::Write) -> fmt::Result {
        let Self {
            id,
            node,
            ticks: _,
            random,
            drawn,
            drawn_for,
            standing,
            configuration,
            persistence,
            committed,
            handed,
            // The same at every time.
            cached_log_bytes: _,
            read_rounds,
            outstanding,
            timeout_now,
            installing,
            events,
        } = self;
        write!(to, "{id} {random:?} {drawn} {drawn_for:?} {standing:?} {configuration:?}")?;
        write!(to, "{committed:?} {handed} {read_rounds} {outstanding:?}")?;
        write!(to, "{timeout_now:?} {installing:?} {events:?} {:?}", persistence.fingerprint())?;

        let raft = &node.raft;
        write!(
            to,
            "{} {} {:?} {} {:?} {} {} {} {:?}",
            raft.term,
            raft.vote,
            raft.state,
            raft.leader_id,
            raft.lead_transferee,
            raft.pending_conf_index,
            raft.election_elapsed,
            raft.heartbeat_elapsed(),
            raft.msgs,
        )?;
        let log = &raft.raft_log;
        write!(to, "{} {} {} {:?}", log.committed, log.persisted, log.applied, log.store)?;
        write!(to, "{} {:?}", log.unstable.offset, log.unstable.entries)?;

        // The engine's own maps have no order.
        let mut progress: Vec<_> = raft.prs().iter().collect();
        progress.sort_by_key(|(id, _)| **id);
        let mut votes: Vec<_> = raft.prs().votes().iter().collect();
        votes.sort();
        write!(to, "{progress:?} {votes:?}")?;
        for context in &raft.read_only.read_index_queue {
            let Some(read) = raft.read_only.pending_read_index.get(context) else { continue };
            let mut acks: Vec<_> = read.acks.iter().collect();
            acks.sort();
            write!(to, "{context:?} {} {acks:?}", read.index)?;
        }
        Ok(())
    }
}
