//! Registers of the key-value store that many clients write and read concurrently; the histories must be linearizable.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use fastrand::Rng;
use tokio::task::JoinSet;
use zraft_client::{ClientBuilder, Error, RaftClient};
use zraft_kv::KvClient;
use zraft_test_server::{Application, KvStore, TestCluster};

use crate::{
    failure::Failure,
    faults::{Fault, Faults},
    linearizability::{Operation, Verdict},
    register::{self, Op, Pending, Recorder},
    runs::{close, connect},
    stage::Stage,
};

/// The settings of the run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The number of sessions, each with its own connection.
    pub sessions: usize,
    /// The number of concurrent callers in each session.
    pub callers: usize,
    /// The number of registers. Each gets as many operations as the checker accepts.
    pub registers: usize,
    /// The faults to inject, repeatedly, in a random order.
    pub faults: Vec<Fault>,
    /// The number of commands executed between two faults, and under each fault.
    pub between: u64,
    /// The seed of the random choices.
    pub seed: u64,
    /// Whether the servers deduplicate commands. Without deduplication the histories must be wrong.
    pub deduplication: bool,
}

/// The result of a run.
#[derive(Clone, Debug)]
pub struct Found {
    /// For each register, its history and the checker's verdict.
    pub registers: Vec<(Vec<Operation<Op>>, Verdict)>,
    /// How often each fault was injected.
    pub faults: BTreeMap<&'static str, u64>,
}

impl Found {
    /// Returns the registers whose history is not known to be linearizable.
    pub fn violations(&self) -> impl Iterator<Item = (usize, &[Operation<Op>], Verdict)> {
        let registers = self.registers.iter().enumerate();
        registers
            .map(|(number, (history, verdict))| (number, &history[..], *verdict))
            .filter(|(_, _, verdict)| *verdict != Verdict::Linearizable)
    }

    /// Returns the number of operations, and how many of them have an unknown outcome.
    pub fn operations(&self) -> (usize, usize) {
        let all = self.registers.iter().flat_map(|(history, _)| history);
        (all.clone().count(), all.filter(|operation| operation.returned.is_none()).count())
    }
}

/// Executes the run on the key-value store.
///
/// # Errors
/// Returns a [`Failure`] if the run fails to execute.
pub async fn run(settings: &Settings) -> Result<Found, Failure> {
    run_on(settings, KvStore::new()).await
}

/// Executes the run on an application that speaks the key-value store's payloads. Tests pass one with a bug.
///
/// # Errors
/// Returns a [`Failure`] if the run fails to execute.
pub async fn run_on(settings: &Settings, app: impl Application) -> Result<Found, Failure> {
    let cluster = TestCluster::builder()
        .members(3)
        .app(app)
        .commit_delay(Duration::from_millis(2))
        .election_pause(Duration::from_millis(20))
        .stop_linger(Duration::from_millis(100))
        .seed(settings.seed);
    let stage = Stage::start(cluster).await?;
    stage.cluster().set_deduplication(settings.deduplication);
    let clients = connect(&stage, settings.sessions, impatient).await?;
    let recorder = Recorder::new(settings.registers);
    let mut faults = stage.faults(settings.seed).lasting(settings.between);
    let mut injected = BTreeMap::new();
    let load = Load {
        callers: settings.sessions * settings.callers,
        registers: settings.registers,
        prefix: "register",
        seed: settings.seed,
    };
    let troubled = tokio::select! {
        done = work(&clients, &load, &recorder) => done.map_err(Failure::from),
        error = trouble(&mut faults, settings, &mut injected) => Err(error),
    };
    faults.heal().await;
    troubled?;
    let histories = recorder.histories();
    close(&clients, stage).await;
    let registers = histories
        .into_iter()
        .map(|history| {
            let verdict = register::check(&history);
            (history, verdict)
        })
        .collect();
    Ok(Found { registers, faults: injected })
}

/// Callers that write and read registers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load<'a> {
    pub(super) callers: usize,
    pub(super) registers: usize,
    /// Tells these registers from those of another load.
    pub(super) prefix: &'a str,
    pub(super) seed: u64,
}

impl Load<'_> {
    pub(super) fn key(&self, register: usize) -> String {
        format!("{}-{register}", self.prefix)
    }
}

/// Sets short timeouts, so that a run sees many faults in little time.
pub(super) fn impatient(settings: ClientBuilder) -> ClientBuilder {
    settings
        .connection_timeout(Duration::from_millis(300))
        .resend_interval(Duration::from_millis(100))
        .heartbeat_interval(Duration::from_millis(50))
        .heartbeat_timeout(Duration::from_millis(250))
        .request_timeout(Duration::from_secs(30))
}

async fn trouble(
    faults: &mut Faults,
    settings: &Settings,
    injected: &mut BTreeMap<&'static str, u64>,
) -> Failure {
    if settings.faults.is_empty() {
        return std::future::pending().await;
    }
    loop {
        for fault in faults.shuffled(&settings.faults) {
            faults.progress(settings.between).await;
            *injected.entry(fault.name()).or_default() += 1;
            faults.change_weather();
            if let Err(error) = faults.inject(fault, &mut |_| {}).await {
                return error.into();
            }
        }
    }
}

/// Lets the callers work until every register's history is full.
pub(super) async fn work(
    clients: &[RaftClient],
    load: &Load<'_>,
    recorder: &Recorder,
) -> Result<(), tokio::task::JoinError> {
    let mut callers = JoinSet::new();
    for number in 0..load.callers {
        let store = KvClient::new(clients[number % clients.len()].clone());
        // Each caller and each run gets different random choices.
        let rng = Rng::with_seed(load.seed.wrapping_mul(1000).wrapping_add(number as u64));
        let keys = (0..load.registers).map(|register| load.key(register));
        callers.spawn(caller(store, rng, keys.collect(), recorder.clone()));
    }
    while let Some(ended) = callers.join_next().await {
        ended?;
    }
    Ok(())
}

/// Writes and reads until every register's history is full.
async fn caller(store: KvClient, mut rng: Rng, keys: Vec<String>, recorder: Recorder) {
    let impatient = Arc::new(store.clone().timeout(Duration::from_millis(5)));
    while !recorder.is_full() {
        let register = rng.usize(..keys.len());
        let key = keys[register].clone();
        let store = if rng.u8(..20) == 0 { &impatient } else { &store };
        if rng.bool() {
            // 53 random bits make each value unique for all practical purposes.
            let value = rng.u64(..1 << 53);
            let Some(pending) = recorder.write(register, value) else { continue };
            let written = store.set(key, value.to_string());
            if rng.u8(..40) == 0 {
                give_up(written, pending).await;
            } else {
                end(written.await, pending);
            }
        } else {
            let Some(pending) = recorder.read(register) else { continue };
            match store.get(key).await {
                Ok(value) => pending.gave(value.map(|value| read(value.as_str()))),
                Err(_) => pending.not_done(),
            }
        }
    }
}

/// Parses a value. Text that is not a number becomes `u64::MAX`, which is never written, so the checker rejects it.
fn read(value: &str) -> u64 {
    value.parse().unwrap_or(u64::MAX)
}

fn end(written: Result<(), zraft_kv::Error>, pending: Pending) {
    match written {
        Ok(()) => pending.written(),
        Err(error) if error.maybe_executed() => drop(pending),
        Err(error) => {
            debug_assert!(!matches!(error, zraft_kv::Error::Client(Error::Validation(_))));
            pending.not_done();
        }
    }
}

/// Drops the write right after it was queued.
async fn give_up(written: impl Future<Output = Result<(), zraft_kv::Error>>, pending: Pending) {
    let written = std::pin::pin!(written);
    tokio::select! {
        biased;
        written = written => end(written, pending),
        () = tokio::task::yield_now() => drop(pending),
    }
}
