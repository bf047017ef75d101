//! What is compared once all faults are over.

use zraft_core::Instant;
use zraft_store::Store;

use super::{Cluster, application::MONEY};

impl Cluster {
    /// Returns true if one member leads, all members that were set up run and have applied the same, and nothing is in hand.
    pub(crate) fn is_settled(&self) -> bool {
        let Some(leader) = self.leader() else { return false };
        let Some(leader) = &self.members[leader].process else { return false };
        let last = leader.replica.last_index();
        let set_up = self.members.iter().filter(|member| member.disk.is_some());
        self.tasks.is_empty()
            && !leader.replica.configuration().is_joint()
            && set_up.into_iter().all(|member| {
                member.process.as_ref().is_some_and(|process| {
                    process.replica.committed() == last
                        && process.replica.view().applied == last
                        && process.writing.is_none()
                        && process.replica.leader() == Some(leader.id)
                })
            })
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
        broken.extend(self.compare_logs());
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

    /// Compares the part of the log that all running members have.
    fn compare_logs(&self) -> Option<(&'static str, String)> {
        let running = self.members.iter().filter_map(|member| member.process.as_ref());
        let mut logs = Vec::new();
        for process in running {
            // The view's index is applied, so the store has everything up to it, from some first entry on.
            let to = process.replica.view().applied + 1;
            let from = to.saturating_sub(COMPARED).max(2);
            let read = (from..to).find_map(|from| {
                let entries = process.store.entries(from, to, usize::MAX).ok()?;
                (!entries.is_empty()).then_some(entries)
            });
            logs.push((process.id, read.unwrap_or_default()));
        }
        for pair in logs.windows(2) {
            let [(first, a), (second, b)] = pair else { continue };
            let same = a.iter().rev().zip(b.iter().rev()).all(|(one, other)| one == other);
            if !same {
                return Some(("the logs are equal byte for byte", format!("{first} and {second}")));
            }
        }
        None
    }
}

/// The entries at the end of the log that are compared. Snapshots cut the log shorter on some members.
const COMPARED: u64 = 64;
