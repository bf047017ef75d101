//! Measures the time to the first answer of a new leader, and the cost of an outage.
//!
//! Clients connect to the members without a proxy, so that a member that is down refuses connections.

use std::{collections::BTreeMap, time::Duration};

use fastrand::Rng;
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use zraft_cli::latency::Latencies;
use zraft_client::{Event, Events};
use zraft_test_server::{AppendLog, KillLoss, TestCluster};

use crate::{
    failure::Failure,
    faults::Elected,
    load::{Load, Outcome, Pace, Work},
    stage::Stage,
};

/// The bound on the 99th percentile of the time from the moment at which the new leader can answer to its first answer,
/// after a kill. The client pauses between rounds of attempts, and a pause may have just begun at that moment. In the
/// first 10 s of an election a pause lasts up to 250 ms by default, which leaves 50 ms for the round trips.
pub const AFTER_KILL: Duration = Duration::from_millis(300);
/// The same bound after a hand-over. The hinted member already leads, so the client does not pause: 50 ms allow some
/// round trips on a busy machine.
pub const AFTER_HAND_OVER: Duration = Duration::from_millis(50);
/// The bound on the time until a client notices a frozen leader: the default heartbeat timeout of 10 s and one heartbeat
/// interval of 1 s, to allow for a busy machine.
pub const FREEZE: Duration = Duration::from_secs(11);
/// The greatest number of attempts at each member within [`OUTAGE`]. The default backoff doubles from 100 ms
/// to 5 s, which gives 8 or 9 attempts; without backoff there would be hundreds.
pub const ATTEMPTS: u64 = 10;
/// The time from the start of an outage in which attempts are counted: long enough for the default backoff to
/// reach its longest pause.
pub const OUTAGE: Duration = Duration::from_secs(10);
/// The number of concurrent callers while leaders change: enough that a command is always in progress.
const CALLERS: usize = 8;

/// The settings of the run.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The number of leaders that are killed.
    pub kills: u64,
    /// The number of hand-overs.
    pub hand_overs: u64,
    /// The number of leaders that are frozen, half with an idle client and half with a busy one.
    pub freezes: u64,
    /// The number of outages of a whole cluster.
    pub outages: u64,
    /// The longest duration of an election; the shortest is 50 ms.
    pub election: Duration,
    /// The number of clusters that run in parallel.
    pub side_by_side: u64,
    /// The seed of the random choices.
    pub seed: u64,
}

/// The measurements of a run.
#[derive(Debug, Default)]
pub struct Found {
    /// After a kill: the time from the moment at which the new leader can answer to its first answer.
    pub after_kill: Latencies,
    /// The same time after a hand-over.
    pub after_hand_over: Latencies,
    /// The time from the freeze of a leader until its idle client notices.
    pub freeze_idle: Latencies,
    /// The same time with a busy client.
    pub freeze_at_work: Latencies,
    /// A histogram of the attempts at each member within [`OUTAGE`]: number of attempts, and how often it occurred.
    pub attempts: BTreeMap<u64, u64>,
    /// The outcome of the commands of each cluster.
    pub outcomes: Vec<Outcome>,
}

impl Found {
    /// Returns true if every bound was met, every command was executed once, and no caller got an error.
    pub fn holds(&self) -> bool {
        let within = |latencies: &Latencies, part, bar| {
            latencies.count() == 0 || latencies.quantile(part) <= bar
        };
        within(&self.after_kill, 0.99, AFTER_KILL)
            && within(&self.after_hand_over, 0.99, AFTER_HAND_OVER)
            && within(&self.freeze_idle, 1.0, FREEZE)
            && within(&self.freeze_at_work, 1.0, FREEZE)
            && self.attempts.keys().all(|attempts| *attempts <= ATTEMPTS)
            && self.outcomes.iter().all(Outcome::is_flawless)
    }

    /// Returns the measurements as one JSON object.
    pub fn to_json(&self) -> Value {
        let latencies = |latencies: &Latencies| {
            json!({
                "count": latencies.count(),
                "ms": latencies.to_json(),
            })
        };
        let sum = |count: fn(&Outcome) -> u64| self.outcomes.iter().map(count).sum::<u64>();
        let attempts: serde_json::Map<_, _> = self
            .attempts
            .iter()
            .map(|(attempts, times)| (attempts.to_string(), json!(times)))
            .collect();
        json!({
            "run": "failover",
            "holds": self.holds(),
            "afterKill": latencies(&self.after_kill),
            "afterHandOver": latencies(&self.after_hand_over),
            "freezeKnownIdle": latencies(&self.freeze_idle),
            "freezeKnownAtWork": latencies(&self.freeze_at_work),
            "attemptsAtEachMemberIn10Seconds": attempts,
            "commands": sum(|outcome| outcome.submitted),
            "answered": sum(|outcome| outcome.answered),
            "lost": sum(|outcome| outcome.findings.lost),
            "doubled": sum(|outcome| outcome.findings.doubled),
            "errors": sum(|outcome| outcome.errors.values().sum()),
        })
    }
}

/// Takes all measurements that the settings ask for.
///
/// # Errors
/// Returns a [`Failure`] if the run fails to execute.
pub async fn run(settings: Settings) -> Result<Found, Failure> {
    let mut found = Found::default();
    for (loss, times) in [(Loss::Kill, settings.kills), (Loss::HandOver, settings.hand_overs)] {
        let mut clusters = JoinSet::new();
        for number in 0..settings.side_by_side {
            let times = share(times, settings.side_by_side, number);
            let seed = settings.seed.wrapping_add(number);
            clusters.spawn(changes(loss, times, settings.election, seed));
        }
        while let Some(measured) = clusters.join_next().await {
            let (latencies, outcome) = measured??;
            match loss {
                Loss::Kill => found.after_kill.add(&latencies),
                Loss::HandOver => found.after_hand_over.add(&latencies),
            }
            found.outcomes.push(outcome);
        }
    }
    let mut clusters = JoinSet::new();
    for number in 0..settings.freezes {
        let at_work = number % 2 == 1;
        clusters.spawn(freeze(at_work, settings.seed.wrapping_add(number)));
    }
    while let Some(measured) = clusters.join_next().await {
        let (at_work, known) = measured??;
        if at_work { &mut found.freeze_at_work } else { &mut found.freeze_idle }.record(known);
    }
    let mut clusters = JoinSet::new();
    for _ in 0..settings.outages {
        clusters.spawn(outage());
    }
    while let Some(measured) = clusters.join_next().await {
        for attempts in measured?? {
            *found.attempts.entry(attempts).or_default() += 1;
        }
    }
    Ok(found)
}

/// Returns the share of the cluster with this number when `all` are divided among the clusters.
fn share(all: u64, among: u64, number: u64) -> u64 {
    all / among + u64::from(number < all % among)
}

#[derive(Clone, Copy, Debug)]
enum Loss {
    Kill,
    HandOver,
}

/// Changes the leader repeatedly while a client is busy, and measures the time to the first answer of each new leader.
async fn changes(
    loss: Loss,
    times: u64,
    election: Duration,
    seed: u64,
) -> Result<(Latencies, Outcome), Failure> {
    let stage = Stage::start(TestCluster::builder().members(3).app(AppendLog::new())).await?;
    let client = stage.direct_client().request_timeout(Duration::from_secs(60)).build()?;
    client.connect().await?;
    let load = Load::start(std::slice::from_ref(&client), Work::at(Pace::Callers(CALLERS)));
    let stop = load.stop();
    let answered = watch::Sender::default();
    let measure = async {
        let measured = measure(&stage, loss, times, election, seed, &answered).await;
        stop.now();
        measured
    };
    let (outcome, latencies) =
        tokio::join!(load.judge(stage.cluster(), &answered, |_| {}), measure);
    client.disconnect().await;
    stage.shutdown().await;
    Ok((latencies?, outcome))
}

async fn measure(
    stage: &Stage,
    loss: Loss,
    times: u64,
    election: Duration,
    seed: u64,
    answered: &watch::Sender<u64>,
) -> Result<Latencies, Failure> {
    let mut rng = Rng::with_seed(seed);
    let mut faults = stage.faults(seed);
    let mut latencies = Latencies::new();
    for _ in 0..times {
        faults.progress(100).await;
        let leader = stage.cluster().leader_elected().await;
        let leader = leader.as_str();
        // Measure from the moment of the election, not from when this task learns of it.
        let pause = match loss {
            Loss::Kill => {
                let shortest = Duration::from_millis(50);
                shortest + election.saturating_sub(shortest).mul_f64(rng.f64())
            }
            Loss::HandOver => Duration::ZERO,
        };
        stage.cluster().set_election_pause(pause);
        let at = Instant::now() + pause;
        let elected = match loss {
            Loss::Kill => {
                stage.cluster().kill(leader, KillLoss::Mixed).await?;
                faults.next_leader(leader).await
            }
            Loss::HandOver => faults.hand_over(leader).await?,
        };
        latencies.record(first_answer(Elected { at, ..elected }, answered).await);
        if matches!(loss, Loss::Kill) {
            stage.cluster().restart(leader).await?;
        }
    }
    Ok(latencies)
}

/// Waits for the first answer to a command that this leader executed. Returns the time since the leader could answer.
pub(super) async fn first_answer(elected: Elected, answered: &watch::Sender<u64>) -> Duration {
    let mut answered = answered.subscribe();
    // The caller holds the sender, so this cannot fail.
    let _ = answered.wait_for(|answered| *answered > elected.position).await;
    elected.at.elapsed()
}

/// Freezes a leader and measures how long its client takes to notice.
async fn freeze(at_work: bool, seed: u64) -> Result<(bool, Duration), Failure> {
    let stage = Stage::start(TestCluster::builder().members(3).app(AppendLog::new())).await?;
    let client = stage.direct_client().request_timeout(None).build()?;
    client.connect().await?;
    let mut events = client.events();
    // Its callers end when it is dropped.
    let load =
        at_work.then(|| Load::start(std::slice::from_ref(&client), Work::at(Pace::PerSecond(100))));
    if at_work {
        stage.cluster().journal_reached(10).await;
    }
    // Freeze at a random moment between two heartbeats.
    sleep(Duration::from_secs(1).mul_f64(Rng::with_seed(seed).f64())).await;
    let leader = stage.cluster().leader_elected().await;
    let frozen = Instant::now();
    stage.cluster().set_frozen(leader.as_str(), true)?;
    while !matches!(next(&mut events).await, Event::Disconnected { .. }) {}
    let known = frozen.elapsed();
    drop(load);
    client.disconnect_within(Duration::ZERO).await;
    stage.shutdown().await;
    Ok((at_work, known))
}

/// Kills all members of a cluster at once and counts the client's attempts at each.
async fn outage() -> Result<Vec<u64>, Failure> {
    let stage = Stage::start(TestCluster::builder().members(3).app(AppendLog::new())).await?;
    let client = stage.direct_client().build()?;
    client.connect().await?;
    // One answer makes this a good connection, so the client starts without backoff.
    client.submit_command("before").await?;
    let mut events = client.events();
    let members = stage.cluster().endpoints();
    for member in members.keys() {
        stage.cluster().kill(member.as_str(), KillLoss::Uncommitted).await?;
    }
    let mut attempts: BTreeMap<_, u64> = members.into_keys().map(|member| (member, 0)).collect();
    let _ = timeout(OUTAGE, async {
        loop {
            if let Event::ConnectionAttempt { member_id, .. } = next(&mut events).await {
                *attempts.entry(member_id).or_default() += 1;
            }
        }
    })
    .await;
    client.disconnect_within(Duration::ZERO).await;
    stage.shutdown().await;
    Ok(attempts.into_values().collect())
}

/// Returns the next event. The client outlives the wait, so there always is one.
async fn next(events: &mut Events) -> Event {
    match events.next().await {
        Some(event) => event,
        None => std::future::pending().await,
    }
}
