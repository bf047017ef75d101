//! Commands that append their number to a log, and what became of them.

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
use zraft_test_server::ClusterHandle;

use crate::audit::{Audit, Findings, number, payload};

/// The journal is looked at after so many answers.
const AUDIT_EVERY: u64 = 500;

/// When commands are submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// So many in a second, whatever becomes of them.
    PerSecond(u32),
    /// So many callers side by side; each submits when its last one is done.
    Callers(usize),
}

/// What is submitted.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    /// When.
    pub pace: Pace,
    /// How many commands, unless it is stopped before.
    pub commands: u64,
    /// Bytes of a payload at most, beyond its number.
    pub padding: usize,
}

impl Work {
    /// Short commands, as many as come until it is stopped.
    pub fn at(pace: Pace) -> Self {
        Self { pace, commands: u64::MAX, padding: 0 }
    }

    /// This command, its length somewhere below the most.
    fn payload(&self, number: u64) -> Bytes {
        // Scattered, and the same in every run.
        let scattered = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let span = self.padding as u64 + 1;
        payload(number, usize::try_from(scattered % span).unwrap_or_default())
    }
}

/// What a caller was told of its command.
#[derive(Debug)]
pub struct Told {
    number: u64,
    /// From submitting it to being told.
    pub took: Duration,
    /// The position that the answer gave.
    pub result: Result<u64, Error>,
}

/// Commands under way.
#[derive(Debug)]
pub struct Load {
    told: mpsc::Receiver<Told>,
    stop: Arc<AtomicBool>,
}

/// Ends the load: no more commands are submitted.
#[derive(Clone, Debug)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// No more commands are submitted from now on.
    pub fn now(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Load {
    /// Starts it.
    pub fn start(clients: &[RaftClient], work: Work) -> Self {
        let (tell, told) = mpsc::channel(1024);
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
        Self { told, stop }
    }

    /// What ends it.
    pub fn stop(&self) -> Stop {
        Stop(self.stop.clone())
    }

    /// Waits until it has ended, and holds what was told against the cluster's journal. `answered` is kept at the highest
    /// position answered, plus one.
    pub async fn judge(
        mut self,
        cluster: &ClusterHandle,
        answered: &watch::Sender<u64>,
        mut each: impl FnMut(&Told),
    ) -> Outcome {
        let mut outcome = Outcome::default();
        let mut audit = Audit::default();
        while let Some(told) = self.told.recv().await {
            outcome.submitted += 1;
            match &told.result {
                Ok(position) => {
                    outcome.answered += 1;
                    outcome.latencies.record(told.took);
                    audit.answered(told.number, *position);
                    answered.send_if_modified(|highest| {
                        let higher = *position >= *highest;
                        *highest = (*highest).max(position + 1);
                        higher
                    });
                }
                Err(error) => {
                    *outcome.errors.entry(error.code()).or_default() += 1;
                    audit.failed(told.number, error.maybe_executed());
                }
            }
            each(&told);
            if outcome.submitted.is_multiple_of(AUDIT_EVERY) {
                cluster.inspect(|engine| audit.read(engine));
            }
        }
        cluster.inspect(|engine| audit.read(engine));
        outcome.findings = audit.finish();
        outcome
    }
}

/// What became of all commands of a load.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Commands submitted, each of which has been told something.
    pub submitted: u64,
    /// Commands answered.
    pub answered: u64,
    /// Errors seen by the application, by code.
    pub errors: BTreeMap<&'static str, u64>,
    /// What the journal says to it.
    pub findings: Findings,
    /// Of the answered ones, from submitting to the answer.
    pub latencies: Latencies,
}

impl Outcome {
    /// All commands were answered, each was executed once, and where its answer said.
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
    tell: mpsc::Sender<Told>,
    stop: Arc<AtomicBool>,
) {
    let mut ticks = interval(Duration::from_secs(1) / rate.max(1));
    // What could not be submitted in time is submitted later: the rate is held.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for (number, client) in (0..work.commands).zip(clients.iter().cycle()) {
        ticks.tick().await;
        if stop.load(Ordering::Relaxed) || tell.is_closed() {
            return;
        }
        let (client, tell) = (client.clone(), tell.clone());
        tokio::spawn(async move {
            // Nobody listens any more only when the run is given up.
            let _ = tell.send(submit(&client, number, work.payload(number)).await).await;
        });
    }
}

async fn caller(
    client: RaftClient,
    next: Arc<AtomicU64>,
    work: Work,
    tell: mpsc::Sender<Told>,
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

async fn submit(client: &RaftClient, number: u64, payload: Bytes) -> Told {
    let started = Instant::now();
    let answer = client.submit_command(payload).await;
    // An answer that is no position cannot be right: no log is that long.
    let result = answer.map(|answer| self::number(&answer).unwrap_or(u64::MAX - 1));
    Told { number, took: started.elapsed(), result }
}
