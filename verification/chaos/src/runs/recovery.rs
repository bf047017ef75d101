//! Server processes with clients at default settings: how long no command is answered when a member is lost, and what idle sessions cost.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};
use zraft_cli::{latency::Latencies, processes::Processes};
use zraft_client::RaftClient;

use crate::failure::Failure;

/// A run must end by then. It is far longer than the longest one takes.
const PATIENCE: Duration = Duration::from_secs(3600);
/// Callers that submit one command after the other.
const CALLERS: usize = 8;
/// A loss is over when commands were answered for this long, without a longer silence than that. A follower stands for election after 300 ms
/// at the earliest, so the silence after a kill is longer.
const AFTER: Duration = Duration::from_millis(500);
const SILENCE: Duration = Duration::from_millis(150);
/// Members end within 5 s of SIGTERM.
const END: Duration = Duration::from_secs(10);
/// Sessions that are opened at the same time.
const AT_ONCE: usize = 50;
/// The clock ticks of a second in `/proc` on Linux.
const TICKS: f64 = 100.0;

/// The settings of the run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The program `zraft`.
    pub program: PathBuf,
    /// The number of leaders that are killed.
    pub kills: u32,
    /// The number of hand-overs.
    pub hand_overs: u32,
    /// The number of members that are stopped by SIGTERM and started again.
    pub restarts: u32,
    /// The number of idle sessions.
    pub sessions: u32,
    /// The time for which idle sessions are watched.
    pub idle: Duration,
}

/// The figures.
#[derive(Debug)]
pub struct Found {
    /// The longest time without an answer after each kill.
    pub kills: Latencies,
    /// The same at each hand-over.
    pub hand_overs: Latencies,
    /// The same at each restart of a leader.
    pub restarts_of_leaders: Latencies,
    /// The same at each restart of a follower.
    pub restarts_of_followers: Latencies,
    /// Commands that were answered, and that ended with an error.
    pub commands: (u64, u64),
    /// The part of a core that the leader and each follower use while sessions idle, without and with them. Empty where the system
    /// does not tell.
    pub idle: Vec<(u32, Vec<f64>)>,
}

impl Found {
    /// Returns true if no command ended with an error.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.commands.1 == 0
    }

    /// Returns the figures as one JSON object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let idle = self.idle.iter().map(|(sessions, cores)| {
            json!({ "sessions": sessions, "leader": cores.first(), "followers": cores.get(1..) })
        });
        json!({
            "run": "recovery",
            "holds": self.holds(),
            "commandsAnswered": self.commands.0,
            "commandsFailed": self.commands.1,
            "killMs": self.kills.to_json(),
            "handOverMs": self.hand_overs.to_json(),
            "restartOfLeaderMs": self.restarts_of_leaders.to_json(),
            "restartOfFollowerMs": self.restarts_of_followers.to_json(),
            "idleCores": idle.collect::<Vec<_>>(),
        })
    }
}

/// Executes the run.
///
/// # Errors
/// [`Failure`] if the run fails to execute, or a member ends by itself.
pub async fn run(settings: &Settings) -> Result<Found, Failure> {
    let processes = Processes::prepare(&settings.program, "append-log", PATIENCE);
    let mut processes = processes.map_err(Failure::Member)?;
    let measured = async {
        processes.open_all().map_err(Failure::Member)?;
        let found = tokio::select! {
            biased;
            problem = processes.watch() => return Err(Failure::Member(problem)),
            found = measure(settings, &processes) => found?,
        };
        processes.stop().await.map_err(Failure::Member)?;
        Ok(found)
    };
    measured.await.map_err(|failure| failure.with_files(processes.keep_folder()))
}

async fn measure(settings: &Settings, processes: &Processes) -> Result<Found, Failure> {
    leader(processes).await?;
    let idle = idle(settings, processes).await?;
    let client = connect(processes).await?;
    let mut load = Load::start(&client);
    let mut found = Found {
        kills: Latencies::new(),
        hand_overs: Latencies::new(),
        restarts_of_leaders: Latencies::new(),
        restarts_of_followers: Latencies::new(),
        commands: (0, 0),
        idle,
    };
    for _ in 0..settings.kills {
        let leads = leader(processes).await?;
        load.begin().await;
        processes.kill(&leads);
        found.kills.record(load.gap().await);
        processes.open(&leads).map_err(Failure::Member)?;
        processes.caught_up(&leads).await.map_err(Failure::Member)?;
    }
    for _ in 0..settings.hand_overs {
        leader(processes).await?;
        load.begin().await;
        let to_the_best = Value::Object(serde_json::Map::new());
        let asked = processes.cluster().change("/v1/leader/move", &to_the_best).await;
        asked.map_err(|failure| Failure::Member(failure.text().to_owned()))?;
        found.hand_overs.record(load.gap().await);
    }
    let names: Vec<String> = processes.places().map(|(name, _)| name.to_owned()).collect();
    for name in names.iter().cycle().take(settings.restarts as usize) {
        let of_leader = leader(processes).await? == *name;
        load.begin().await;
        let ending = processes.terminate(name).map_err(Failure::Member)?;
        ending.wait(END).await.map_err(Failure::Member)?;
        processes.open(name).map_err(Failure::Member)?;
        processes.caught_up(name).await.map_err(Failure::Member)?;
        let gap = load.gap().await;
        if of_leader { &mut found.restarts_of_leaders } else { &mut found.restarts_of_followers }
            .record(gap);
    }
    found.commands = load.stop().await?;
    client.disconnect().await;
    Ok(found)
}

async fn leader(processes: &Processes) -> Result<String, Failure> {
    let leader = processes.cluster().leader().await;
    let (_, status) = leader.map_err(|failure| Failure::Member(failure.text().to_owned()))?;
    Ok(status["member"].as_str().unwrap_or_default().to_owned())
}

async fn connect(processes: &Processes) -> Result<RaftClient, Failure> {
    let builder = RaftClient::builder().capability("kind", "chaos");
    let builder = processes.endpoints().fold(builder, |builder, (id, at)| builder.member(id, at));
    let client = builder.build()?;
    client.connect().await?;
    Ok(client)
}

/// Callers that submit one command after the other, and the longest time without an answer.
struct Load {
    callers: JoinSet<(u64, u64)>,
    stop: Arc<AtomicBool>,
    /// The moment of the last answer, and the longest time between two of them since the last look.
    answers: watch::Sender<(Instant, Duration)>,
}

impl Load {
    fn start(client: &RaftClient) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let answers = watch::Sender::new((Instant::now(), Duration::ZERO));
        let next = Arc::new(AtomicU64::new(0));
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
    async fn begin(&mut self) {
        let mut answers = self.answers.subscribe();
        // This value holds the sender.
        let _ = answers.changed().await;
        self.answers.send_modify(|(_, longest)| *longest = Duration::ZERO);
    }

    /// Waits until commands have been answered for a while, and returns the longest time without an answer since the last
    /// [`begin`](Self::begin).
    async fn gap(&mut self) -> Duration {
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

    async fn stop(mut self) -> Result<(u64, u64), Failure> {
        self.stop.store(true, Ordering::Relaxed);
        let mut sum = (0, 0);
        while let Some(caller) = self.callers.join_next().await {
            let (answered, failed) = caller?;
            sum = (sum.0 + answered, sum.1 + failed);
        }
        Ok(sum)
    }
}

/// Measures what members use without sessions, and with idle ones.
async fn idle(settings: &Settings, processes: &Processes) -> Result<Vec<(u32, Vec<f64>)>, Failure> {
    let mut figures = Vec::new();
    let mut clients = Vec::new();
    for sessions in [0, settings.sessions] {
        while clients.len() < sessions as usize {
            let more = (sessions as usize - clients.len()).min(AT_ONCE);
            let opened = futures_util::future::try_join_all((0..more).map(|_| connect(processes)));
            clients.extend(opened.await?);
        }
        let leads = leader(processes).await?;
        let mut names: Vec<&str> = processes.places().map(|(name, _)| name).collect();
        names.sort_by_key(|name| *name != leads);
        let before: Vec<_> = names.iter().map(|name| cpu(processes, name)).collect();
        let from = Instant::now();
        sleep(settings.idle).await;
        let took = from.elapsed().as_secs_f64();
        let used =
            names.iter().zip(before).map(|(name, before)| Some(cpu(processes, name)? - before?));
        // Another leader would mix the figures of leader and follower.
        if leader(processes).await? != leads {
            return Err(Failure::Member(
                "another member was elected while nothing happened".to_owned(),
            ));
        }
        if let Some(used) = used.collect::<Option<Vec<f64>>>() {
            figures.push((sessions, used.into_iter().map(|seconds| seconds / took).collect()));
        }
    }
    for client in &clients {
        client.disconnect_within(Duration::from_secs(1)).await;
    }
    Ok(figures)
}

/// Returns the seconds of a core that a member has used; none where the system does not tell.
fn cpu(processes: &Processes, name: &str) -> Option<f64> {
    let process = processes.process_id(name)?;
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name of the program is in parentheses and may hold spaces. User time is the 12th field after it, system time the 13th.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / TICKS)
}
