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
    /// What makes the members' disks fail or lose writes, and sets their clocks.
    pub layer: Layer,
}

/// What a run has found.
#[derive(Debug)]
pub struct Found {
    /// How often each fault was injected.
    pub faults: BTreeMap<&'static str, u64>,
    /// The number of processes that were killed.
    pub kills: u64,
    /// The writes that were not synced when a member lost power; some of them were kept.
    pub lost_writes: u64,
    /// The half on an append log.
    pub log: OnLog,
    /// The half on registers.
    pub registers: OnRegisters,
    /// The folders and logs of the members of each half that broke a promise.
    pub kept: Vec<PathBuf>,
    /// The time of both halves.
    pub took: Duration,
}

/// What the half on an append log has found.
#[derive(Debug)]
pub struct OnLog {
    /// The log beside the answers.
    pub comparison: Comparison,
    /// The number of commands that were answered.
    pub answered: u64,
    /// The number of commands that ended with an error.
    pub failed: u64,
    /// True if all members had the same state at the end.
    pub members_equal: bool,
}

impl OnLog {
    /// Returns true if commands were answered, each of them is in the log once, and the members are equal.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.answered > 0
            && self.comparison.applied_once == self.answered
            && self.comparison.applied_twice == 0
            && self.comparison.lost == 0
            && self.members_equal
    }
}

/// What the half on registers has found.
#[derive(Debug)]
pub struct OnRegisters {
    /// The histories of the registers, by name, with the checker's verdict.
    pub histories: Vec<(String, Vec<Operation<Op>>, Verdict)>,
    /// True if all members had the same state at the end.
    pub members_equal: bool,
}

impl OnRegisters {
    /// Returns true if there are histories, each of them is known to be linearizable, and the members are equal. A history that
    /// the checker could not decide counts as one that is not linearizable.
    #[must_use]
    pub fn holds(&self) -> bool {
        !self.histories.is_empty()
            && self.histories.iter().all(|(_, _, verdict)| *verdict == Verdict::Linearizable)
            && self.members_equal
    }
}

impl Found {
    /// Returns true if every promise was kept.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.log.holds() && self.registers.holds()
    }

    /// Returns the result as one JSON object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let (histories, log) = (&self.registers.histories, &self.log.comparison);
        let operations = || histories.iter().flat_map(|(_, history, _)| history);
        let (mut wrong, mut undecided) = (Vec::new(), Vec::new());
        for (name, _, verdict) in histories {
            match verdict {
                Verdict::Linearizable => {}
                Verdict::NotLinearizable { stuck } => {
                    wrong.push(json!({ "register": name, "stuckAtOperation": stuck }));
                }
                Verdict::TooHard => undecided.push(name),
            }
        }
        json!({
            "run": "server",
            "holds": self.holds(),
            "seconds": self.took.as_secs_f64(),
            "kills": self.kills,
            "writesInDoubt": self.lost_writes,
            "faults": self.faults,
            "commandsAnswered": self.log.answered,
            "commandsFailed": self.log.failed,
            "appliedOnce": log.applied_once,
            "appliedTwice": log.applied_twice,
            "lost": log.lost,
            "notAcknowledged": log.unacknowledged,
            "registers": histories.len(),
            "operations": operations().count(),
            "ofUnknownOutcome": operations().filter(|operation| operation.returned.is_none()).count(),
            "notLinearizable": wrong,
            "notDecided": undecided,
            "membersEqual": self.log.members_equal && self.registers.members_equal,
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
        let lines = self.registers.histories.iter().flat_map(|(name, history, _)| {
            history.iter().map(move |operation| format!("{}\n", line(name, operation)))
        });
        lines.collect()
    }
}

/// Executes the run.
///
/// # Errors
/// [`Failure`] if the run fails to execute, or a member ends by itself. The files of the members are kept then.
pub async fn run(settings: &Settings) -> Result<Found, Failure> {
    let started = Instant::now();
    let mut tally = Tally::default();
    let mut kept = Vec::new();
    let half = settings.kills.div_ceil(2);

    let mut cluster = start(settings, "append-log").await?;
    let done = unless_one_ends(&cluster, on_log(&cluster, settings, half, &mut tally)).await;
    let log = keep_if(&mut cluster, done, |log| !log.holds(), &mut kept)?;
    drop(cluster);

    let mut cluster = start(settings, "kv-store").await?;
    let done = unless_one_ends(&cluster, on_registers(&cluster, settings, &mut tally)).await;
    let registers = keep_if(&mut cluster, done, |registers| !registers.holds(), &mut kept)?;
    drop(cluster);

    let Tally { faults, kills, lost_writes } = tally;
    Ok(Found { faults, kills, lost_writes, log, registers, kept, took: started.elapsed() })
}

/// Keeps the files of the members if the work failed, or if its result is broken.
fn keep_if<T>(
    cluster: &mut Cluster,
    done: Result<T, Failure>,
    is_broken: impl FnOnce(&T) -> bool,
    kept: &mut Vec<PathBuf>,
) -> Result<T, Failure> {
    match done {
        Ok(found) => {
            if is_broken(&found) {
                kept.push(cluster.keep().to_owned());
            }
            Ok(found)
        }
        Err(failure) => Err(failure.with_files(cluster.keep())),
    }
}

#[derive(Debug, Default)]
struct Tally {
    faults: BTreeMap<&'static str, u64>,
    kills: u64,
    lost_writes: u64,
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

/// Appends to a log under faults, and compares it with the answers at the end.
async fn on_log(
    cluster: &Cluster,
    settings: &Settings,
    kills: u64,
    tally: &mut Tally,
) -> Result<OnLog, Failure> {
    let clients = connect(cluster, patient).await?;
    let (stop, next) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut callers = JoinSet::new();
    for client in clients.iter().flat_map(|client| std::iter::repeat_n(client, CALLERS)) {
        callers.spawn(append(client.clone(), next.clone(), stop.clone()));
    }
    let mut faults = Faults::new(cluster, settings.seed);
    tally.until(kills, &mut faults).await?;
    stop.store(true, Ordering::Relaxed);
    let (mut acknowledged, mut failed) = (Vec::new(), 0);
    while let Some(caller) = callers.join_next().await {
        let (answered, errors) = caller?;
        acknowledged.extend(answered);
        failed += errors;
    }
    let log = read_log(&clients[0]).await.map_err(Failure::Member)?;
    let comparison = Comparison::new(&acknowledged, &log);
    tally.lost_writes += cluster.lost_writes();
    let members_equal = close(cluster, &clients).await?;
    Ok(OnLog { comparison, answered: acknowledged.len() as u64, failed, members_equal })
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

/// Writes and reads registers under faults. A history has a limit, so new registers follow until enough processes were killed. The first
/// ones are always used.
async fn on_registers(
    cluster: &Cluster,
    settings: &Settings,
    tally: &mut Tally,
) -> Result<OnRegisters, Failure> {
    let seed = settings.seed;
    let clients = connect(cluster, registers::impatient).await?;
    // The store removes keys that no session watches, every 5 minutes.
    let watcher = patient(cluster.client()).build()?;
    watcher.connect().await?;
    let watching = KvClient::new(watcher.clone());
    let mut watch = None;
    let mut histories = Vec::new();
    let mut epoch = 0;
    let mut rng = seed.wrapping_add(1);
    loop {
        rng = rng.wrapping_add(1);
        let mut faults = Faults::new(cluster, rng);
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
        tokio::select! {
            done = both => done?,
            () = follow(&mut watched) => {
                return Err(Failure::Member("the watch ended".to_owned()));
            }
        }
        watch = Some(watched);
        let mut sound = true;
        for (number, history) in recorder.histories().into_iter().enumerate() {
            let verdict = register::check(&history);
            sound &= verdict == Verdict::Linearizable;
            histories.push((format!("{prefix}-{number}"), history, verdict));
        }
        epoch += 1;
        // The files of a broken promise tell more than a longer run.
        if !sound || tally.kills >= settings.kills {
            break;
        }
    }
    watcher.disconnect_within(Duration::from_secs(1)).await;
    tally.lost_writes += cluster.lost_writes();
    let members_equal = close(cluster, &clients).await?;
    Ok(OnRegisters { histories, members_equal })
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
async fn unless_one_ends<T>(
    cluster: &Cluster,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn registers(verdicts: &[Verdict]) -> OnRegisters {
        let histories =
            verdicts.iter().map(|verdict| ("register".to_owned(), Vec::new(), *verdict));
        OnRegisters { histories: histories.collect(), members_equal: true }
    }

    #[test]
    fn history_that_is_wrong_or_not_decided_breaks_the_run_and_so_does_none_at_all() {
        let (right, wrong) = (Verdict::Linearizable, Verdict::NotLinearizable { stuck: 0 });
        assert!(registers(&[right, right]).holds());
        for verdicts in [&[right, wrong][..], &[right, Verdict::TooHard], &[]] {
            assert!(!registers(verdicts).holds(), "{verdicts:?}");
        }
    }

    #[test]
    fn report_tells_wrong_histories_from_those_that_are_not_decided() {
        let log = OnLog {
            comparison: Comparison::new(&[], &[]),
            answered: 0,
            failed: 0,
            members_equal: true,
        };
        let found = Found {
            faults: BTreeMap::new(),
            kills: 0,
            lost_writes: 0,
            log,
            registers: registers(&[Verdict::TooHard, Verdict::NotLinearizable { stuck: 7 }]),
            kept: vec![PathBuf::from("kept")],
            took: Duration::ZERO,
        };
        let report = found.to_json();
        assert_eq!(report["holds"], false);
        assert_eq!(report["notDecided"], json!(["register"]));
        assert_eq!(
            report["notLinearizable"],
            json!([{ "register": "register", "stuckAtOperation": 7 }])
        );
        assert_eq!(report["membersFiles"], json!(["kept"]));
    }
}
