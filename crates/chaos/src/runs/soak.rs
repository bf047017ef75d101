//! Faults of every kind, for as long as asked, at a steady rate.

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
    load::{Load, Pace, Told, Work},
    report::{self, Report},
    runs::{close, connect, failover::first_answer},
    series::{Sample, Series, memory},
    stage::Stage,
};

/// Marks of faults kept for the plot.
const MARKS: usize = 4096;

/// How long a command is waited for: longer than the longest fault is, so that an error is a fault of the client's.
const PATIENCE: Duration = Duration::from_secs(60);

/// What to run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long commands are submitted.
    pub time: Beat,
    /// When they are submitted.
    pub pace: Pace,
    /// Bytes of a payload at most, beyond its number.
    pub padding: usize,
    /// Sessions, each with a connection of its own.
    pub sessions: usize,
    /// How long after the end of a fault the next one comes.
    pub every: Beat,
    /// How many commands are executed under a fault.
    pub lasting: u64,
    /// What befalls, in a random order, again and again.
    pub faults: Vec<Fault>,
    /// How long an election takes.
    pub election: Duration,
    /// How long the cluster takes to commit.
    pub commit_delay: Duration,
    /// Feeds the random choices.
    pub seed: u64,
}

/// What a soak found, and what it was like over time.
#[derive(Debug)]
pub struct Soaked {
    /// What it found.
    pub report: Report,
    /// What it was like.
    pub series: Series,
    /// When faults began, in seconds since the start: the first so many.
    pub marks: Vec<f64>,
}

/// Runs until the time is over, or `stopped` resolves; then until every command under way is done.
///
/// # Errors
/// When the run cannot be made.
pub async fn run(
    settings: &Settings,
    stopped: impl Future<Output = ()>,
) -> Result<Soaked, Failure> {
    let mut limits = Limits::default();
    // The audit reads them long before they give way; more would be most of this process's memory.
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
    let mut troubles = Troubles { started, befell: BTreeMap::new(), marks: Vec::new(), tell };
    let judge = load.judge(stage.cluster(), &answered, |told| count(told, &current));
    let outcome = tokio::select! {
        (outcome, ()) = async { tokio::join!(judge, end) } => outcome,
        // Troubles go on while the last commands are under way.
        error = troubles.brew(&stage, settings) => return Err(error),
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
    let Troubles { befell: faults, marks, .. } = troubles;
    let report = Report { name: "soak", took, outcome, stats, faults, more };
    Ok(Soaked { report, series, marks })
}

/// By fault, how long the first answer of the new leader took.
type Failovers = BTreeMap<&'static str, Latencies>;

/// Adds what a caller was told to the present sample.
fn count(told: &Told, current: &Mutex<Sample>) {
    let mut sample = current.lock().unwrap_or_else(PoisonError::into_inner);
    sample.answered += u64::from(told.result.is_ok());
    sample.errors += u64::from(told.result.is_err());
    sample.slowest = sample.slowest.max(told.took.as_secs_f64() * 1000.0);
}

/// Ends a sample every second.
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

/// Measures how long commands take to flow again after each change of leaders.
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

/// What befalls, and the record of it.
struct Troubles {
    started: Instant,
    befell: BTreeMap<&'static str, u64>,
    marks: Vec<f64>,
    tell: mpsc::UnboundedSender<(Fault, Elected)>,
}

impl Troubles {
    /// Brings one fault after the other about, until it is dropped.
    async fn brew(&mut self, stage: &Stage, settings: &Settings) -> Failure {
        let mut faults = stage.faults(settings.seed).lasting(settings.lasting);
        loop {
            for fault in faults.shuffled(&settings.faults) {
                // From the end of the last one.
                Beats::new(settings.every, stage.cluster().handle()).next().await;
                *self.befell.entry(fault.name()).or_default() += 1;
                if self.marks.len() < MARKS {
                    self.marks.push(self.started.elapsed().as_secs_f64());
                }
                let mut elected = |elected| {
                    // Whoever measures it is there as long as this is.
                    let _ = self.tell.send((fault, elected));
                };
                faults.change_weather();
                if let Err(error) = faults.befall(fault, &mut elected).await {
                    return error.into();
                }
            }
            if settings.faults.is_empty() {
                std::future::pending::<()>().await;
            }
        }
    }
}
