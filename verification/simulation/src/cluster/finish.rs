//! What is compared once all faults are over.

use zraft_core::Instant;
use zraft_replica::LogEntry;
use zraft_store::{RedbStore, Store};

use super::{Cluster, application::MONEY, judge::Rest};

impl Cluster {
    /// Returns true if one member leads, all members that were set up run and have applied the same, the cluster knows their
    /// programs, and nothing is in hand.
    pub(crate) fn is_settled(&self) -> bool {
        self.unsettled().is_none()
    }

    /// Returns what keeps the cluster from being settled.
    pub(crate) fn unsettled(&self) -> Option<String> {
        let leader = self.leader().and_then(|place| self.members[place].process.as_ref());
        let Some(leader) = leader.map(|process| &process.replica) else {
            return Some("no member leads".to_owned());
        };
        if let Some(task) = self.tasks.front() {
            return Some(format!("the operator waits: {task:?}"));
        }
        let configuration = leader.configuration();
        if configuration.is_joint() || leader.is_handing_over() {
            return Some("the leader changes the members, or hands over".to_owned());
        }
        let last = leader.last_index();
        let set_up = self.members.iter().filter(|member| member.disk.is_some());
        let mut waits = set_up.filter_map(|member| {
            let Some(process) = &member.process else {
                return Some(format!("member {} does not run", member.place + 1));
            };
            let replica = &process.replica;
            let (committed, applied) = (replica.committed(), replica.view().applied);
            let follows = replica.leader() == leader.leader();
            let rests = process.writing.is_none() && !process.stopping;
            let known = configuration.members.get(&process.id);
            let known =
                known.is_some_and(|known| known.feature_level == process.program.features);
            (committed != last || applied != last || !follows || !rests || !known).then(|| {
                format!(
                    "member {} has committed {committed} and applied {applied} of {last}, follows: {follows}, rests: {rests}, its program is known: {known}",
                    member.place + 1
                )
            })
        });
        waits.next()
    }

    /// Judges what clients wait for, once nothing fails any more.
    pub(crate) fn watch(&mut self, now: Instant) {
        self.now = self.now.max(now);
        self.judge.watch(self.now);
        self.take_verdict();
    }

    /// Compares the members of a cluster that has settled: state, and logs byte for byte.
    pub(crate) fn finish(&mut self, now: Instant) {
        self.now = self.now.max(now);
        let mut states = Vec::new();
        let mut broken = Vec::new();
        for member in &self.members {
            let Some(process) = &member.process else { continue };
            let state = process.machine.state();
            if state.application().money() != MONEY {
                broken.push(("money is neither made nor lost", format!("{}", member.place + 1)));
            }
            match state.state_hash() {
                Ok(hash) => states.push((member.place, state.applied(), hash)),
                Err(error) => broken.push(("a state can be written", error.to_string())),
            }
        }
        if let Some(pair) = states.windows(2).find(|pair| {
            let [(_, index, hash), (_, other, others)] = pair else { return false };
            index != other || hash != others
        }) {
            broken.push(("all members have the same state", format!("{pair:?}")));
        }
        let rests = self.rests();
        let borrowed: Vec<_> = rests.iter().map(KeptRest::borrow).collect();
        self.judge.finish(self.now, &borrowed);
        self.take_verdict();
        for (_, _, hash) in &states {
            self.trace.bytes(&hash.to_bytes());
        }
        for (rule, detail) in broken {
            self.violated(rule, detail);
        }
        for place in 0..self.members.len() {
            let disk = self.members[place].disk.as_ref();
            if let Some(bytes) = disk.and_then(|disk| disk.bytes("log.redb")) {
                self.trace.bytes(&bytes);
            }
        }
    }

    /// Reads back what each running member holds.
    fn rests(&self) -> Vec<KeptRest> {
        let running = self.members.iter().filter_map(|member| {
            let process = member.process.as_ref()?;
            let state = process.machine.state();
            Some(KeptRest {
                member: member.place,
                applied: state.applied(),
                state: state.state_hash().ok()?.to_bytes(),
                entries: stored(&process.store, process.replica.last_index() + 1),
            })
        });
        running.collect()
    }
}

/// What a member holds at the end, by value.
struct KeptRest {
    member: usize,
    applied: u64,
    state: [u8; 16],
    entries: Vec<LogEntry>,
}

impl KeptRest {
    fn borrow(&self) -> Rest<'_> {
        let Self { member, applied, state, entries } = self;
        Rest { member: *member, applied: *applied, state: *state, entries }
    }
}

/// Reads all entries below `to` that a store still has. Where its log begins is searched, because the store does not tell.
fn stored(store: &RedbStore, to: u64) -> Vec<LogEntry> {
    let read = |from, most| store.entries(from, to, most).unwrap_or_default();
    let (mut low, mut high) = (1, to);
    while low < high {
        let middle = low + (high - low) / 2;
        if read(middle, 1).is_empty() { low = middle + 1 } else { high = middle }
    }
    read(low, usize::MAX)
}
