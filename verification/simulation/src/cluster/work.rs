//! What a member wants done, and what its threads do: the store, the state machine, and the files of snapshots.

use std::time::Duration;

use zraft_replica::{
    Done, Job, LogEntry, Output as Wanted, SnapshotFile, SnapshotMeta, StopReason, View,
};
use zraft_session::{Effect, RestoreError, Session, Snapshot};
use zraft_store::{RedbStore, Store, StoreError};

use super::{
    Cluster, DiskFault, Event, Execution, Output,
    application::{Ran, with_level},
    judge::{Applied, Standing},
    member::End,
    plan::Latency,
};
use crate::world::{system::CloseHow, trace::say};

/// The most bytes of entries that are read back at once.
const FETCHED_BYTES: usize = 512 << 10;
/// A leader sends a session no more unacknowledged server requests than this.
const IN_FLIGHT: u64 = Session::MAX_REDELIVERY as u64;

/// Writes a snapshot into its file.
pub(super) fn write_snapshot(
    store: &RedbStore,
    meta: &SnapshotMeta,
    snapshot: Snapshot,
) -> Result<SnapshotFile, StoreError> {
    let mut writer = store.write_snapshot(meta)?;
    snapshot
        .write_to(&mut writer)
        .map_err(|error| StoreError::Io { file: "snapshot".to_owned(), error })?;
    writer.finish()
}

impl Cluster {
    /// Does everything that a member wants done now.
    pub(super) fn collect(&mut self, place: usize) {
        while let Some(process) = &mut self.members[place].process
            && let Some(output) = process.replica.poll_output()
        {
            self.carry_out(place, output);
        }
        let stopped = self.members[place].process.as_ref();
        if stopped.is_some_and(|process| process.stopping && process.replica.is_shut_down()) {
            self.end_process(place, End::Stopped);
        }
        self.members[place].set_wake();
    }

    pub(super) fn carry_out(&mut self, place: usize, output: Wanted) {
        match output {
            Wanted::Send { to, message } => self.send(place, to, message),
            Wanted::Write(write) => {
                let after = self.disk_time(place);
                let at = self.moment(place);
                let Some(process) = &mut self.members[place].process else { return };
                self.judge.writing(at, place, &write);
                if process.writing.replace(*write).is_some() {
                    self.violated("one write is under way at a time", format!("member {place}"));
                }
                self.plan_within(place, after, Event::Written);
            }
            Wanted::Job(job) => {
                let Some(process) = &mut self.members[place].process else { return };
                process.jobs.push_back(job);
                self.begin_job(place);
            }
            Wanted::Client { connection, message } => {
                say!(self.trace, self.now, "          member {} says {message:?}", place + 1);
                let at = self.moment(place);
                self.judge.told_client(at, place, connection, &message);
                self.outputs.push_back(Output::Send { peer: connection, message });
            }
            Wanted::Close(peer) => {
                let at = self.moment(place);
                self.judge.disconnected(at, place, peer);
                self.connections.remove(&peer);
                if let Some(process) = &mut self.members[place].process {
                    process.connections.remove(&peer);
                }
                self.outputs.push_back(Output::Close { peer, how: CloseHow::Flush });
            }
            Wanted::Fetch { low, high } => {
                let after = self.disk_time(place);
                self.plan_within(place, after, Event::Fetched { low, high });
            }
            Wanted::ReadSnapshot { to, index, offset, length } => {
                let after = self.disk_time(place);
                self.plan_within(place, after, Event::Read { to, index, offset, length });
            }
            Wanted::BeginSnapshot(file) => self.begin_file(place, &file),
            Wanted::WriteSnapshot { index, offset, data } => {
                self.write_part(place, index, offset, &data);
            }
            Wanted::VerifySnapshot(file) => self.verify_file(place, file),
            Wanted::Stop(reason) => self.stops(place, &reason),
        }
    }

    /// Draws how long the disk takes.
    pub(super) fn disk_time(&mut self, place: usize) -> Duration {
        let slow =
            self.plan.slow_write_in != u64::MAX && self.rng.below(self.plan.slow_write_in) == 0;
        let latency: Latency = if slow { self.plan.slow_write } else { self.plan.write };
        latency.draw(&mut self.rng) * self.members[place].slow_disk
    }

    fn begin_job(&mut self, place: usize) {
        let after = self.plan.job.draw(&mut self.rng) * self.members[place].slow_jobs;
        let Some(process) = &mut self.members[place].process else { return };
        if !process.working && !process.jobs.is_empty() {
            process.working = true;
            self.plan_within(place, after, Event::Job);
        }
    }

    /// Something happens in a process, unless that or its disk stands still.
    pub(super) fn within(&mut self, place: usize, event: Event) {
        let of_disk = !matches!(
            event,
            Event::Job
                | Event::Awake
                | Event::Frame(_)
                | Event::Connected(_)
                | Event::Disconnected(_)
        );
        let member = &mut self.members[place];
        if member.frozen || (member.stalled && of_disk) {
            member.waiting.push_back(event);
            return;
        }
        match event {
            Event::Written => self.written(place),
            Event::Awake => {
                self.members[place].reads_first = false;
                self.members[place].set_wake();
            }
            Event::Job => self.job(place),
            Event::Frozen => self.frozen_is_written(place),
            Event::Fetched { low, high } => {
                let Some(process) = &self.members[place].process else { return };
                match process.store.entries(low, high, FETCHED_BYTES) {
                    Ok(entries) => {
                        self.coverage.count("entries read back", "");
                        self.with(place, |replica, now| replica.fetched(now, low, &entries));
                    }
                    Err(error) => self.store_failed(place, &error),
                }
            }
            Event::Read { to, index, offset, length } => {
                let Some(process) = &self.members[place].process else { return };
                let source = process.store.snapshot(index);
                let piece = source.and_then(|source| {
                    source.map(|source| source.piece(offset, length as usize)).transpose()
                });
                match piece {
                    Ok(piece) => self.with(place, |replica, now| {
                        replica.snapshot_read(now, to, index, offset, piece);
                    }),
                    Err(error) => self.store_failed(place, &error),
                }
            }
            Event::Received { index, up_to } => self.part_written(place, index, up_to),
            Event::Verified(file) => self.verified(place, &file),
            Event::Frame(frame) => self.take_frame(&frame),
            Event::Connected(peer) => self.take_connection(place, peer, true),
            Event::Disconnected(peer) => self.take_connection(place, peer, false),
        }
    }

    fn written(&mut self, place: usize) {
        let Some(process) = &mut self.members[place].process else { return };
        let Some(write) = process.writing.take() else { return };
        match process.store.write(&write) {
            Ok(()) => {
                self.facts.writes += 1;
                self.trace.fact(self.now, 22, place as u64);
                say!(
                    self.trace,
                    self.now,
                    "          member {} has on disk: {}",
                    place + 1,
                    in_words(&write)
                );
                let at = self.moment(place);
                self.judge.durable(at, place, write.number);
                self.with(place, |replica, now| replica.persisted(now, write.number));
                self.tell_space(place);
            }
            Err(error) => self.store_failed(place, &error),
        }
    }

    /// The store has failed, so the process ends. Its machine may restart with it, or only the process: then the system may have
    /// kept in its cache what it could not write, or may have dropped it.
    pub(super) fn store_failed(&mut self, place: usize, error: &StoreError) {
        say!(self.trace, self.now, "          member {}: {error}", place + 1);
        let fault = self.members[place].disk_fault;
        if fault.is_none() {
            self.violated("a sound disk never fails", error.to_string());
        }
        let full = matches!(error, StoreError::Full { .. });
        self.coverage.count("ended by the disk", if full { "full" } else { "failed" });
        let reboots = !matches!(fault, Some(DiskFault::FailingSync(_))) || self.rng.percent(30);
        if reboots {
            return self.end_process(place, End::PowerLoss);
        }
        self.end_process(place, End::Killed);
        let dropped = self.rng.percent(50);
        if let Some(disk) = self.members[place].disk.as_ref().filter(|_| dropped) {
            disk.drop_clean_blocks();
        }
        self.coverage.fault(match dropped {
            true => "restart after a failed sync, cache dropped",
            false => "restart after a failed sync, cache kept",
        });
    }

    fn job(&mut self, place: usize) {
        let Some(process) = &mut self.members[place].process else { return };
        process.working = false;
        let Some(job) = process.jobs.pop_front() else { return };
        match job {
            Job::Apply { entries, up_to } => self.apply(place, &entries, up_to),
            Job::Restore(meta) => self.restore(place, &meta),
            Job::Query { .. } | Job::Freeze(_) => match process.machine.run(job) {
                Ok(Done::Answered { key, answer }) => {
                    self.with(place, |replica, now| replica.answered(now, key, answer));
                }
                Ok(Done::Frozen { meta, snapshot }) => {
                    process.freezing = Some((meta, snapshot));
                    let after = self.disk_time(place) * 2;
                    self.plan_within(place, after, Event::Frozen);
                }
                Ok(Done::Applied { .. }) => {}
                Err(reason) => self.stops(place, &reason),
            },
        }
        self.begin_job(place);
    }

    /// Applies entries one by one, so that the state after each is seen.
    fn apply(&mut self, place: usize, entries: &[LogEntry], up_to: u64) {
        let mut all = Vec::new();
        for entry in entries {
            let Some((effects, view)) = self.run_apply(place, vec![entry.clone()], entry.index)
            else {
                return;
            };
            self.applied(place, entry, &effects, &view);
            all.extend(effects);
        }
        if let Some((_, view)) = self.run_apply(place, Vec::new(), up_to) {
            let at = self.moment(place);
            self.judge.reached(at, place, &view);
            self.level = self.level.max(view.settings.application_level);
            self.with(place, |replica, now| replica.applied(now, all, view));
        }
    }

    fn run_apply(
        &mut self,
        place: usize,
        entries: Vec<LogEntry>,
        up_to: u64,
    ) -> Option<(Vec<Effect>, View)> {
        let process = self.members[place].process.as_mut()?;
        match process.machine.run(Job::Apply { entries, up_to }) {
            Ok(Done::Applied { effects, view }) => Some((effects, view)),
            Ok(_) => None,
            Err(reason) => {
                self.stops(place, &reason);
                None
            }
        }
    }

    fn restore(&mut self, place: usize, meta: &SnapshotMeta) {
        let Some(process) = &mut self.members[place].process else { return };
        let mut source = match process.store.snapshot(meta.index) {
            Ok(Some(source)) => source,
            // A newer one has replaced it, whose own job waits behind this one.
            Ok(None) if process.jobs.iter().any(|job| matches!(job, Job::Restore(_))) => return,
            Ok(None) => {
                return self
                    .violated("an installed snapshot has a file", format!("{}", meta.index));
            }
            Err(error) => return self.store_failed(place, &error),
        };
        let level = process.program.application;
        let restored = with_level(level, || process.machine.restore(meta, &mut source));
        if let Err(RestoreError::ApplicationLevel { .. }) = &restored {
            return self.stops_too_old(place);
        }
        let restored = restored.map_err(|error| error.to_string());
        let verified = source.verify().map_err(|error| error.to_string());
        match restored.and_then(|done| verified.map(|()| done)) {
            Ok(Done::Applied { effects, view }) => {
                self.facts.snapshots_restored += 1;
                self.coverage.count("snapshot", "restored");
                say!(
                    self.trace,
                    self.now,
                    "          member {} is restored up to {}",
                    place + 1,
                    meta.index
                );
                let at = self.moment(place);
                self.judge.restored(at, place, meta, &view);
                self.with(place, |replica, now| replica.applied(now, effects, view));
            }
            Ok(_) => {}
            Err(error) => self.violated("a verified snapshot can be restored", error),
        }
    }

    fn frozen_is_written(&mut self, place: usize) {
        let Some(process) = &mut self.members[place].process else { return };
        let Some((meta, snapshot)) = process.freezing.take() else { return };
        match write_snapshot(&process.store, &meta, *snapshot) {
            Ok(file) => {
                self.facts.snapshots_taken += 1;
                self.coverage.count("snapshot", "taken");
                say!(
                    self.trace,
                    self.now,
                    "          member {} has a snapshot up to {}, {} bytes",
                    place + 1,
                    meta.index,
                    file.bytes
                );
                let at = self.moment(place);
                self.judge.snapshot(at, place, file.meta.index, file.hash);
                self.with(place, |replica, now| replica.snapshot_taken(now, file));
            }
            Err(error) => self.store_failed(place, &error),
        }
    }

    /// The replica or the state machine wants its process to end.
    pub(super) fn stops(&mut self, place: usize, reason: &StopReason) {
        say!(self.trace, self.now, "          member {} stops: {reason}", place + 1);
        let (name, expected) = match reason {
            StopReason::Removed => ("removed", true),
            StopReason::NotApplied { .. } if self.is_too_old(place) => {
                return self.stops_too_old(place);
            }
            StopReason::RolledBack { .. } => ("rolled back", self.members[place].doubtful),
            StopReason::LostLog { .. } => ("lost log", self.members[place].doubtful),
            StopReason::Diverged { .. } => ("diverged", self.members[place].doubtful),
            _ => ("cannot apply", false),
        };
        self.coverage.count("stop", name);
        if !expected {
            self.violated("a member stops only where it must", reason.to_string());
        }
        self.end_process(place, End::Stopped);
    }

    /// An entry was applied on a member. The first time, its effects go into the journal.
    fn applied(&mut self, place: usize, entry: &LogEntry, effects: &[Effect], view: &View) {
        let at = self.moment(place);
        let Some(process) = &self.members[place].process else { return };
        let ran = process.machine.state().application().ran(entry.index);
        let executed: Vec<_> = ran.iter().map(|ran| ran.command.clone()).collect();
        if entry.index > self.recorded {
            self.recorded = entry.index;
            self.facts.entries += 1;
            for Ran { command, .. } in ran.iter().filter(|ran| ran.accepted) {
                self.facts.executed += 1;
                self.journal.push(Execution {
                    session: command.session.clone(),
                    request_id: command.request,
                    payload: command.payload.clone().into_bytes(),
                });
            }
            for effect in effects {
                if let Effect::Pushed { session, request } = effect {
                    let kept = view.sessions.get(session);
                    if kept.is_some_and(|kept| kept.unacknowledged() > IN_FLIGHT) {
                        self.coverage.count("server requests", "more than may be in flight");
                    }
                    let pushed = self.pushed.entry(session.as_str().to_owned()).or_default();
                    pushed.push(request.payload.clone().into_bytes());
                }
            }
        }
        self.judge.applied(at, place, Applied { entry, executed: &executed, effects, view });
    }

    /// Reports what a replica says of itself after a call.
    pub(super) fn report(&mut self, place: usize) {
        let at = self.moment(place);
        let Some(process) = &mut self.members[place].process else { return };
        let replica = &process.replica;
        let standing = Standing {
            term: replica.term(),
            role: replica.role(),
            serving: replica.is_serving(),
            committed: replica.committed(),
            last_index: replica.last_index(),
            known: replica.view().applied,
        };
        self.judge.standing(at, place, standing);
        if process.configuration != *replica.configuration() {
            let after = replica.configuration().clone();
            let before = std::mem::replace(&mut process.configuration, after);
            self.judge.configuration(at, place, &process.configuration);
            let gone: Vec<_> =
                process.configuration.removed.difference(&before.removed).copied().collect();
            self.part_with(place, &gone);
        }
        let Some(process) = &mut self.members[place].process else { return };
        let replica = &process.replica;
        let role = (replica.term(), replica.role(), replica.is_serving());
        if process.told == Some(role) {
            return;
        }
        process.told = Some(role);
        let (term, role, serving) = role;
        self.trace.fact(self.now, 23, term);
        self.facts.leaderships += u64::from(serving);
        let words = if serving { " and serves" } else { "" };
        say!(
            self.trace,
            self.now,
            "          member {} is {role:?} of term {term}{words}",
            place + 1
        );
    }
}

fn in_words(write: &zraft_replica::Write) -> String {
    let mut words = format!("term {}, commit {}", write.hard_state.term, write.hard_state.commit);
    if let (Some(first), Some(last)) = (write.entries.first(), write.entries.last()) {
        words.push_str(&format!(", entries {} to {}", first.index, last.index));
    }
    for (what, meta) in [("installs", &write.install), ("records", &write.record)] {
        if let Some(meta) = meta {
            words.push_str(&format!(", {what} the snapshot at {}", meta.index));
        }
    }
    words
}
