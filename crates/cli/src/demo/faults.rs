//! What happens to the members while the demo runs.

use std::time::Duration;

use indicatif::ProgressBar;
use serde_json::{Value, json};
use tokio::{sync::watch, time::timeout};
use zraft_protocol::SplitMix64;

use super::Settings;
use crate::{
    cluster::{Cluster, Failure},
    processes::Processes,
};

/// After this time without an answer, a frozen leader has sent all that it could.
const QUIET: Duration = Duration::from_millis(20);

/// Kills the leader after about a third of the commands, starts it again at half time, and hands leadership over to it after about two
/// thirds. `losses` counts the losses of the leader. Returns the leaders in order.
pub(super) async fn inject(
    processes: &Processes,
    settings: &Settings,
    mut done: watch::Receiver<u64>,
    losses: &watch::Sender<u64>,
    progress: &ProgressBar,
) -> Result<Vec<String>, String> {
    let (cluster, commands) = (processes.cluster(), settings.commands);
    let mut random = SplitMix64::new(settings.seed);
    // Up to a twelfth earlier, so that the moments differ from seed to seed.
    let mut about = |count: u64| count - random.below(commands / 12);
    let moments = [about(commands / 3), commands / 2, about(commands / 3 * 2)];

    reach(&mut done, moments[0]).await?;
    let killed = leader(cluster).await?;
    progress.set_message(format!("killing the leader, {killed}"));
    // So every caller has a command on its way when the leader dies. Windows cannot freeze a process.
    if processes.freeze(&killed).is_ok() {
        while let Ok(Ok(())) = timeout(QUIET, done.changed()).await {}
    }
    processes.kill(&killed);
    losses.send_modify(|count| *count += 1);
    let mut leaders = vec![killed.clone(), leader(cluster).await?];

    reach(&mut done, moments[1]).await?;
    progress.set_message(format!("starting {killed} again"));
    processes.open(&killed)?;
    processes.caught_up(&killed).await?;

    reach(&mut done, moments[2]).await?;
    progress.set_message(format!("handing leadership to {killed}"));
    hand_over(cluster, &killed).await?;
    losses.send_modify(|count| *count += 1);
    leaders.push(killed);
    Ok(leaders)
}

async fn reach(done: &mut watch::Receiver<u64>, count: u64) -> Result<(), String> {
    let reached = done.wait_for(|done| *done >= count).await.map(drop);
    reached.map_err(|error| error.to_string())
}

/// Waits until a member serves as leader, and returns its name.
async fn leader(cluster: &Cluster) -> Result<String, String> {
    let (_, status) = cluster.leader().await.map_err(text)?;
    Ok(name(&status).to_owned())
}

/// Hands leadership over to a member and waits until it serves. Tries until it succeeds: a slow member does not take over within an
/// election timeout.
async fn hand_over(cluster: &Cluster, to: &str) -> Result<(), String> {
    let pending = |_: &Value| format!("leadership does not move to {to}");
    let settled = |status: &Value| name(status) == to || status["handing_over"] == false;
    loop {
        if leader(cluster).await? == to {
            return Ok(());
        }
        match cluster.change("/v1/leader/move", &json!({ "member": to })).await {
            Ok(_) => drop(cluster.until(pending, settled).await.map_err(text)?),
            // It has become the leader by itself meanwhile, on a machine that is busy.
            Err(_) if leader(cluster).await? == to => return Ok(()),
            Err(failure) => return Err(text(failure)),
        }
    }
}

fn name(status: &Value) -> &str {
    status["member"].as_str().unwrap_or("?")
}

fn text(failure: Failure) -> String {
    failure.text().to_owned()
}
