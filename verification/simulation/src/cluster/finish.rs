//! What is compared once all faults are over.

use zraft_core::Instant;
use zraft_replica::LogEntry;
use zraft_store::{RedbStore, Store};

use super::{Cluster, application::MONEY, judge::Rest};

impl Cluster {
    /// Returns true if one member leads, all members that were set up run and have applied the same, the cluster knows their
    /// programs, and nothing is in hand.
    pub(crate) fn is_settled(&self) -> bool {
        let Some(leader) = self.leader() else { return false };
        let Some(leader) = &self.members[leader].process else { return false };
        let last = leader.replica.last_index();
        let set_up = self.members.iter().filter(|member| member.disk.is_some());
        let configuration = leader.replica.configuration();
        self.tasks.is_empty()
            && !configuration.is_joint()
            && !leader.replica.is_handing_over()
            && set_up.into_iter().all(|member| {
                member.process.as_ref().is_some_and(|process| {
                    let known = configuration.members.get(&process.id);
                    known.is_some_and(|known| known.feature_level == process.program.features)
                        && process.replica.committed() == last
                        && process.replica.view().applied == last
                        && process.writing.is_none()
                        && !process.stopping
                        && process.replica.leader() == Some(leader.id)
                })
            })
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
