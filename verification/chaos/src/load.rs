//! The load: commands that append their number to a log, and their outcomes.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior, interval},
};
use zraft_cli::latency::Latencies;
use zraft_client::{Error, RaftClient};
use zraft_protocol::SplitMix64;
use zraft_test_server::{Audit, ClusterHandle, Findings};

use crate::numbered::{number, payload};

/// The audit reads the journal after this many outcomes: often enough that the journal has not dropped entries, rarely
/// enough to cost little.
const AUDIT_EVERY: u64 = 500;

/// The pace at which commands are submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// This many per second, whether or not earlier ones are answered.
    PerSecond(u32),
    /// This many concurrent callers. Each submits a command when its last one has an outcome.
    Callers(usize),
}

/// The work of a load.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    /// The pace of the submissions.
    pub pace: Pace,
    /// The number of commands, unless the load is stopped before.
    pub commands: u64,
    /// The largest padding of a payload in bytes.
    pub padding: usize,
}

impl Work {
    /// Creates work of short commands that continues until the load is stopped.
    pub fn at(pace: Pace) -> Self {
        Self { pace, commands: u64::MAX, padding: 0 }
    }

    /// Returns the payload of a command, with padding of a length up to the largest.
    fn payload(&self, number: u64) -> Bytes {
        // The command's number is the seed, so the lengths look random and are the same in every run.
        let padding = SplitMix64::new(number).below(self.padding as u64 + 1);
        payload(number, usize::try_from(padding).unwrap_or_default())
    }
}

/// The outcome of one command, as its caller got it.
#[derive(Debug)]
pub struct Settled {
    number: u64,
    /// The time from submitting the command to its outcome.
    pub took: Duration,
    /// The position in the answer, or the error.
    pub result: Result<u64, Error>,
}

/// A running load.
#[derive(Debug)]
pub struct Load {
    settled: mpsc::Receiver<Settled>,
    stop: Arc<AtomicBool>,
}

/// A handle that stops the load.
#[derive(Clone, Debug)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Stops the load: no more commands are submitted.
    pub fn now(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Load {
    /// Starts the load on these clients.
    pub fn start(clients: &[RaftClient], work: Work) -> Self {
        let (tell, settled) = mpsc::channel(1024);
        let stop = Arc::new(AtomicBool::new(false));
        match work.pace {
            Pace::PerSecond(rate) => {
                let (clients, stop) = (clients.to_vec(), stop.clone());
                tokio::spawn(steady(clients, rate, work, tell, stop));
            }
            Pace::Callers(callers) => {
                let next = Arc::new(AtomicU64::new(0));
                for client in clients.iter().cycle().take(callers) {
                    let (client, tell) = (client.clone(), tell.clone());
                    tokio::spawn(caller(client, next.clone(), work, tell, stop.clone()));
                }
            }
        }
        Self { settled, stop }
    }

    /// Returns a handle that stops the load.
    pub fn stop(&self) -> Stop {
        Stop(self.stop.clone())
    }

    /// Waits until the load has ended, and compares the outcomes with the cluster's journal. Keeps `answered` at one
    /// above the highest answered position, and calls `each` with every outcome.
    pub async fn judge(
        mut self,
        cluster: &ClusterHandle,
        answered: &watch::Sender<u64>,
        mut each: impl FnMut(&Settled),
    ) -> Outcome {
        let mut outcome = Outcome::default();
        let mut audit = Audit::default();
        while let Some(settled) = self.settled.recv().await {
            outcome.submitted += 1;
            match &settled.result {
                Ok(position) => {
                    outcome.answered += 1;
                    outcome.latencies.record(settled.took);
                    audit.answered(settled.number, *position);
                    answered.send_if_modified(|highest| {
                        let higher = *position >= *highest;
                        *highest = (*highest).max(position + 1);
                        higher
                    });
                }
                Err(error) => {
                    *outcome.errors.entry(error.code()).or_default() += 1;
                    audit.failed(settled.number, error.maybe_executed());
                }
            }
            each(&settled);
            if outcome.submitted.is_multiple_of(AUDIT_EVERY) {
                cluster.inspect(|engine| audit.read(engine.journal(), |e| number(&e.payload)));
            }
        }
        cluster.inspect(|engine| audit.read(engine.journal(), |e| number(&e.payload)));
        outcome.findings = audit.finish();
        outcome
    }
}

/// The summary of a load.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The number of commands submitted. Each has an outcome.
    pub submitted: u64,
    /// The number of commands answered.
    pub answered: u64,
    /// The number of errors that callers got, by code.
    pub errors: BTreeMap<&'static str, u64>,
    /// The findings of the audit.
    pub findings: Findings,
    /// The latencies of the answered commands, from submission to answer.
    pub latencies: Latencies,
}

impl Outcome {
    /// Returns true if all commands were answered and each was executed once, at the position in its answer.
    pub fn is_flawless(&self) -> bool {
        self.findings.hold()
            && self.errors.is_empty()
            && self.findings.applied_once == self.submitted
            && self.findings.unknown == 0
    }
}

async fn steady(
    clients: Vec<RaftClient>,
    rate: u32,
    work: Work,
    tell: mpsc::Sender<Settled>,
    stop: Arc<AtomicBool>,
) {
    let mut ticks = interval(Duration::from_secs(1) / rate.max(1));
    // Submit late commands in a burst, so that the average rate holds.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for (number, client) in (0..work.commands).zip(clients.iter().cycle()) {
        ticks.tick().await;
        if stop.load(Ordering::Relaxed) || tell.is_closed() {
            return;
        }
        let (client, tell) = (client.clone(), tell.clone());
        tokio::spawn(async move {
            // The receiver is dropped only if the run is given up.
            let _ = tell.send(submit(&client, number, work.payload(number)).await).await;
        });
    }
}

async fn caller(
    client: RaftClient,
    next: Arc<AtomicU64>,
    work: Work,
    tell: mpsc::Sender<Settled>,
    stop: Arc<AtomicBool>,
) {
    while !stop.load(Ordering::Relaxed) {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= work.commands
            || tell.send(submit(&client, number, work.payload(number)).await).await.is_err()
        {
            return;
        }
    }
}

async fn submit(client: &RaftClient, number: u64, payload: Bytes) -> Settled {
    let started = Instant::now();
    let answer = client.submit_command(payload).await;
    // An answer that is not a position becomes one that no log can reach, so that the audit rejects it.
    let result = answer.map(|answer| self::number(&answer).unwrap_or(u64::MAX - 1));
    Settled { number, took: started.elapsed(), result }
}
