//! Server processes under faults: what was answered is compared with the replicated log, and histories of registers must be linearizable.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use zraft_cli::demo::{Acknowledged, Comparison, read_log};
use zraft_client::{ClientBuilder, RaftClient};
use zraft_kv::{KvClient, Watch};

use super::registers::{self, Load};
use crate::{
    failure::Failure,
    linearizability::{Operation, Verdict},
    processes::{Cluster, Faults, Layer},
    register::{self, Op, Recorder},
};

/// A run must end by then. It is far longer than the longest one takes.
const PATIENCE: Duration = Duration::from_secs(4 * 3600);
/// Concurrent sessions, and callers of each.
const SESSIONS: usize = 3;
const CALLERS: usize = 4;
/// Registers whose histories are recorded at the same time.
const REGISTERS: usize = 16;

/// The settings of the run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The program `zraft`.
    pub program: PathBuf,
    /// The number of processes to kill, half of them on the log and half on the registers.
    pub kills: u64,
    /// The seed of the faults.
    pub seed: u64,
    /// What makes the members' disks fail; without it, they do not fail.
    pub layer: Option<Layer>,
}

/// What a run has found.
#[derive(Debug)]
pub struct Found {
    /// How often each fault was injected.
    pub faults: BTreeMap<&'static str, u64>,
    /// The number of processes that were killed.
    pub kills: u64,
    /// The log beside the answers, on an append log.
    pub log: Comparison,
    /// Commands on the log that were answered, and that ended with an error.
    pub answered: (u64, u64),
    /// The histories of the registers, by name, with the checker's verdict.
    pub histories: Vec<(String, Vec<Operation<Op>>, Verdict)>,
    /// The folder of the members after a history that is not linearizable, for whoever looks for the reason.
    pub kept: Option<PathBuf>,
    /// True if all members had the same state at the end of both halves.
    pub members_equal: bool,
    /// The time of both halves.
    pub took: Duration,
}

impl Found {
    /// Returns true if every promise was kept.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.log.applied_once == self.answered.0
            && self.log.applied_twice == 0
            && self.log.lost == 0
            && self.histories.iter().all(|(_, _, verdict)| *verdict == Verdict::Linearizable)
            && self.members_equal
    }

    /// Returns the result as one JSON object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let operations = || self.histories.iter().flat_map(|(_, history, _)| history);
        let wrong =
            self.histories.iter().filter(|(_, _, verdict)| *verdict != Verdict::Linearizable);
        let wrong = wrong.map(
            |(name, _, verdict)| json!({ "register": name, "verdict": format!("{verdict:?}") }),
        );
        json!({
            "run": "server",
            "holds": self.holds(),
            "seconds": self.took.as_secs_f64(),
            "kills": self.kills,
            "faults": self.faults,
            "commandsAnswered": self.answered.0,
            "commandsFailed": self.answered.1,
            "appliedOnce": self.log.applied_once,
            "appliedTwice": self.log.applied_twice,
            "lost": self.log.lost,
            "notAcknowledged": self.log.unacknowledged,
            "registers": self.histories.len(),
            "operations": operations().count(),
            "ofUnknownOutcome": operations().filter(|operation| operation.returned.is_none()).count(),
            "notLinearizable": wrong.collect::<Vec<_>>(),
            "membersEqual": self.members_equal,
            "membersFiles": self.kept,
        })
    }

    /// Returns the histories of the registers, one JSON object on each line, for another checker.
    #[must_use]
    pub fn history(&self) -> String {
        let line = |name: &str, operation: &Operation<Op>| {
            // As text, because not every program reads whole numbers of this size.
            let (kind, value) = match operation.op {
                Op::Write(value) => ("write", Some(value.to_string())),
                Op::Read(value) => ("read", value.map(|value| value.to_string())),
            };
            let (call, end) = (operation.invoked, operation.returned);
            json!({ "register": name, "kind": kind, "value": value, "call": call, "return": end })
        };
        let lines = self.histories.iter().flat_map(|(name, history, _)| {
            history.iter().map(move |operation| format!("{}\n", line(name, operation)))
        });
        lines.collect()
    }
}

/// Executes the run.
///
/// # Errors
/// [`Failure`] if the run fails to execute, or a member ends by itself.
pub async fn run(settings: &Settings) -> Result<Found, Failure> {
    let started = Instant::now();
    let mut tally = Tally::default();
    let half = settings.kills.div_ceil(2);
    let on_log = on_log(settings, half, &mut tally).await?;
    let on_registers = on_registers(settings, &mut tally).await?;
    Ok(Found {
        faults: tally.faults,
        kills: tally.kills,
        log: on_log.comparison,
        answered: on_log.answered,
        histories: on_registers.histories,
        kept: on_registers.kept,
        members_equal: on_log.members_equal && on_registers.members_equal,
        took: started.elapsed(),
    })
}

#[derive(Debug, Default)]
struct Tally {
    faults: BTreeMap<&'static str, u64>,
    kills: u64,
}

impl Tally {
    /// Injects faults until this many processes were killed.
    async fn until(&mut self, kills: u64, faults: &mut Faults<'_>) -> Result<(), Failure> {
        while self.kills < kills {
            self.one(faults).await?;
        }
        Ok(())
    }

    async fn one(&mut self, faults: &mut Faults<'_>) -> Result<(), Failure> {
        let fault = faults.choose();
        faults.inject(fault).await?;
        *self.faults.entry(fault.name()).or_default() += 1;
        self.kills += fault.kills();
        Ok(())
    }
}

struct OnLog {
    comparison: Comparison,
    answered: (u64, u64),
    members_equal: bool,
}

/// Appends to a log under faults, and compares it with the answers at the end.
async fn on_log(settings: &Settings, kills: u64, tally: &mut Tally) -> Result<OnLog, Failure> {
    let cluster = start(settings, "append-log").await?;
    let clients = connect(&cluster, patient).await?;
    let (stop, next) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut callers = JoinSet::new();
    for client in clients.iter().flat_map(|client| std::iter::repeat_n(client, CALLERS)) {
        callers.spawn(append(client.clone(), next.clone(), stop.clone()));
    }
    let mut faults = Faults::new(&cluster, settings.seed);
    unless_one_ends(&cluster, tally.until(kills, &mut faults)).await?;
    stop.store(true, Ordering::Relaxed);
    let (mut acknowledged, mut failed) = (Vec::new(), 0);
    while let Some(caller) = callers.join_next().await {
        let (answered, errors) = caller?;
        acknowledged.extend(answered);
        failed += errors;
    }
    let log = read_log(&clients[0]).await.map_err(Failure::Member)?;
    let comparison = Comparison::new(&acknowledged, &log);
    let members_equal = close(&cluster, &clients).await?;
    Ok(OnLog { comparison, answered: (acknowledged.len() as u64, failed), members_equal })
}

/// Appends items one after the other. Returns what was answered, and how many commands ended with an error.
async fn append(
    client: RaftClient,
    next: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
) -> (Vec<Acknowledged>, u64) {
    let (mut acknowledged, mut errors) = (Vec::new(), 0);
    while !stop.load(Ordering::Relaxed) {
        let payload = Bytes::from(format!("item {}", next.fetch_add(1, Ordering::Relaxed)));
        let answer = client.submit_command(payload.clone()).await;
        match answer.ok().and_then(|answer| answer.first_chunk::<8>().copied()) {
            Some(position) => {
                acknowledged.push(Acknowledged { payload, position: u64::from_be_bytes(position) });
            }
            None => errors += 1,
        }
    }
    (acknowledged, errors)
}

struct OnRegisters {
    kept: Option<PathBuf>,
    histories: Vec<(String, Vec<Operation<Op>>, Verdict)>,
    members_equal: bool,
}

/// Writes and reads registers under faults. A history has a limit, so new registers follow until enough processes were killed.
async fn on_registers(settings: &Settings, tally: &mut Tally) -> Result<OnRegisters, Failure> {
    let seed = settings.seed;
    let mut cluster = start(settings, "kv-store").await?;
    let clients = connect(&cluster, registers::impatient).await?;
    // The store removes keys that no session watches, every 5 minutes.
    let watcher = patient(cluster.client()).build()?;
    watcher.connect().await?;
    let watching = KvClient::new(watcher.clone());
    let mut watch = None;
    let (mut histories, mut kept) = (Vec::new(), None);
    let mut epoch = 0;
    let mut rng = seed.wrapping_add(1);
    while tally.kills < settings.kills {
        rng = rng.wrapping_add(1);
        let mut faults = Faults::new(&cluster, rng);
        let prefix = format!("epoch-{epoch}");
        let load = Load {
            callers: SESSIONS * CALLERS,
            registers: REGISTERS,
            prefix: &prefix,
            seed: seed.wrapping_add(epoch),
        };
        let mut watched = match watch.take() {
            Some(watch) => watch,
            None => watching.watch(load.key(0)).await.map_err(of_store)?,
        };
        for register in 0..REGISTERS {
            watched.add(load.key(register)).await.map_err(of_store)?;
        }
        let recorder = Recorder::new(REGISTERS);
        let full = AtomicBool::new(false);
        let work = async {
            let done = registers::work(&clients, &load, &recorder).await;
            full.store(true, Ordering::Relaxed);
            done.map_err(Failure::from)
        };
        let trouble = async {
            while !full.load(Ordering::Relaxed) {
                tally.one(&mut faults).await?;
            }
            Ok(())
        };
        let both = async { tokio::try_join!(work, trouble).map(drop) };
        let done = async {
            tokio::select! {
                done = both => done,
                () = follow(&mut watched) => Err(Failure::Member("the watch ended".to_owned())),
            }
        };
        unless_one_ends(&cluster, done).await?;
        watch = Some(watched);
        let mut sound = true;
        for (number, history) in recorder.histories().into_iter().enumerate() {
            let verdict = register::check(&history);
            sound &= verdict == Verdict::Linearizable;
            histories.push((format!("{prefix}-{number}"), history, verdict));
        }
        epoch += 1;
        if !sound {
            // The files tell more than a longer run.
            kept = Some(cluster.keep().to_owned());
            break;
        }
    }
    watcher.disconnect_within(Duration::from_secs(1)).await;
    let members_equal = close(&cluster, &clients).await?;
    Ok(OnRegisters { histories, kept, members_equal })
}

fn of_store(error: zraft_kv::Error) -> Failure {
    Failure::Member(format!("the keys cannot be watched: {error}"))
}

/// Takes what the watch tells, so that it is acknowledged.
async fn follow(watch: &mut Watch) {
    while watch.next().await.is_some() {}
}

async fn start(settings: &Settings, application: &str) -> Result<Cluster, Failure> {
    Cluster::start(&settings.program, application, PATIENCE, settings.layer.clone()).await
}

/// Does the work. A member that ends by itself ends it with the reason.
async fn unless_one_ends(
    cluster: &Cluster,
    work: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    tokio::select! {
        biased;
        problem = cluster.processes().watch() => Err(Failure::Member(problem)),
        done = work => done,
    }
}

/// Lets every request wait through the longest fault.
fn patient(settings: ClientBuilder) -> ClientBuilder {
    registers::impatient(settings).request_timeout(Duration::from_secs(120))
}

async fn connect(
    cluster: &Cluster,
    settings: impl Fn(ClientBuilder) -> ClientBuilder,
) -> Result<Vec<RaftClient>, Failure> {
    cluster.leader().await?;
    let mut clients = Vec::new();
    for _ in 0..SESSIONS {
        let client = settings(cluster.client()).build()?;
        client.connect().await?;
        clients.push(client);
    }
    Ok(clients)
}

/// Ends the sessions and the members. Returns true if the members had the same state.
async fn close(cluster: &Cluster, clients: &[RaftClient]) -> Result<bool, Failure> {
    for client in clients {
        client.disconnect_within(Duration::from_secs(1)).await;
    }
    let equal = cluster.processes().are_equal().await.map_err(Failure::Member)?;
    cluster.processes().stop().await.map_err(Failure::Member)?;
    Ok(equal)
}
