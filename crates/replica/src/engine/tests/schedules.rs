//! Random schedules: what must hold, whatever is lost, late, repeated, restarted or slow.

use std::collections::BTreeMap;

use super::cluster::{Cluster, id, member};
use crate::{Boot, Change, ChangeStep, LogEntry};
use zraft_protocol::SplitMix64;

struct Schedule {
    cluster: Cluster,
    random: SplitMix64,
    /// What was committed anywhere, by index.
    committed: BTreeMap<u64, LogEntry>,
    proposed: u64,
    restarts: u64,
}

impl Schedule {
    fn new(seed: u64) -> Self {
        let mut random = SplitMix64::new(seed);
        let members = 3 + 2 * random.below(2);
        let mut cluster = Cluster::new(members);
        for node in cluster.nodes.values_mut() {
            node.fast_disk = false;
        }
        Self { cluster, random, committed: BTreeMap::new(), proposed: 0, restarts: 0 }
    }

    fn any(&mut self) -> u64 {
        1 + self.random.below(self.cluster.nodes.len() as u64)
    }

    fn step(&mut self) {
        let number = self.any();
        match self.random.below(200) {
            0..60 => self.message(),
            60..120 => self.cluster.tick(number, 1),
            120..160 => self.cluster.finish_write(number),
            160..178 => self.propose(),
            178 => {
                let other = self.any();
                self.cluster.cut.insert((number, other));
            }
            179..183 => self.cluster.heal(),
            183 => {
                self.restarts += 1;
                let seed = self.random.below(u64::MAX);
                self.cluster.restart(number, seed);
            }
            184 => {
                let _ = self.cluster.engine(number).transfer(id(1 + self.proposed % 3));
                self.cluster.collect(number);
            }
            185..188 => self.change(),
            188 => drop(self.cluster.snapshot(number)),
            189..195 => self.cluster.deliver_snapshots(),
            _ => self.cluster.serve_fetches(number),
        }
    }

    /// Delivers, loses or repeats one message, in any order.
    fn message(&mut self) {
        let waiting = self.cluster.network.len() as u64;
        if waiting == 0 {
            return;
        }
        // Mostly in order, as on a connection.
        let at = if self.random.below(4) == 0 { self.random.below(waiting) } else { 0 };
        let Some((from, to, message)) = self.cluster.network.remove(at as usize) else { return };
        match self.random.below(20) {
            0 => {}
            1 => {
                self.cluster.network.push_back((from, to, message.clone()));
                self.cluster.hand_in(from, to, message);
            }
            _ => self.cluster.hand_in(from, to, message),
        }
    }

    fn propose(&mut self) {
        let leaders = self.cluster.nodes.iter().filter(|(_, node)| node.engine.is_leader());
        let leaders: Vec<u64> = leaders.map(|(number, _)| *number).collect();
        for leader in leaders {
            self.proposed += 1;
            let text = format!("{}", self.proposed);
            let _ = self.cluster.engine(leader).propose(vec![text]);
            let _ = self.cluster.engine(leader).drain();
            self.cluster.collect(leader);
        }
    }

    /// Adds, promotes, replaces or removes a member.
    fn change(&mut self) {
        let Some(leader) = self.cluster.leader() else { return };
        let configuration = self.cluster.engine(leader).configuration().clone();
        let other = id(self.any());
        let learner = configuration.learners.first().copied();
        let voter = configuration.voters.contains(&other);
        let steps = match (learner, self.random.below(3)) {
            (None, _) if self.cluster.nodes.len() < 8 => {
                let number = self.cluster.nodes.len() as u64 + 1;
                let seed = self.random.below(u64::MAX);
                self.cluster.start(number, Boot::of_joining_member(), seed);
                self.cluster.node(number).fast_disk = false;
                vec![ChangeStep::AddLearner(id(number), member(number))]
            }
            (Some(learner), 0) => vec![ChangeStep::Promote(learner)],
            (Some(learner), 1) if voter => {
                vec![ChangeStep::Promote(learner), ChangeStep::Remove(other)]
            }
            _ if voter && configuration.voters.len() > 3 => vec![ChangeStep::Remove(other)],
            _ => return,
        };
        let _ = self.cluster.engine(leader).propose_change(&Change::Steps(steps));
        let _ = self.cluster.engine(leader).drain();
        self.cluster.collect(leader);
    }

    fn check(&mut self) {
        for node in self.cluster.nodes.values() {
            assert_eq!(node.stopped, None);
            for (index, entry) in &node.applied {
                let first = self.committed.entry(*index).or_insert_with(|| entry.clone());
                assert_eq!(first, entry, "two members applied different entries");
            }
        }
    }

    /// Ends all faults and expects everything to come to rest.
    fn settle(&mut self) {
        self.cluster.heal();
        for node in self.cluster.nodes.values_mut() {
            node.fast_disk = true;
        }
        let numbers: Vec<u64> = self.cluster.nodes.keys().copied().collect();
        for _ in 0..600 {
            for number in &numbers {
                self.cluster.finish_write(*number);
                self.cluster.serve_fetches(*number);
                if std::mem::take(&mut self.cluster.node(*number).snapshot_wanted) {
                    self.cluster.snapshot(*number);
                }
            }
            self.cluster.deliver_snapshots();
            self.cluster.run(1);
        }
        self.propose();
        self.cluster.run(20);
    }
}

#[test]
fn random_schedules_keep_every_committed_entry_and_come_to_rest() {
    let mut committed = 0;
    let mut restarts = 0;
    for seed in 0..150 {
        let mut schedule = Schedule::new(seed);
        for _ in 0..1500 {
            schedule.step();
        }
        schedule.check();
        schedule.settle();
        schedule.check();
        let leader = schedule.cluster.leader().unwrap_or_else(|| panic!("seed {seed}: no leader"));
        let configuration = schedule.cluster.engine(leader).configuration().clone();
        let last = schedule.cluster.engine(leader).commit();
        for voter in &configuration.voters {
            let engine = schedule.cluster.engine(voter.get());
            assert_eq!(engine.commit(), last, "seed {seed}: {voter} lags");
            assert_eq!(engine.configuration(), &configuration, "seed {seed}");
        }
        committed += schedule.committed.len();
        restarts += schedule.restarts;
    }
    assert!(committed > 8000 && restarts > 500, "{committed} entries, {restarts} restarts");
}
