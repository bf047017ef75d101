//! Callers that append to a log through one client, one command after the other each, and the longest time without an answer.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::{sync::watch, task::JoinSet, time::timeout};
use zraft_cli::processes::Processes;
use zraft_client::RaftClient;

use crate::failure::Failure;

/// Callers that submit one command after the other.
const CALLERS: usize = 8;
/// A loss is over when commands were answered for this long, without a longer silence than that. A follower stands for election after 300 ms
/// at the earliest, so the silence after a kill is longer.
const AFTER: Duration = Duration::from_millis(500);
const SILENCE: Duration = Duration::from_millis(150);

/// Returns the name of the member that leads, once one does.
pub(super) async fn leader(members: &Processes) -> Result<String, Failure> {
    let leader = members.cluster().leader().await;
    let (_, status) = leader.map_err(|failure| Failure::Member(failure.text().to_owned()))?;
    Ok(status["member"].as_str().unwrap_or_default().to_owned())
}

/// Connects a client at default settings to members by their names and endpoints.
pub(super) async fn connect(
    endpoints: impl IntoIterator<Item = (impl AsRef<str>, String)>,
) -> Result<RaftClient, Failure> {
    let builder = RaftClient::builder().capability("kind", "chaos");
    let builder =
        endpoints.into_iter().fold(builder, |builder, (id, at)| builder.member(id.as_ref(), at));
    let client = builder.build()?;
    client.connect().await?;
    Ok(client)
}

/// Callers that submit one command after the other, and the longest time without an answer.
pub(super) struct Callers {
    callers: JoinSet<(u64, u64)>,
    stop: Arc<AtomicBool>,
    /// The moment of the last answer, and the longest time between two of them since the last look.
    answers: watch::Sender<(Instant, Duration)>,
}

impl Callers {
    pub(super) fn start(client: &RaftClient) -> Self {
        Self::start_from(client, &Arc::default())
    }

    /// Starts callers whose items have the numbers from `next` on.
    pub(super) fn start_from(client: &RaftClient, next: &Arc<AtomicU64>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let answers = watch::Sender::new((Instant::now(), Duration::ZERO));
        let mut callers = JoinSet::new();
        for _ in 0..CALLERS {
            let (client, stop, next) = (client.clone(), stop.clone(), next.clone());
            let answers = answers.clone();
            callers.spawn(async move {
                let (mut answered, mut failed) = (0, 0);
                while !stop.load(Ordering::Relaxed) {
                    let item =
                        Bytes::from(format!("item {}", next.fetch_add(1, Ordering::Relaxed)));
                    match client.submit_command(item).await {
                        Ok(_) => answered += 1,
                        Err(_) => failed += 1,
                    }
                    answers.send_modify(|(last, longest)| {
                        let now = Instant::now();
                        *longest = now.duration_since(*last).max(*longest);
                        *last = now;
                    });
                }
                (answered, failed)
            });
        }
        Self { callers, stop, answers }
    }

    /// Waits until commands are answered, and forgets what was.
    pub(super) async fn begin(&mut self) {
        let mut answers = self.answers.subscribe();
        // This value holds the sender.
        let _ = answers.changed().await;
        self.answers.send_modify(|(_, longest)| *longest = Duration::ZERO);
    }

    /// Waits until commands have been answered for a while, and returns the longest time without an answer since the last
    /// [`begin`](Self::begin).
    pub(super) async fn gap(&mut self) -> Duration {
        let mut answers = self.answers.subscribe();
        let mut flows_since = Instant::now();
        while flows_since.elapsed() < AFTER {
            if timeout(SILENCE, answers.changed()).await.is_err() {
                let _ = answers.changed().await;
                flows_since = Instant::now();
            }
        }
        self.answers.borrow().1
    }

    /// Stops the callers. Returns how many commands were answered, and how many ended with an error.
    pub(super) async fn stop(mut self) -> Result<(u64, u64), Failure> {
        self.stop.store(true, Ordering::Relaxed);
        let mut sum = (0, 0);
        while let Some(caller) = self.callers.join_next().await {
            let (answered, failed) = caller?;
            sum = (sum.0 + answered, sum.1 + failed);
        }
        Ok(sum)
    }
}
