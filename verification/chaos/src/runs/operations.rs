//! What operators do to a cluster, on server processes under load: members replaced, added and removed, a backup and its restore, and a
//! new member that receives a large snapshot.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};
use zraft_cli::processes::{Processes, usage};
use zraft_client::RaftClient;

use super::{
    PATIENCE,
    callers::{Callers, connect, leader},
    operator::Operator,
};
use crate::failure::Failure;

/// The members that are added.
const NEW: [&str; 5] = ["node-4", "node-5", "node-6", "node-7", "node-8"];
/// How long the load runs without an operation, for comparison.
const QUIET: Duration = Duration::from_secs(10);
/// The items that make the state large, and how many of them are in flight.
const LARGE_ITEM: usize = 64 << 10;
const LARGE_IN_FLIGHT: usize = 16;

/// The settings of the run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The program `zraft`.
    pub program: PathBuf,
    /// The size of the large state in MiB. The application's limit is 1,024, which the load needs a part of.
    pub mib: usize,
}

/// An operation.
#[derive(Clone, Debug)]
pub struct Step {
    /// What was done.
    pub name: &'static str,
    /// How long it took.
    pub took: Duration,
    /// The longest time without an answer meanwhile, and in the half second after it.
    pub gap: Duration,
    /// The resident memory of members in MiB: before, and the most meanwhile. Empty where the system does not tell.
    pub memory: BTreeMap<String, (u64, u64)>,
}

/// The figures.
#[derive(Debug)]
pub struct Found {
    /// The operations, in their order.
    pub steps: Vec<Step>,
    /// Commands that were answered, and that ended with an error.
    pub commands: (u64, u64),
    /// The items in the log at the end.
    pub items: u64,
    /// The items that were in the restored cluster's log, and those that were answered before the backup.
    pub restored: (u64, u64),
}

impl Found {
    /// Returns true if no command ended with an error, each ran once, and the backup held what was answered before it.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.commands.1 == 0 && self.items == self.commands.0 && self.restored.0 >= self.restored.1
    }

    /// Returns the figures as one JSON object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let steps = self.steps.iter().map(|step| {
            let memory = step.memory.iter().map(|(name, (before, most))| {
                (name.clone(), json!({ "beforeMiB": before, "mostMiB": most }))
            });
            json!({
                "step": step.name,
                "seconds": (step.took.as_secs_f64() * 100.0).round() / 100.0,
                "gapMs": step.gap.as_millis() as u64,
                "memory": memory.collect::<serde_json::Map<_, _>>(),
            })
        });
        json!({
            "run": "operations",
            "holds": self.holds(),
            "commandsAnswered": self.commands.0,
            "commandsFailed": self.commands.1,
            "itemsInLog": self.items,
            "itemsRestored": self.restored.0,
            "itemsAnsweredBeforeBackup": self.restored.1,
            "steps": steps.collect::<Vec<_>>(),
        })
    }
}

/// Executes the run.
///
/// # Errors
/// [`Failure`] if the run fails to execute, a command of `zraft cluster` fails, or a member ends by itself.
pub async fn run(settings: &Settings) -> Result<Found, Failure> {
    let operator = Operator::start(&settings.program, &NEW).await?;
    let known = operator.members.endpoints().map(|(name, endpoint)| (name.to_owned(), endpoint));
    let added = operator.later().map(|(name, endpoint)| (name.to_owned(), endpoint));
    let client = connect(known.chain(added)).await?;
    let callers = Callers::start(&client);
    let operations = Operations { operator, client, callers, steps: Vec::new() };
    operations.all(settings).await
}

struct Operations {
    operator: Operator,
    client: RaftClient,
    callers: Callers,
    steps: Vec<Step>,
}

/// What is measured of an operation that runs.
struct Running {
    name: &'static str,
    from: Instant,
    memory: BTreeMap<String, u64>,
}

impl Operations {
    async fn all(mut self, settings: &Settings) -> Result<Found, Failure> {
        let running = self.begin("none, for comparison").await;
        sleep(QUIET).await;
        self.end(running).await?;

        self.replace_a_lost_follower("node-4").await?;
        self.replace_the_leader("node-5").await?;
        let running = self.begin("two members added, one after the other: 3 to 5").await;
        self.operator.add("node-6").await?;
        self.operator.add("node-7").await?;
        self.end(running).await?;
        let running = self.begin("two members removed, one after the other: 5 to 3").await;
        self.operator.remove("node-6").await?;
        self.operator.remove("node-7").await?;
        self.end(running).await?;
        let restored = self.back_up_and_restore(settings).await?;

        let large = self.fill(settings.mib).await?;
        let running = self.begin("snapshot of the large state, by every member").await;
        self.operator.cluster(&["snapshot"]).await?;
        self.end(running).await?;
        let running = self.begin("a member added that receives the large snapshot").await;
        self.operator.add("node-8").await?;
        self.end(running).await?;

        // Fails if the members' histories differ.
        self.operator.cluster(&["check"]).await?;
        let (answered, failed) = self.callers.stop().await?;
        let items = items(&self.client).await?;
        self.client.disconnect().await;
        self.operator.members.stop().await.map_err(Failure::Member)?;
        let commands = (answered + large, failed);
        Ok(Found { steps: self.steps, commands, items, restored })
    }

    async fn begin(&mut self, name: &'static str) -> Running {
        self.callers.begin().await;
        let ids = self
            .operator
            .members
            .places()
            .filter_map(|(name, _)| Some((name, self.operator.members.process_id(name)?)));
        let memory = ids.filter_map(|(name, id)| {
            usage::forget_peak(id);
            Some((name.to_owned(), usage::memory_kib(id)? / 1024))
        });
        Running { name, memory: memory.collect(), from: Instant::now() }
    }

    async fn end(&mut self, running: Running) -> Result<(), Failure> {
        let took = running.from.elapsed();
        let gap = self.callers.gap().await;
        let ids = self
            .operator
            .members
            .places()
            .filter_map(|(name, _)| Some((name, self.operator.members.process_id(name)?)));
        let memory = ids.filter_map(|(name, id)| {
            let before = running.memory.get(name).copied().unwrap_or(0);
            Some((name.to_owned(), (before, usage::peak_kib(id)? / 1024)))
        });
        self.steps.push(Step { name: running.name, took, gap, memory: memory.collect() });
        // Looks at each member once.
        match timeout(Duration::ZERO, self.operator.members.watch()).await {
            Ok(problem) => Err(Failure::Member(problem)),
            Err(_) => Ok(()),
        }
    }

    async fn replace_a_lost_follower(&mut self, new: &'static str) -> Result<(), Failure> {
        let leads = leader(&self.operator.members).await?;
        let lost = self
            .operator
            .members
            .places()
            .map(|(name, _)| name.to_owned())
            .find(|name| *name != leads);
        let lost = lost.unwrap_or_default();
        let running = self.begin("a follower killed, its folder lost, and replaced").await;
        self.operator.replace_lost(&lost, new).await?;
        self.end(running).await
    }

    async fn replace_the_leader(&mut self, new: &'static str) -> Result<(), Failure> {
        let leads = leader(&self.operator.members).await?;
        let running = self.begin("the leader replaced while it leads").await;
        self.operator.replace_running(&leads, new).await?;
        self.end(running).await
    }

    /// Returns how many items the restored log has, and how many were answered before the backup.
    async fn back_up_and_restore(&mut self, settings: &Settings) -> Result<(u64, u64), Failure> {
        let place = tempfile::tempdir()?;
        let path = |name: &str| place.path().join(name).to_string_lossy().into_owned();
        let (file, dir) = (path("backup"), path("restored"));
        let running = self.begin("backup of the leader").await;
        let answered = items(&self.client).await?;
        let leads = leader(&self.operator.members).await?;
        self.operator.cluster(&["backup", &file, "--member", &leads]).await?;
        self.end(running).await?;

        let running = self.begin("restore into a new cluster of three, until it answers").await;
        let words = [
            "cluster",
            "restore",
            &file,
            "--dir",
            &dir,
            "--base-port",
            "0",
            "--application",
            "append-log",
        ];
        self.operator.members.execute(&words).await.map_err(Failure::Member)?;
        let restored = Processes::in_folder(&settings.program, dir.as_ref(), PATIENCE);
        let restored = restored.map_err(Failure::Member)?;
        restored.open_all().map_err(Failure::Member)?;
        leader(&restored).await?;
        let endpoints = restored.endpoints().map(|(name, endpoint)| (name.to_owned(), endpoint));
        let client = connect(endpoints).await?;
        let found = items(&client).await?;
        self.end(running).await?;
        client.disconnect().await;
        restored.stop().await.map_err(Failure::Member)?;
        Ok((found, answered))
    }

    /// Makes the state large, and returns the number of items that this took.
    async fn fill(&mut self, mib: usize) -> Result<u64, Failure> {
        let running = self.begin("the state made large by other clients").await;
        let payload = Bytes::from(vec![7; LARGE_ITEM]);
        let count = mib * ((1 << 20) / LARGE_ITEM);
        let submitted = stream::iter(0..count)
            .map(|_| self.client.submit_command(payload.clone()).into_future());
        let mut answers = submitted.buffer_unordered(LARGE_IN_FLIGHT);
        while let Some(answer) = answers.next().await {
            answer?;
        }
        drop(answers);
        self.end(running).await?;
        Ok(count as u64)
    }
}

/// Returns the number of items in the log.
async fn items(client: &RaftClient) -> Result<u64, Failure> {
    // No item from position 0 on. The answer begins with the length.
    let answer = client.submit_query(Bytes::from_static(&[0; 12])).await?;
    let length = answer.first_chunk::<8>().copied();
    length
        .map(u64::from_be_bytes)
        .ok_or_else(|| Failure::Member(format!("not a length: {answer:?}")))
}
