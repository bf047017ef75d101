//! Idle watches whose leader is lost: how long they take to hear a change again, with a liveness query and without.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    sync::watch,
    time::{sleep, timeout},
};
use zraft_cli::latency::Latencies;
use zraft_client::RaftClient;
use zraft_kv::{KvClient, Watch};
use zraft_test_server::{KvStore, TestCluster};

use super::PATIENCE;
use crate::{
    failure::Failure,
    processes::{Cluster, Layer},
};

/// The bound at a member of `zraft server` that is cut off: it closes its connections within 610 ms, and an election takes as long.
pub const CUT_OFF: Duration = Duration::from_secs(3);
/// The bound at a frozen member: an idle client notices it within 11 s.
pub const FROZEN: Duration = Duration::from_secs(12);
/// The bound at a leader that is cut off and goes on answering KeepAlives, with a liveness query, until the watch leaves it: the query goes
/// every 10 s, and silence counts after 6 s.
pub const SILENT: Duration = Duration::from_secs(17);
/// The bound until it hears the change. The embedded cluster sends a notification again after 10 s, and not when a session is resumed.
pub const HEARD: Duration = Duration::from_secs(28);
/// The key that is watched.
const KEY: &str = "colour";
/// A leader is lost up to this time after a watch heard something, so that it may strike between any two KeepAlives and queries.
const APART: Duration = Duration::from_secs(10);
/// Embedded clusters at the same time.
const AT_ONCE: usize = 10;

/// The settings of the run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The program `zraft`.
    pub program: PathBuf,
    /// How often a leader is lost in each way.
    pub times: u32,
    /// How long a watch is listened to before it counts as one that heard nothing.
    pub silence: Duration,
}

/// How long watches took from the loss of the leader until they heard a change.
#[derive(Debug, Default)]
pub struct Heard {
    /// `zraft watch`, a process with a liveness query at its default interval.
    pub watch: Latencies,
    /// From the loss of the leader until `zraft watch` reports that its connection is lost.
    pub left: Latencies,
    /// A client of this process without a liveness query.
    pub plain: Latencies,
    /// Watches of either kind that heard nothing.
    pub nothing: [u32; 2],
}

impl Heard {
    fn add(&mut self, took: Took) {
        let [watch, plain] = &mut self.nothing;
        for (took, latencies, nothing) in
            [(took.watch, &mut self.watch, watch), (took.plain, &mut self.plain, plain)]
        {
            match took {
                Some(took) => latencies.record(took),
                None => *nothing += 1,
            }
        }
        if let Some(left) = took.left {
            self.left.record(left);
        }
    }

    /// Returns true if each `zraft watch` heard the change within the bound.
    fn is_within(&self, bound: Duration) -> bool {
        self.nothing[0] == 0 && (self.watch.count() == 0 || self.watch.quantile(1.0) <= bound)
    }

    fn to_json(&self) -> Value {
        json!({
            "watchLeftMs": self.left.to_json(),
            "watchMs": self.watch.to_json(),
            "watchesThatHeardNothing": self.nothing[0],
            "withoutQueryMs": self.plain.to_json(),
            "withoutQueryThatHeardNothing": self.nothing[1],
        })
    }
}

/// How long after the loss of the leader something happened.
struct Took {
    left: Option<Duration>,
    watch: Option<Duration>,
    plain: Option<Duration>,
}

/// The figures.
#[derive(Debug, Default)]
pub struct Found {
    /// The leader of three `zraft server` processes is cut off from the others.
    pub cut_off: Heard,
    /// The leader of three `zraft server` processes is frozen by SIGSTOP.
    pub frozen: Heard,
    /// The leader of an embedded cluster is cut off and goes on answering KeepAlives, as a member of ZIO Raft does.
    pub silent: Heard,
}

impl Found {
    /// Returns true if each `zraft watch` heard each change within its bound.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.cut_off.is_within(CUT_OFF)
            && self.frozen.is_within(FROZEN)
            && self.silent.is_within(HEARD)
            && (self.silent.left.count() == 0 || self.silent.left.quantile(1.0) <= SILENT)
    }

    /// Returns the figures as one JSON object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "run": "watch",
            "holds": self.holds(),
            "cutOff": self.cut_off.to_json(),
            "frozen": self.frozen.to_json(),
            "cutOffButAnswering": self.silent.to_json(),
        })
    }
}

/// Executes the run.
///
/// # Errors
/// [`Failure`] if the run fails to execute, or a process ends by itself.
pub async fn run(settings: &Settings) -> Result<Found, Failure> {
    let mut found = Found::default();
    let layer = Layer::find(None, None)?;
    let mut cluster = Cluster::start(&settings.program, "kv-store", PATIENCE, layer).await?;
    let measured = tokio::select! {
        biased;
        problem = cluster.processes().watch() => Err(Failure::Member(problem)),
        measured = on_processes(settings, &cluster, &mut found) => measured,
    };
    measured.map_err(|failure| failure.with_files(cluster.keep()))?;
    cluster.processes().stop().await.map_err(Failure::Member)?;
    let clusters = stream::iter(0..settings.times).map(|_| on_an_embedded_cluster(settings));
    let mut clusters = clusters.buffer_unordered(AT_ONCE);
    while let Some(heard) = clusters.try_next().await? {
        found.silent.add(heard);
    }
    Ok(found)
}

async fn on_processes(
    settings: &Settings,
    cluster: &Cluster,
    found: &mut Found,
) -> Result<(), Failure> {
    cluster.leader().await?;
    let doors = cluster.names().filter_map(|name| Some((name, cluster.door(name)?.endpoint())));
    let members: Vec<_> = doors.map(|(name, door)| (name.to_owned(), door)).collect();
    let mut watches = Watches::start(&settings.program, &members).await?;
    let setting = store(&members).await?;
    for number in 0..settings.times {
        let leads = cluster.leader().await?;
        any_time().await;
        let from = Instant::now();
        for other in cluster.names().filter(|name| *name != leads) {
            cluster.block(other, &leads);
            cluster.block(&leads, other);
        }
        let value = format!("cut off {number}");
        let heard = watches.hear(&setting, &value, from, settings.silence);
        found.cut_off.add(heard.await?);
        cluster.heal();
        cluster.processes().caught_up(&leads).await.map_err(Failure::Member)?;
    }
    for number in 0..settings.times {
        let leads = cluster.leader().await?;
        any_time().await;
        let from = Instant::now();
        cluster.processes().freeze(&leads).map_err(Failure::Member)?;
        let value = format!("frozen {number}");
        let heard = watches.hear(&setting, &value, from, settings.silence);
        found.frozen.add(heard.await?);
        cluster.processes().thaw(&leads).map_err(Failure::Member)?;
        cluster.processes().caught_up(&leads).await.map_err(Failure::Member)?;
    }
    setting.client().disconnect().await;
    watches.plain_client.disconnect().await;
    Ok(())
}

async fn on_an_embedded_cluster(settings: &Settings) -> Result<Took, Failure> {
    let cluster = TestCluster::builder().members(3).app(KvStore::default()).start().await?;
    let members = cluster.endpoints().into_iter();
    let members: Vec<_> =
        members.map(|(name, endpoint)| (name.as_str().to_owned(), endpoint)).collect();
    let leads = cluster.leader_elected().await;
    let mut watches = Watches::start(&settings.program, &members).await?;
    let others: Vec<_> =
        members.iter().filter(|(name, _)| *name != leads.as_str()).cloned().collect();
    any_time().await;
    let from = Instant::now();
    cluster.set_stale_leader(leads.as_str(), true)?;
    // It connects once one of the others leads.
    let setting = store(&others).await?;
    let heard = watches.hear(&setting, "cut off", from, settings.silence).await?;
    drop((watches, setting));
    cluster.shutdown().await;
    Ok(heard)
}

/// Waits for a random time.
async fn any_time() {
    sleep(APART.mul_f64(fastrand::f64())).await;
}

fn settings(members: &[(String, String)]) -> zraft_client::ClientBuilder {
    let builder = RaftClient::builder().capability("kind", "chaos").request_timeout(None);
    members.iter().fold(builder, |builder, (name, endpoint)| builder.member(name, endpoint))
}

/// Connects a client that changes the key.
async fn store(members: &[(String, String)]) -> Result<KvClient, Failure> {
    let client = settings(members).build()?;
    client.connect().await?;
    Ok(KvClient::new(client))
}

/// A watch with a liveness query and one without.
struct Watches {
    program: Program,
    plain: Watch,
    plain_client: RaftClient,
}

impl Watches {
    /// Starts both, and waits until they have heard the first value.
    async fn start(program: &Path, members: &[(String, String)]) -> Result<Self, Failure> {
        let setting = store(members).await?;
        setting.set(KEY, "first").await.map_err(of_store)?;
        setting.client().disconnect().await;
        let store = store(members).await?;
        let plain_client = store.client().clone();
        plain_client.set_liveness_query(None)?;
        let plain = store.watch(KEY).await.map_err(of_store)?;
        let mut watches = Self { program: Program::start(program, members)?, plain, plain_client };
        watches.program.hears("first").await?;
        hears(&mut watches.plain, "first").await?;
        Ok(watches)
    }

    /// Changes the value. Returns how long after `from` each of the two heard it, unless that takes longer than `silence`.
    async fn hear(
        &mut self,
        setting: &KvClient,
        value: &str,
        from: Instant,
        silence: Duration,
    ) -> Result<Took, Failure> {
        let lost = self.program.lost.clone();
        let took =
            async |heard: &mut (dyn Future<Output = Result<(), Failure>> + Unpin)| match timeout(
                silence, heard,
            )
            .await
            {
                Ok(heard) => heard.map(|()| Some(from.elapsed())),
                Err(_) => Ok(None),
            };
        let set = async { setting.set(KEY, value).await.map_err(of_store) };
        let mut watch = Box::pin(self.program.hears(value));
        let mut plain = Box::pin(hears(&mut self.plain, value));
        let (watch, plain, ()) = tokio::try_join!(took(&mut watch), took(&mut plain), set)?;
        let left = lost.borrow().and_then(|lost: Instant| lost.checked_duration_since(from));
        Ok(Took { left, watch, plain })
    }
}

/// Waits until the watch hears this value.
async fn hears(watch: &mut Watch, value: &str) -> Result<(), Failure> {
    while let Some(change) = watch.next().await {
        if change.map_err(of_store)?.notification.value.as_str() == value {
            return Ok(());
        }
    }
    Err(Failure::Member("the client's task has ended".to_owned()))
}

fn of_store(error: zraft_kv::Error) -> Failure {
    Failure::Member(error.to_string())
}

/// A process of `zraft watch`.
struct Program {
    lines: Lines<BufReader<ChildStdout>>,
    /// When it last reported that its connection is lost.
    lost: watch::Receiver<Option<Instant>>,
    _process: Child,
}

impl Program {
    fn start(program: &Path, members: &[(String, String)]) -> Result<Self, Failure> {
        let endpoints: Vec<_> =
            members.iter().map(|(name, endpoint)| format!("{name}={endpoint}")).collect();
        let mut process = Command::new(program)
            .args(["watch", "--json", "-e", &endpoints.join(","), KEY])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let (Some(stdout), Some(stderr)) = (process.stdout.take(), process.stderr.take()) else {
            return Err(Failure::Member("zraft watch has no output".to_owned()));
        };
        let (sender, lost) = watch::channel(None);
        tokio::spawn(async move {
            let mut lines = BufReader::new(stderr).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                if line.starts_with("zraft: lost the connection") {
                    sender.send_replace(Some(Instant::now()));
                }
            }
        });
        Ok(Self { lines: BufReader::new(stdout).lines(), lost, _process: process })
    }

    /// Waits until the process prints this value.
    async fn hears(&mut self, value: &str) -> Result<(), Failure> {
        while let Some(line) = self.lines.next_line().await? {
            let change: Value = serde_json::from_str(&line)
                .map_err(|_| Failure::Member(format!("zraft watch printed {line:?}")))?;
            if change["value"] == value {
                return Ok(());
            }
        }
        Err(Failure::Member("zraft watch has ended".to_owned()))
    }
}
