//! Clients of server processes that are configured with one member: the others are learned from the server, or found by the
//! application's resolver, and the sessions go on when members are killed or replaced.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::time::sleep;
use zraft_cli::{demo::read_log, latency::Latencies, processes::Processes};
use zraft_client::{ClientBuilder, RaftClient};

use super::{
    callers::{Callers, leader},
    on_members,
    operator::Operator,
};
use crate::failure::Failure;

/// The bound on the median of `connect()` by a resolver that answers at once. With any pause it would be 50 ms or more.
pub const RESOLVED: Duration = Duration::from_millis(50);
/// The bound on the time without an answer after a kill: an election takes up to 600 ms, and a split vote as long again.
pub const AFTER_A_KILL: Duration = Duration::from_secs(3);
/// The members that take the places of the first three.
const NEW: [&str; 3] = ["node-4", "node-5", "node-6"];

/// The settings of the run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The program `zraft`.
    pub program: PathBuf,
    /// How often the leader is killed, for each way of finding members.
    pub times: u32,
    /// How many clusters have all their members replaced.
    pub replacements: u32,
}

/// The figures.
#[derive(Debug)]
pub struct Found {
    /// From the end of `connect()` until the server has listed the members.
    pub learned: Latencies,
    /// The longest time without an answer after the only configured member, the leader, was killed.
    pub killed: Latencies,
    /// The same while a member was replaced by one at another port: the configured member first, and in the end each of the three.
    pub replaced: Latencies,
    /// The same at a hand-over to each of the new members.
    pub handed_to_new: Latencies,
    /// `connect()` with a follower configured, whose leader the resolver finds.
    pub resolved: Latencies,
    /// The longest time without an answer after the leader was killed and the resolver found the next one.
    pub resolved_after_kill: Latencies,
    /// The same if the configured member was elected.
    pub configured_after_kill: Latencies,
    /// The same at a hand-over to a leader that the resolver finds.
    pub resolved_after_hand_over: Latencies,
    /// What became of the commands and of the sessions.
    pub kept: Kept,
}

/// What became of the commands and of the sessions.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kept {
    /// Commands that were answered.
    pub answered: u64,
    /// Commands that ended with an error.
    pub failed: u64,
    /// Answered commands that are not in the log.
    pub lost: u64,
    /// Commands that are in the log more than once.
    pub doubled: u64,
    /// Clients that ended in another session than the one that they began in.
    pub other_sessions: u64,
}

impl Kept {
    /// Returns true if each command was answered and ran once, in the first session of its client.
    #[must_use]
    pub fn all(&self) -> bool {
        let Self { answered, failed, lost, doubled, other_sessions } = *self;
        answered > 0 && failed + lost + doubled + other_sessions == 0
    }

    /// Stops the callers of a client, and looks at its session.
    async fn stop(
        &mut self,
        load: Callers,
        client: &RaftClient,
        session: Option<zraft_client::SessionId>,
    ) -> Result<(), Failure> {
        let (answered, failed) = load.stop().await?;
        self.answered += answered;
        self.failed += failed;
        self.other_sessions += u64::from(client.session_id() != session);
        Ok(())
    }

    /// Compares the log with what was answered on its cluster: with everything beyond `before`.
    async fn compare(&mut self, client: &RaftClient, before: u64) -> Result<(), Failure> {
        let log = read_log(client).await.map_err(Failure::Member)?;
        let distinct = log.iter().collect::<BTreeSet<_>>().len() as u64;
        self.lost += (self.answered - before).saturating_sub(distinct);
        self.doubled += log.len() as u64 - distinct;
        Ok(())
    }
}

impl Found {
    /// Returns true if every bound was met, and no command or session was lost.
    #[must_use]
    pub fn holds(&self) -> bool {
        let within = |latencies: &Latencies, part, bound| {
            latencies.count() == 0 || latencies.quantile(part) <= bound
        };
        let gaps = [
            &self.killed,
            &self.replaced,
            &self.handed_to_new,
            &self.resolved_after_kill,
            &self.configured_after_kill,
            &self.resolved_after_hand_over,
        ];
        self.kept.all()
            && within(&self.resolved, 0.5, RESOLVED)
            && gaps.iter().all(|gap| within(gap, 1.0, AFTER_A_KILL))
    }

    /// Returns the figures as one JSON object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "run": "members",
            "holds": self.holds(),
            "commandsAnswered": self.kept.answered,
            "commandsFailed": self.kept.failed,
            "lost": self.kept.lost,
            "doubled": self.kept.doubled,
            "otherSessions": self.kept.other_sessions,
            "learnedMs": self.learned.to_json(),
            "onlyConfiguredKilledMs": self.killed.to_json(),
            "replacements": self.replaced.count(),
            "replacedMs": self.replaced.to_json(),
            "handOverToNewMs": self.handed_to_new.to_json(),
            "connectByResolverMs": self.resolved.to_json(),
            "killsResolved": self.resolved_after_kill.count(),
            "killedResolvedMs": self.resolved_after_kill.to_json(),
            "killsConfigured": self.configured_after_kill.count(),
            "killedConfiguredMs": self.configured_after_kill.to_json(),
            "handOversResolved": self.resolved_after_hand_over.count(),
            "handOverResolvedMs": self.resolved_after_hand_over.to_json(),
        })
    }
}

/// Executes the run.
///
/// # Errors
/// [`Failure`] if the run fails to execute, a command of `zraft cluster` fails, or a member ends by itself.
pub async fn run(settings: &Settings) -> Result<Found, Failure> {
    let mut found = Found {
        learned: Latencies::new(),
        killed: Latencies::new(),
        replaced: Latencies::new(),
        handed_to_new: Latencies::new(),
        resolved: Latencies::new(),
        resolved_after_kill: Latencies::new(),
        configured_after_kill: Latencies::new(),
        resolved_after_hand_over: Latencies::new(),
        kept: Kept::default(),
    };
    on_members(&settings.program, async |processes| {
        let next = Arc::default();
        for _ in 0..settings.times {
            learn(processes, &next, &mut found).await?;
        }
        for number in 0..settings.times {
            resolve(processes, number as usize, &next, &mut found).await?;
        }
        let client = super::callers::connect(processes.endpoints()).await?;
        found.kept.compare(&client, 0).await?;
        client.disconnect().await;
        Ok(())
    })
    .await?;
    for _ in 0..settings.replacements {
        replace(settings, &mut found).await?;
    }
    Ok(found)
}

/// Returns the settings of a client with one member.
fn only(member: &str, endpoint: &str) -> ClientBuilder {
    RaftClient::builder().capability("kind", "chaos").member(member, endpoint)
}

/// Returns the endpoints of all members.
fn endpoints(processes: &Processes) -> BTreeMap<String, String> {
    processes.endpoints().map(|(name, endpoint)| (name.to_owned(), endpoint)).collect()
}

/// Connects a client that is configured with `member`, and waits until the server has listed the others. Returns how long that took.
async fn discovering(member: &str, endpoint: &str) -> Result<(RaftClient, Duration), Failure> {
    let client = only(member, endpoint).discover_members(true).build()?;
    client.connect().await?;
    let from = Instant::now();
    // The application does not see the answer, so only the count shows it.
    while client.stats().answered == 0 {
        client.ping().await?;
    }
    Ok((client, from.elapsed()))
}

/// Kills the leader, which is the only configured member of a client.
async fn learn(
    processes: &Processes,
    next: &Arc<AtomicU64>,
    found: &mut Found,
) -> Result<(), Failure> {
    let leads = leader(processes).await?;
    let endpoint = endpoints(processes).remove(&leads).unwrap_or_default();
    let (client, learned) = discovering(&leads, &endpoint).await?;
    found.learned.record(learned);
    let session = client.session_id();
    let mut load = Callers::start_from(&client, next);
    load.begin().await;
    processes.kill(&leads);
    found.killed.record(load.gap().await);
    found.kept.stop(load, &client, session).await?;
    client.disconnect_within(Duration::from_secs(1)).await;
    // Only for the next time: the leader needs a majority.
    processes.open(&leads).map_err(Failure::Member)?;
    processes.caught_up(&leads).await.map_err(Failure::Member)
}

/// Kills the leader that the resolver of a client has found, and lets it find the next one.
async fn resolve(
    processes: &Processes,
    number: usize,
    next: &Arc<AtomicU64>,
    found: &mut Found,
) -> Result<(), Failure> {
    let leads = leader(processes).await?;
    let directory = endpoints(processes);
    let followers: Vec<_> = directory.iter().filter(|(name, _)| **name != leads).collect();
    let (Some((follower, endpoint)), Some((third, _))) =
        (followers.get(number % 2), followers.get((number + 1) % 2))
    else {
        return Err(Failure::Member("three members are needed".to_owned()));
    };
    let calls = Arc::new(AtomicU64::new(0));
    let (counted, answers) = (calls.clone(), directory.clone());
    let client = only(follower, endpoint).member_resolver(move |leader| {
        counted.fetch_add(1, Ordering::Relaxed);
        let found = answers.get(leader.as_str()).cloned();
        async move { found }
    });
    let client = client.build()?;
    let from = Instant::now();
    client.connect().await?;
    found.resolved.record(from.elapsed());
    let is_at = |member: &str| client.member_id().is_some_and(|at| at.as_str() == member);
    if !is_at(&leads) || calls.load(Ordering::Relaxed) == 0 {
        return Err(Failure::Member("the leader changed while nothing happened".to_owned()));
    }
    let session = client.session_id();
    // The resolver is asked at most once a second.
    sleep(Duration::from_secs(1)).await;
    let mut load = Callers::start_from(&client, next);
    load.begin().await;
    processes.kill(&leads);
    let gap = load.gap().await;
    processes.open(&leads).map_err(Failure::Member)?;
    processes.caught_up(&leads).await.map_err(Failure::Member)?;
    if is_at(third) {
        found.resolved_after_kill.record(gap);
    } else {
        found.configured_after_kill.record(gap);
        load.begin().await;
        hand_over(processes, third).await?;
        found.resolved_after_hand_over.record(load.gap().await);
        if !is_at(third) {
            return Err(Failure::Member(format!("{third} did not take over")));
        }
    }
    found.kept.stop(load, &client, session).await?;
    client.disconnect_within(Duration::from_secs(1)).await;
    Ok(())
}

/// Lets a member take leadership over, unless it leads.
async fn hand_over(processes: &Processes, to: &str) -> Result<(), Failure> {
    if leader(processes).await? == to {
        return Ok(());
    }
    let to = json!({ "member": to });
    let asked = processes.cluster().change("/v1/leader/move", &to);
    asked.await.map(drop).map_err(|failure| Failure::Member(failure.text().to_owned()))
}

/// Replaces each member by one at another port, while a client goes on that was configured with the first leader.
async fn replace(settings: &Settings, found: &mut Found) -> Result<(), Failure> {
    let mut operator = Operator::start(&settings.program, &NEW).await?;
    let leads = leader(&operator.members).await?;
    let first = endpoints(&operator.members);
    let endpoint = first.get(&leads).cloned().unwrap_or_default();
    let (client, _) = discovering(&leads, &endpoint).await?;
    let session = client.session_id();
    let before = found.kept.answered;
    let mut load = Callers::start(&client);
    let rest = first.keys().filter(|name| **name != leads);
    for (old, new) in std::iter::once(&leads).chain(rest).zip(NEW) {
        load.begin().await;
        match *old == leads {
            true => operator.replace_lost(old, new).await?,
            false => operator.replace_running(old, new).await?,
        }
        found.replaced.record(load.gap().await);
        load.begin().await;
        hand_over(&operator.members, new).await?;
        found.handed_to_new.record(load.gap().await);
    }
    found.kept.stop(load, &client, session).await?;
    found.kept.compare(&client, before).await?;
    client.disconnect().await;
    operator.members.stop().await.map_err(Failure::Member)
}
