//! What happens to the members while the demo runs.

use indicatif::ProgressBar;
use tokio::sync::watch;
use zraft_protocol::SplitMix64;
use zraft_server::{LocalCluster, LocalClusterError};
use zraft_session::applications::AppendLog;

/// The cluster after the faults, and its leaders in order.
#[derive(Debug)]
pub(super) struct Course {
    pub(super) cluster: LocalCluster<AppendLog>,
    pub(super) leaders: Vec<u64>,
}

/// Kills the leader after about a third of the commands, opens it again from its disk at half time, and hands leadership over to it
/// after about two thirds. `losses` counts the losses of the leader.
pub(super) async fn inject(
    mut cluster: LocalCluster<AppendLog>,
    (seed, commands): (u64, u64),
    mut done: watch::Receiver<u64>,
    losses: watch::Sender<u64>,
    progress: ProgressBar,
) -> Result<Course, String> {
    let mut random = SplitMix64::new(seed);
    // Up to a twelfth earlier, so that the moments differ from seed to seed.
    let mut about = |count: u64| count - random.below(commands / 12);
    let moments = [about(commands / 3), commands / 2, about(commands / 3 * 2)];
    let mut reach =
        async |count| done.wait_for(|done| *done >= count).await.map(drop).map_err(text);

    let mut leaders = vec![cluster.leader().await.map_err(text)?];
    reach(moments[0]).await?;
    let killed = leaders[0];
    progress.set_message(format!("killing the leader, node-{killed}"));
    cluster.kill(killed).await.map_err(text)?;
    losses.send_modify(|count| *count += 1);
    leaders.push(cluster.leader().await.map_err(text)?);

    reach(moments[1]).await?;
    progress.set_message(format!("opening node-{killed} from its disk"));
    cluster.reopen(killed).await.map_err(text)?;
    cluster.caught_up().await.map_err(text)?;

    reach(moments[2]).await?;
    progress.set_message(format!("handing leadership to node-{killed}"));
    cluster.hand_over(killed).await.map_err(text)?;
    losses.send_modify(|count| *count += 1);
    leaders.push(killed);
    Ok(Course { cluster, leaders })
}

/// Waits until all members have applied the same entries, and returns true if they have the same state.
pub(super) async fn are_equal(
    cluster: &LocalCluster<AppendLog>,
) -> Result<bool, LocalClusterError> {
    loop {
        cluster.caught_up().await?;
        let mut states = Vec::new();
        for number in cluster.running() {
            let status = cluster.member(number)?.status();
            states.push((status.applied, status.history));
        }
        // The acknowledgements of the clients can still be on their way.
        if states.windows(2).all(|two| two[0].0 == two[1].0) {
            return Ok(states.len() == 3 && states.windows(2).all(|two| two[0] == two[1]));
        }
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
