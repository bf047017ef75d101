//! Registers of the key-value store under faults: the histories of concurrent clients must be linearizable.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet, VecDeque},
};

use crate::support::within;
use zraft_chaos::{
    faults::Fault,
    linearizability::Verdict,
    register::Recorder,
    runs::registers::{self, Found, Settings},
    stage::Stage,
};
use zraft_client::RaftClient;
use zraft_kv::KvClient;
use zraft_protocol::Payload;
use zraft_test_server::{
    AppSnapshot, Application, Command, Context, KvStore, QueryContext, Rejected, RestoreError,
    SnapshotInput, TestCluster,
};

/// How often each fault is injected.
const ROUNDS: u32 = 2;
/// The number of runs within which a planted bug must be found.
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
async fn checker_finds_a_violation_without_deduplication() {
    let mut found = false;
    for seed in 1..=TRIES {
        let faults = [Fault::LostAnswers, Fault::Kill];
        let settings = Settings { deduplication: false, ..settings(seed, &faults) };
        found |= violates(&within(registers::run(&settings)).await.unwrap());
        if found {
            break;
        }
    }
    assert!(found, "no violation was found in {TRIES} runs without deduplication");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checker_finds_a_violation_with_stale_reads() {
    let mut found = false;
    for seed in 1..=TRIES {
        let settings = settings(seed, &[]);
        let run = registers::run_on(&settings, StaleReads::default());
        found |= violates(&within(run).await.unwrap());
        if found {
            break;
        }
    }
    assert!(found, "no violation was found in {TRIES} runs with stale reads");
}

fn violates(found: &Found) -> bool {
    found.violations().any(|(_, _, verdict)| matches!(verdict, Verdict::NotLinearizable { .. }))
}

/// The number of commands that a stale answer is behind: most of those in progress at a time.
const BEHIND: usize = 8;

/// A key-value store that answers every tenth query from an earlier state.
#[derive(Default)]
struct StaleReads {
    now: KvStore,
    before: BTreeMap<zraft_kv::Key, zraft_kv::Value>,
    between: VecDeque<Payload>,
    queries: Cell<u32>,
}

impl Application for StaleReads {
    fn apply(
        &mut self,
        context: &mut Context<'_>,
        command: Command<'_>,
    ) -> Result<Payload, Rejected> {
        self.between.push_back(command.payload().clone());
        if self.between.len() > BEHIND
            && let Some(payload) = self.between.pop_front()
            && let Ok(zraft_kv::Command::Set { key, value }) =
                zraft_kv::Command::decode(payload.as_bytes())
        {
            self.before.insert(key, value);
        }
        self.now.apply(context, command)
    }

    fn query(&self, context: &QueryContext<'_>, query: &Payload) -> Result<Payload, Rejected> {
        self.queries.set(self.queries.get() + 1);
        if self.queries.get().is_multiple_of(10)
            && let Ok(zraft_kv::Query::Get { key }) = zraft_kv::Query::decode(query.as_bytes())
        {
            let stale = zraft_kv::GetResult { value: self.before.get(&key).cloned() };
            return Payload::new(stale.encode()).map_err(|_| Rejected::without_answer());
        }
        self.now.query(context, query)
    }

    fn snapshot(&self) -> AppSnapshot {
        self.now.snapshot()
    }

    fn restore(input: &mut SnapshotInput<'_>) -> Result<Self, RestoreError> {
        Ok(Self { now: KvStore::restore(input)?, ..Self::default() })
    }
}

/// Plays one history step by step: the network holds back the answer to a write while another write overwrites it.
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
    let blackhole = zraft_chaos::proxy::LinkQuality { blackhole: true, ..Default::default() };
    proxy.set_link(zraft_chaos::proxy::Direction::ToClient, blackhole);
    let first = recorder.write(0, 1).unwrap();
    let writing = tokio::spawn(async move { slow.set("register", "1").await });
    within(cluster.journal_reached(1)).await;
    read().await;
    let second = recorder.write(0, 2).unwrap();
    within(quick.set("register", "2")).await.unwrap();
    second.written();
    read().await;
    // The connection ends and the answer is lost; the client reconnects and resends the command.
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
async fn resent_write_that_was_overwritten_changes_nothing_with_deduplication() {
    assert_eq!(overtaken_write(true).await, Verdict::Linearizable);
    assert_eq!(overtaken_write(false).await, Verdict::NotLinearizable { stuck: 4 });
}
