//! A connection that is cut repeatedly.

use std::{collections::BTreeMap, time::Duration};

use tokio::{sync::watch, time::Instant};
use zraft_test_server::{AppendLog, TestCluster};

use crate::{
    beat::{Beat, Beats},
    failure::Failure,
    load::{Load, Pace, Work},
    proxy::Cut,
    report::{self, Report},
    runs::{close, connect},
    stage::Stage,
};

/// The settings of the run.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The number of commands.
    pub commands: u64,
    /// The pace at which commands are submitted.
    pub pace: Pace,
    /// The schedule of the cuts.
    pub cut: Beat,
    /// The time that the cluster takes to commit.
    pub commit_delay: Duration,
    /// Whether the servers deduplicate commands. Without deduplication the run must fail, which shows that it can.
    pub deduplication: bool,
}

/// Cuts the connection of one client with default settings: in turn by a reset in the proxy, by an orderly end in the
/// proxy, and by a reset of the member.
///
/// # Errors
/// Returns a [`Failure`] if the run fails to execute.
pub async fn run(settings: Settings) -> Result<Report, Failure> {
    let cluster =
        TestCluster::builder().members(3).app(AppendLog::new()).commit_delay(settings.commit_delay);
    let stage = Stage::start(cluster).await?;
    stage.cluster().set_deduplication(settings.deduplication);
    let clients = connect(&stage, 1, |settings| settings).await?;

    let started = Instant::now();
    let load =
        Load::start(&clients, Work { commands: settings.commands, ..Work::at(settings.pace) });
    let mut faults = BTreeMap::new();
    let answered = watch::Sender::default();
    let outcome = tokio::select! {
        outcome = load.judge(stage.cluster(), &answered, |_| {}) => outcome,
        error = cut(&stage, settings.cut, &mut faults) => return Err(error),
    };
    let took = started.elapsed();
    let stats = report::stats(&clients);
    close(&clients, stage).await;
    Ok(Report { name: "cuts", took, outcome, stats, faults, more: Vec::new() })
}

/// Cuts until the future is dropped. Returns only if the cluster rejects a cut.
async fn cut(stage: &Stage, beat: Beat, faults: &mut BTreeMap<&'static str, u64>) -> Failure {
    let mut beats = Beats::new(beat, stage.cluster().handle());
    let proxies = stage.proxies();
    loop {
        for how in [Some(Cut::Reset), Some(Cut::Fin), None] {
            beats.next().await;
            let name = match how {
                Some(Cut::Reset) => "reset by the proxy",
                Some(Cut::Fin) => "closed by the proxy",
                None => "reset by the member",
            };
            match how {
                Some(how) => {
                    for proxy in proxies.values() {
                        proxy.cut(how).await;
                    }
                }
                None => {
                    if let Err(error) = stage.cluster().cut_connections(None).await {
                        return error.into();
                    }
                }
            }
            *faults.entry(name).or_default() += 1;
        }
    }
}
