//! The soak: a steady load under faults of every kind, for any length of time.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use serde_json::json;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior, interval},
};
use zraft_cli::latency::Latencies;
use zraft_test_server::{AppendLog, Limits, TestCluster};

use crate::{
    beat::{Beat, Beats},
    failure::Failure,
    faults::{Elected, Fault},
    load::{Load, Pace, Settled, Work},
    report::{self, Report},
    runs::{close, connect, failover::first_answer},
    series::{Sample, Series, memory},
    stage::Stage,
};

/// The greatest number of fault marks kept for the plot: more than its 1,200 pixels can show.
const MARKS: usize = 4096;

/// The request timeout: longer than the longest fault, so that a timeout shows a bug in the client.
const PATIENCE: Duration = Duration::from_secs(60);

/// The settings of the run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The length of the run.
    pub time: Beat,
    /// The pace at which commands are submitted.
    pub pace: Pace,
    /// The largest padding of a payload in bytes.
    pub padding: usize,
    /// The number of sessions, each with its own connection.
    pub sessions: usize,
    /// The distance from the end of a fault to the next one.
    pub every: Beat,
    /// The number of commands executed under a fault.
    pub lasting: u64,
    /// The faults to inject, repeatedly, in a random order.
    pub faults: Vec<Fault>,
    /// The duration of an election.
    pub election: Duration,
    /// The time that the cluster takes to commit.
    pub commit_delay: Duration,
    /// The seed of the random choices.
    pub seed: u64,
}

/// The report of a soak and its course over time.
#[derive(Debug)]
pub struct Soaked {
    /// The report.
    pub report: Report,
    /// The figures over time.
    pub series: Series,
    /// The times at which faults began, in seconds since the start. Only the first 4,096 are kept.
    pub marks: Vec<f64>,
}

/// Runs until the time is over or `stopped` resolves, and then until every command in progress has its outcome.
///
/// # Errors
/// Returns a [`Failure`] if the run fails to execute.
pub async fn run(
    settings: &Settings,
    stopped: impl Future<Output = ()>,
) -> Result<Soaked, Failure> {
    let mut limits = Limits::default();
    // The audit reads entries long before they are dropped. A longer journal would dominate the memory that is
    // measured.
    limits.journal_entries = 10_000;
    let cluster = TestCluster::builder()
        .members(3)
        .app(AppendLog::new())
        .limits(limits)
        .election_pause(settings.election)
        .commit_delay(settings.commit_delay)
        .seed(settings.seed);
    let stage = Stage::start(cluster).await?;
    let clients =
        connect(&stage, settings.sessions, |client| client.request_timeout(PATIENCE)).await?;

    let started = Instant::now();
    let load = Load::start(&clients, Work { padding: settings.padding, ..Work::at(settings.pace) });
    let stop = load.stop();
    let mut time = Beats::new(settings.time, stage.cluster().handle());
    let end = async {
        tokio::select! {
            () = time.next() => {}
            () = stopped => {}
        }
        stop.now();
    };
    let (answered, current) = (watch::Sender::default(), Mutex::default());
    let (tell, elections) = mpsc::unbounded_channel();
    let (mut failovers, mut series) = (Failovers::new(), Series::default());
    let mut injector = Injector { started, injected: BTreeMap::new(), marks: Vec::new(), tell };
    let judge = load.judge(stage.cluster(), &answered, |settled| count(settled, &current));
    let outcome = tokio::select! {
        (outcome, ()) = async { tokio::join!(judge, end) } => outcome,
        // Faults continue while the last commands are in progress.
        error = injector.inject(&stage, settings) => return Err(error),
        never = measure(elections, &answered, &mut failovers) => match never {},
        never = sample(&current, started, &mut series) => match never {},
    };
    let took = started.elapsed();
    let held = memory();
    let stats = report::stats(&clients);
    close(&clients, stage).await;

    let failovers: serde_json::Map<_, _> = failovers
        .into_iter()
        .map(|(fault, latencies)| (fault.to_owned(), latencies.to_json()))
        .collect();
    let more = vec![
        ("failoverMs", json!(failovers)),
        ("memoryKib", json!(held)),
        ("memorySlopeKibPerHour", json!(series.memory_slope())),
        ("series", series.to_json()),
    ];
    let Injector { injected: faults, marks, .. } = injector;
    let report = Report { name: "soak", took, outcome, stats, faults, more };
    Ok(Soaked { report, series, marks })
}

/// For each fault, the time to the first answer of the new leader.
type Failovers = BTreeMap<&'static str, Latencies>;

/// Adds the outcome of a command to the current sample.
fn count(settled: &Settled, current: &Mutex<Sample>) {
    let mut sample = current.lock().unwrap_or_else(PoisonError::into_inner);
    sample.answered += u64::from(settled.result.is_ok());
    sample.errors += u64::from(settled.result.is_err());
    sample.slowest = sample.slowest.max(settled.took.as_secs_f64() * 1000.0);
}

/// Completes a sample every second.
async fn sample(current: &Mutex<Sample>, started: Instant, series: &mut Series) -> Infallible {
    let mut ticks = interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    let mut last = 0.0;
    loop {
        ticks.tick().await;
        let at = started.elapsed().as_secs_f64();
        let sample = std::mem::take(&mut *current.lock().unwrap_or_else(PoisonError::into_inner));
        series.push(Sample { at, seconds: at - last, memory: memory(), ..sample });
        last = at;
    }
}

/// Measures the time to the first answer after each change of leaders.
async fn measure(
    mut elections: mpsc::UnboundedReceiver<(Fault, Elected)>,
    answered: &watch::Sender<u64>,
    failovers: &mut Failovers,
) -> Infallible {
    loop {
        match elections.recv().await {
            Some((fault, elected)) => {
                let took = first_answer(elected, answered).await;
                failovers.entry(fault.name()).or_default().record(took);
            }
            None => std::future::pending().await,
        }
    }
}

/// Injects faults and records them.
struct Injector {
    started: Instant,
    injected: BTreeMap<&'static str, u64>,
    marks: Vec<f64>,
    tell: mpsc::UnboundedSender<(Fault, Elected)>,
}

impl Injector {
    /// Injects one fault after the other until the future is dropped. Returns only on an error.
    async fn inject(&mut self, stage: &Stage, settings: &Settings) -> Failure {
        let mut faults = stage.faults(settings.seed).lasting(settings.lasting);
        loop {
            for fault in faults.shuffled(&settings.faults) {
                // The distance counts from the end of the last fault.
                Beats::new(settings.every, stage.cluster().handle()).next().await;
                *self.injected.entry(fault.name()).or_default() += 1;
                if self.marks.len() < MARKS {
                    self.marks.push(self.started.elapsed().as_secs_f64());
                }
                let mut elected = |elected| {
                    // The receiver lives as long as this future, so this cannot fail.
                    let _ = self.tell.send((fault, elected));
                };
                faults.change_weather();
                if let Err(error) = faults.inject(fault, &mut elected).await {
                    return error.into();
                }
            }
            if settings.faults.is_empty() {
                std::future::pending::<()>().await;
            }
        }
    }
}
