//! Rolling restarts of one member after the other, leader or not.

use std::{collections::BTreeMap, time::Duration};

use fastrand::Rng;
use serde_json::json;
use tokio::{sync::watch, time::Instant};
use zraft_test_server::{AppendLog, KillLoss, TestCluster};

use crate::{
    failure::Failure,
    load::{Load, Pace, Stop, Work},
    report::{self, Report},
    runs::{close, connect},
    stage::Stage,
};

/// The settings of the run.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The number of restarts.
    pub restarts: u64,
    /// The pace at which commands are submitted.
    pub pace: Pace,
    /// The number of commands executed while a member is down, and again before the next restart.
    pub between: u64,
    /// The time that the cluster takes to commit.
    pub commit_delay: Duration,
    /// The longest duration of an election; the shortest is half of it.
    pub election: Duration,
    /// How long a stopping member stays silent before it resets its connections.
    pub linger: Duration,
    /// The seed of the random choices.
    pub seed: u64,
}

/// Restarts one member after the other while a client with default settings is busy. Members are stopped in turn, as by
/// SIGTERM, and killed.
///
/// # Errors
/// Returns a [`Failure`] if the run fails to execute.
pub async fn run(settings: Settings) -> Result<Report, Failure> {
    let cluster = TestCluster::builder()
        .members(3)
        .app(AppendLog::new())
        .commit_delay(settings.commit_delay)
        .stop_linger(settings.linger)
        .seed(settings.seed);
    let stage = Stage::start(cluster).await?;
    let clients = connect(&stage, 1, |settings| settings).await?;

    let started = Instant::now();
    let load = Load::start(&clients, Work::at(settings.pace));
    let stop = load.stop();
    let answered = watch::Sender::default();
    let (outcome, restarted) = tokio::join!(
        load.judge(stage.cluster(), &answered, |_| {}),
        restart(&stage, settings, stop)
    );
    let (faults, leaders) = restarted?;
    let took = started.elapsed();
    let stats = report::stats(&clients);
    close(&clients, stage).await;
    let more = vec![("leadersRestarted", json!(leaders))];
    Ok(Report { name: "restarts", took, outcome, stats, faults, more })
}

/// Performs all restarts, then stops the load. Returns how often members were stopped and killed, and how often the
/// member was the leader.
async fn restart(
    stage: &Stage,
    settings: Settings,
    stop: Stop,
) -> Result<(BTreeMap<&'static str, u64>, u64), Failure> {
    // Stop the load on an error too; nothing else would.
    let _stopped = Stopping(stop);
    let mut rng = Rng::with_seed(settings.seed);
    let cluster = stage.cluster();
    let faults = stage.faults(settings.seed);
    let members: Vec<_> = stage.proxies().into_keys().collect();
    let (mut ways, mut leaders) = (BTreeMap::new(), 0);
    for (number, member) in (0..settings.restarts).zip(members.iter().cycle()) {
        faults.progress(settings.between).await;
        cluster.set_election_pause(settings.election.mul_f64(0.5 + 0.5 * rng.f64()));
        leaders += u64::from(cluster.leader_elected().await.as_str() == member);
        // The number of members is odd, so each member is restarted in both ways.
        let way = if number.is_multiple_of(2) {
            cluster.stop(member)?;
            "stopped"
        } else {
            cluster.kill(member, KillLoss::Mixed).await?;
            "killed"
        };
        *ways.entry(way).or_default() += 1;
        faults.progress(settings.between).await;
        cluster.restart(member).await?;
    }
    faults.progress(settings.between).await;
    Ok((ways, leaders))
}

struct Stopping(Stop);

impl Drop for Stopping {
    fn drop(&mut self) {
        self.0.now();
    }
}
