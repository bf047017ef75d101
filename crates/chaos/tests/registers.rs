//! Registers of the key-value store under faults: what concurrent clients saw must be what one thread alone could have seen.

#![allow(clippy::unwrap_used)]

mod support;

use std::{
    cell::Cell,
    collections::{BTreeSet, VecDeque},
};

use support::within;
use zraft_chaos::{
    faults::Fault,
    linearizability::Verdict,
    register::Recorder,
    runs::registers::{self, Found, Settings},
    stage::Stage,
};
use zraft_client::RaftClient;
use zraft_kv::KvClient;
use zraft_protocol::{Payload, SessionId};
use zraft_test_server::{Application, KvStore, Outcome, Rejected, TestCluster};

/// How often every fault befalls the registers.
const ROUNDS: u32 = 2;
/// What a sabotage may need before it is found.
const TRIES: u64 = 10;

fn settings(seed: u64, faults: &[Fault]) -> Settings {
    Settings {
        sessions: 3,
        callers: 4,
        registers: 6,
        faults: faults.to_vec(),
        between: 15,
        seed,
        deduplication: true,
    }
}

#[track_caller]
fn is_linearizable(found: &Found) {
    if let Some((register, history, verdict)) = found.violations().next() {
        panic!("register {register}: {verdict:?}\n{history:#?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn histories_under_every_fault_are_linearizable() {
    let mut seeds = 1..;
    for _ in 0..ROUNDS {
        let mut left: BTreeSet<Fault> = Fault::ALL.iter().copied().collect();
        while !left.is_empty() {
            let faults: Vec<_> = left.iter().copied().collect();
            let settings = settings(seeds.next().unwrap(), &faults);
            let found = within(registers::run(&settings)).await.unwrap();
            is_linearizable(&found);
            left.retain(|fault| !found.faults.contains_key(fault.name()));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_deduplication_the_checker_finds_a_history_that_cannot_be() {
    let mut found = false;
    for seed in 1..=TRIES {
        let faults = [Fault::LostAnswers, Fault::Kill];
        let settings = Settings { deduplication: false, ..settings(seed, &faults) };
        found |= violates(&within(registers::run(&settings)).await.unwrap());
        if found {
            break;
        }
    }
    assert!(found, "{TRIES} runs without deduplication, and none was found wrong");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_stale_reads_the_checker_finds_a_history_that_cannot_be() {
    let mut found = false;
    for seed in 1..=TRIES {
        let settings = settings(seed, &[]);
        let run = registers::run_on(&settings, StaleReads::default());
        found |= violates(&within(run).await.unwrap());
        if found {
            break;
        }
    }
    assert!(found, "{TRIES} runs with stale reads, and none was found wrong");
}

fn violates(found: &Found) -> bool {
    found.violations().any(|(_, _, verdict)| matches!(verdict, Verdict::NotLinearizable { .. }))
}

/// Commands by which a stale answer is behind: most of those under way at a time.
const BEHIND: usize = 8;

/// A store that answers every tenth query from an earlier state.
#[derive(Default)]
struct StaleReads {
    now: KvStore,
    before: KvStore,
    between: VecDeque<(SessionId, Payload)>,
    queries: Cell<u32>,
}

impl Application for StaleReads {
    fn apply(
        &mut self,
        session: &SessionId,
        payload: &Payload,
        now: zraft_zmtp::Instant,
    ) -> Result<Outcome, Rejected> {
        self.between.push_back((session.clone(), payload.clone()));
        if self.between.len() > BEHIND
            && let Some((session, payload)) = self.between.pop_front()
        {
            self.before.apply(&session, &payload, now)?;
        }
        self.now.apply(session, payload, now)
    }

    fn query(&self, payload: &Payload) -> Result<Payload, Rejected> {
        self.queries.set(self.queries.get() + 1);
        let stale = self.queries.get().is_multiple_of(10);
        if stale { &self.before } else { &self.now }.query(payload)
    }
}

/// One write whose answer is held up by the network while another overwrites it, step by step.
async fn overtaken_write(deduplication: bool) -> Verdict {
    let stage = Stage::start(TestCluster::builder().members(1).app(KvStore::new())).await.unwrap();
    let cluster = stage.cluster();
    cluster.set_deduplication(deduplication);
    let recorder = Recorder::new(1);
    let slow = store(stage.client().build().unwrap()).await;
    let quick = store(stage.direct_client().build().unwrap()).await;
    let read = async || {
        let pending = recorder.read(0).unwrap();
        let value = within(quick.get("register")).await.unwrap();
        pending.gave(value.map(|value| value.as_str().parse().unwrap()));
    };

    let proxy = &stage.proxies()["node-1"];
    let blackhole = zraft_chaos::proxy::Link { blackhole: true, ..Default::default() };
    proxy.set_link(zraft_chaos::proxy::Direction::ToClient, blackhole);
    let first = recorder.write(0, 1).unwrap();
    let writing = tokio::spawn(async move { slow.set("register", "1").await });
    within(cluster.journal_reached(1)).await;
    read().await;
    let second = recorder.write(0, 2).unwrap();
    within(quick.set("register", "2")).await.unwrap();
    second.written();
    read().await;
    // The connection is lost with the answer; the client connects anew and sends the command again.
    within(proxy.cut(zraft_chaos::proxy::Cut::Reset)).await;
    proxy.heal();
    within(writing).await.unwrap().unwrap();
    first.written();
    read().await;

    let verdict = zraft_chaos::register::check(&recorder.histories()[0]);
    stage.shutdown().await;
    verdict
}

async fn store(client: RaftClient) -> KvClient {
    within(client.connect()).await.unwrap();
    KvClient::new(client)
}

#[tokio::test]
async fn a_write_sent_again_after_it_was_overwritten_changes_nothing_thanks_to_deduplication() {
    assert_eq!(overtaken_write(true).await, Verdict::Linearizable);
    assert_eq!(overtaken_write(false).await, Verdict::NotLinearizable { stuck: 4 });
}
