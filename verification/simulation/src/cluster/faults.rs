//! What strikes a cluster. Each method does one thing; the world decides when, and mends it.

use zraft_core::Instant;
use zraft_replica::Space;
use zraft_simulated_disk::{Faults, SimulatedDisk};

use super::{
    Cluster, Event, Link, Output, What,
    member::{End, RESERVE},
};
use crate::world::{system::Listening, trace::say};

/// A fault of a disk, which the store meets at one of its next operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DiskFault {
    /// The sync after this many others fails.
    FailingSync(u64),
    /// The write after this many others fails.
    FailingWrite(u64),
    /// No more than this many bytes fit besides those that are there.
    Full(u64),
    /// Everything fails after this many operations.
    Dead(u64),
}

impl Cluster {
    pub(super) fn at(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    /// The machine loses power. What was not synced is kept, lost or torn.
    pub(crate) fn crash(&mut self, now: Instant, place: usize) {
        self.at(now);
        self.coverage.fault("power loss");
        self.end_process(place, End::PowerLoss);
    }

    /// The process is killed. What it wrote stays in the file system, synced or not.
    pub(crate) fn kill(&mut self, now: Instant, place: usize) {
        self.at(now);
        self.coverage.fault("process killed");
        self.end_process(place, End::Killed);
    }

    /// The process is asked to end: it hands leadership over first, and tells its clients.
    pub(crate) fn stop(&mut self, now: Instant, place: usize) {
        self.at(now);
        let Some(process) = &mut self.members[place].process else { return };
        process.stopping = true;
        self.coverage.fault("stopped in order");
        say!(self.trace, self.now, "          member {} is asked to stop", place + 1);
        self.outputs.push_back(Output::Listen { member: place, listening: Listening::Closed });
        self.with(place, zraft_replica::Replica::shut_down);
    }

    /// The process stands still, and with it the machine's monotonic clock if the machine is suspended.
    pub(crate) fn freeze(&mut self, now: Instant, place: usize, suspended: bool) {
        self.at(now);
        let member = &mut self.members[place];
        let Some(process) = &member.process else { return };
        if member.frozen {
            return;
        }
        member.frozen = true;
        for peer in process.connections.clone() {
            self.outputs.push_back(Output::StopReading { peer });
        }
        if suspended {
            member.clock.set_standing(self.now, true);
        }
        member.set_wake();
        self.coverage.fault(if suspended { "machine suspended" } else { "process frozen" });
        let with = if suspended { ", and its machine" } else { "" };
        say!(self.trace, self.now, "          member {} stands still{with}", place + 1);
        self.outputs.push_back(Output::Listen { member: place, listening: Listening::Held });
    }

    pub(crate) fn thaw(&mut self, now: Instant, place: usize) {
        self.at(now);
        let member = &mut self.members[place];
        if !std::mem::take(&mut member.frozen) {
            return;
        }
        member.clock.set_standing(self.now, false);
        say!(self.trace, self.now, "          member {} goes on", place + 1);
        self.tell_space(place);
        self.outputs.push_back(Output::Listen { member: place, listening: Listening::Open });
        let peers = self.members[place].process.iter().flat_map(|process| &process.connections);
        for peer in peers.copied().collect::<Vec<_>>() {
            self.outputs.push_back(Output::ResumeReading { peer });
        }
        // It may read first, or look at its clock first.
        let reads_first = self.rng.percent(50);
        let at = self.moment(place);
        self.judge.goes_on(at, place, reads_first);
        if reads_first {
            self.members[place].reads_first = true;
            let after = self.rng.micros(10, 300);
            self.plan_within(place, after, Event::Awake);
        }
        self.members[place].set_wake();
        self.go_on(place);
    }

    /// The disk finishes nothing until it is mended.
    pub(crate) fn stall_disk(&mut self, now: Instant, place: usize) {
        self.at(now);
        if self.is_running(place) {
            self.coverage.fault("disk stalled");
            say!(self.trace, self.now, "          the disk of member {} stalls", place + 1);
            self.members[place].stalled = true;
        }
    }

    /// The disk works again, and at its usual speed. Faults that it has not met are gone.
    pub(crate) fn mend_disk(&mut self, now: Instant, place: usize) {
        self.at(now);
        let member = &mut self.members[place];
        (member.slow_disk, member.disk_fault, member.capacity) = (1, None, None);
        if let Some(disk) = &member.disk {
            disk.plan(Faults::default());
        }
        self.tell_space(place);
        let member = &mut self.members[place];
        if std::mem::take(&mut member.stalled) {
            say!(self.trace, self.now, "          the disk of member {} works again", place + 1);
            self.go_on(place);
        }
    }

    /// What waited happens now, in order, unless the process still stands still.
    fn go_on(&mut self, place: usize) {
        for event in std::mem::take(&mut self.members[place].waiting) {
            self.plan_within(place, std::time::Duration::ZERO, event);
        }
    }

    /// The disk becomes this many times slower.
    pub(crate) fn slow_disk(&mut self, now: Instant, place: usize, times: u32) {
        self.at(now);
        self.coverage.fault("disk slow");
        self.members[place].slow_disk = times.max(1);
    }

    /// The state machine becomes this many times slower.
    pub(crate) fn slow_jobs(&mut self, now: Instant, place: usize, times: u32) {
        self.at(now);
        self.coverage.fault("state machine slow");
        self.members[place].slow_jobs = times.max(1);
    }

    /// A running member's disk will fail.
    pub(crate) fn disk_fault(&mut self, now: Instant, place: usize, fault: DiskFault) {
        self.at(now);
        let member = &mut self.members[place];
        let (Some(disk), true) = (&member.disk, member.process.is_some()) else { return };
        let usage = disk.usage();
        let mut faults = member.lasting_faults();
        let name = match fault {
            DiskFault::FailingSync(after) => {
                faults.failing_sync = Some(usage.syncs + after);
                "disk fails to sync"
            }
            DiskFault::FailingWrite(after) => {
                faults.failing_write = Some(usage.writes + after);
                "disk fails to write"
            }
            DiskFault::Full(left) => {
                faults.capacity = Some(disk.used() + left);
                "disk full"
            }
            DiskFault::Dead(after) => {
                faults.crash_at = Some(usage.changes + after);
                "disk dead"
            }
        };
        disk.plan(faults);
        member.disk_fault = Some(fault);
        self.coverage.fault(name);
        say!(
            self.trace,
            self.now,
            "          the disk of member {} will fail: {fault:?}",
            place + 1
        );
    }

    /// Other programs fill a running member's disk until only this much is left beside the store's reserve. They give it back when
    /// the disk is mended.
    pub(crate) fn fill_disk(&mut self, now: Instant, place: usize, left: u64) {
        self.at(now);
        let member = &mut self.members[place];
        if member.capacity.is_some() {
            // It fills up already, and its member may have used its reserve.
            return;
        }
        let Some(process) = &mut member.process else { return };
        self.coverage.fault("disk nearly full");
        say!(self.trace, self.now, "          the disk of member {} fills up", place + 1);
        process.reserves = true;
        process.store.set_reserve(RESERVE);
        // A store takes its reserve when it starts. Here it does so as late as this, while there is room.
        match process.store.space() {
            Ok(Space::Ample) => {}
            // Another fault leaves no room for the reserve.
            Ok(Space::Low) => return,
            Err(error) => return self.store_failed(place, &error),
        }
        let Some(disk) = &self.members[place].disk else { return };
        self.set_capacity(place, disk.used() + left);
    }

    /// Other programs take this much more of a disk that fills up, as long as a member runs there that still has its reserve.
    pub(crate) fn fill_further(&mut self, now: Instant, place: usize, bytes: u64) {
        self.at(now);
        let member = &self.members[place];
        let ample = member.process.as_ref().is_some_and(|process| process.space == Space::Ample);
        if let (Some(capacity), Some(disk)) = (member.capacity, &member.disk)
            && ample
        {
            self.set_capacity(place, capacity.saturating_sub(bytes).max(disk.used()));
        }
    }

    fn set_capacity(&mut self, place: usize, bytes: u64) {
        let member = &mut self.members[place];
        member.capacity = Some(bytes);
        if let Some(disk) = &member.disk {
            disk.plan(member.lasting_faults());
        }
        self.tell_space(place);
    }

    /// Tells a member how much space its disk has, as its shell does after each write and about once a second. Without a
    /// reserve, the store was never asked and the disk has space.
    pub(super) fn tell_space(&mut self, place: usize) {
        let member = &mut self.members[place];
        let Some(process) = member.process.as_mut().filter(|process| process.reserves) else {
            return;
        };
        if member.frozen {
            return;
        }
        match process.store.space() {
            Ok(space) => {
                if std::mem::replace(&mut process.space, space) != space {
                    let name = if space == Space::Low { "low" } else { "has space again" };
                    self.coverage.count("disk", name);
                    say!(self.trace, self.now, "          the disk of member {} {name}", place + 1);
                }
                self.with(place, |replica, now| replica.disk_space(now, space));
            }
            Err(error) => self.store_failed(place, &error),
        }
    }

    /// The application panics, and again at the same entry after the start. The process goes on without it.
    pub(crate) fn break_application(&mut self, now: Instant, place: usize) {
        self.at(now);
        if self.is_running(place) {
            self.coverage.fault("application panics");
            self.members[place].applies = false;
            self.end_process(place, End::Killed);
            self.start(now, place);
        }
    }

    /// A program whose application does not panic replaces the broken one.
    pub(crate) fn mend_application(&mut self, now: Instant, place: usize) {
        self.at(now);
        if !std::mem::replace(&mut self.members[place].applies, true) && self.is_running(place) {
            self.end_process(place, End::Killed);
            self.start(now, place);
        }
    }

    /// The wall clock of a place jumps.
    pub(crate) fn jump_wall(&mut self, now: Instant, place: usize, millis: i64) {
        self.at(now);
        self.coverage.fault("wall clock set");
        say!(
            self.trace,
            self.now,
            "          the clock of member {} is set by {millis} ms",
            place + 1
        );
        self.members[place].clock.jump_wall(millis);
    }

    /// Changes the way from one place to another. What waited behind a blocked one arrives.
    pub(crate) fn set_link(&mut self, now: Instant, from: usize, to: usize, link: Link) {
        self.at(now);
        *self.peers.link(from, to) = link;
        if !link.blocked {
            for frame in self.peers.release(from, to) {
                self.queue.push(self.now + link.latency, What::Frame(Box::new(frame)));
            }
        }
    }

    /// Blocks or opens the way from one place to another.
    pub(crate) fn block(&mut self, now: Instant, from: usize, to: usize, blocked: bool) {
        if blocked {
            self.coverage.fault("way between members blocked");
        }
        let words = if blocked { "is blocked" } else { "is open" };
        say!(self.trace, now, "          the way from member {} to {} {words}", from + 1, to + 1);
        let link = Link { blocked, ..*self.peers.link(from, to) };
        self.set_link(now, from, to, link);
    }

    /// The connections between two members are reset, as after a long time without acknowledgements.
    pub(crate) fn reset_connections(&mut self, now: Instant, a: usize, b: usize) {
        self.at(now);
        self.coverage.fault("connection between members reset");
        self.reset_peers(a, b);
    }

    /// Returns a copy of a place's disk as of now, as a backup has it.
    pub(crate) fn back_up(&mut self, now: Instant, place: usize) -> Option<SimulatedDisk> {
        self.at(now);
        let seed = self.rng.next();
        self.members[place].disk.as_ref().map(|disk| disk.copy(seed))
    }

    /// The disk is lost with everything on it. The place is empty until the operator sets up a new member there.
    pub(crate) fn wipe(&mut self, now: Instant, place: usize) {
        self.at(now);
        self.coverage.fault("disk lost");
        self.end_process(place, End::PowerLoss);
        say!(self.trace, self.now, "          the disk of member {} is lost", place + 1);
        self.members[place].disk = None;
        self.judge.lost_disk(place);
    }

    /// Ends all faults: every way is open, every disk works, and every member that was set up runs.
    pub(crate) fn heal(&mut self, now: Instant) {
        self.at(now);
        // A way that opens afterwards, because a fault lasted beyond this moment, must not lose connections again.
        (self.plan.link.reset, self.plan.link.duplicate) = (0, 0);
        for from in 0..self.members.len() {
            for to in 0..self.members.len() {
                let link = Link { blocked: false, ..self.plan.link };
                self.set_link(now, from, to, link);
            }
        }
        self.plan.slow_write_in = u64::MAX;
        self.judge.healed(self.now);
        for place in 0..self.members.len() {
            self.members[place].slow_jobs = 1;
            self.mend_disk(now, place);
            self.thaw(now, place);
            self.mend_application(now, place);
            self.start(now, place);
        }
    }
}
