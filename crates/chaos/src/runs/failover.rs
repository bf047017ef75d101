//! How long it takes until commands flow again, and what an outage costs.
//!
//! Clients reach the members without a proxy here, so that one that is down refuses connections.

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

/// From the new leader's being able to answer to the first answer, after a kill: 99 of 100.
pub const AFTER_KILL: Duration = Duration::from_millis(300);
/// The same after a hand-over, where the hinted member leads already.
pub const AFTER_HAND_OVER: Duration = Duration::from_millis(50);
/// A freeze is known by then, at default settings.
pub const FREEZE: Duration = Duration::from_secs(11);
/// Attempts at each member in the first [`OUTAGE`] of one.
pub const ATTEMPTS: u64 = 10;
/// How long attempts are counted.
pub const OUTAGE: Duration = Duration::from_secs(10);
/// Commands under way while leaders go.
const CALLERS: usize = 8;

/// What to run.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How many leaders are killed.
    pub kills: u64,
    /// How often leadership is handed over.
    pub hand_overs: u64,
    /// How many leaders are frozen: half with an idle client, half with one at work.
    pub freezes: u64,
    /// How many clusters go down as a whole.
    pub outages: u64,
    /// An election takes from 50 ms to this.
    pub election: Duration,
    /// How many clusters run side by side.
    pub side_by_side: u64,
    /// Feeds the random choices.
    pub seed: u64,
}

/// What was measured.
#[derive(Debug, Default)]
pub struct Found {
    /// From the new leader's being able to answer to the first answer, after a kill.
    pub after_kill: Latencies,
    /// The same after a hand-over.
    pub after_hand_over: Latencies,
    /// From the freeze of its member to an idle client's knowing.
    pub freeze_idle: Latencies,
    /// The same with a client at work.
    pub freeze_at_work: Latencies,
    /// The attempts at each member in the first [`OUTAGE`] of one, and how often there were so many.
    pub attempts: BTreeMap<u64, u64>,
    /// What became of the commands, of each cluster.
    pub outcomes: Vec<Outcome>,
}

impl Found {
    /// Every bar was met, every command executed once, and no caller saw an error.
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

    /// One object.
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

/// Measures everything asked for.
///
/// # Errors
/// When the run cannot be made.
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

/// How many of `all` fall to the one of this number.
fn share(all: u64, among: u64, number: u64) -> u64 {
    all / among + u64::from(number < all % among)
}

#[derive(Clone, Copy, Debug)]
enum Loss {
    Kill,
    HandOver,
}

/// Changes the leader again and again while a client is at work, and measures how long the first answer of the new one takes.
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
        // From the moment at which the cluster elects, not from when this task learns of it.
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

/// Waits for the first answer to a command that this leader executed; from its being able to answer.
pub(super) async fn first_answer(elected: Elected, answered: &watch::Sender<u64>) -> Duration {
    let mut answered = answered.subscribe();
    // The sender is the caller's: this cannot fail.
    let _ = answered.wait_for(|answered| *answered > elected.position).await;
    elected.at.elapsed()
}

/// Freezes a leader, and measures how long its client takes to know.
async fn freeze(at_work: bool, seed: u64) -> Result<(bool, Duration), Failure> {
    let stage = Stage::start(TestCluster::builder().members(3).app(AppendLog::new())).await?;
    let client = stage.direct_client().request_timeout(None).build()?;
    client.connect().await?;
    let mut events = client.events();
    // Dropped at the end, and its callers end with it.
    let load =
        at_work.then(|| Load::start(std::slice::from_ref(&client), Work::at(Pace::PerSecond(100))));
    if at_work {
        stage.cluster().journal_reached(10).await;
    }
    // At any moment between two heartbeats.
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

/// Takes all members of a cluster down at once, and counts the attempts at each.
async fn outage() -> Result<Vec<u64>, Failure> {
    let stage = Stage::start(TestCluster::builder().members(3).app(AppendLog::new())).await?;
    let client = stage.direct_client().build()?;
    client.connect().await?;
    // Connected for as long as it takes to count as a good connection.
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

/// The next event; the client lives as long as it is waited for.
async fn next(events: &mut Events) -> Event {
    match events.next().await {
        Some(event) => event,
        None => std::future::pending().await,
    }
}
