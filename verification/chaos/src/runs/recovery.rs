//! Server processes with clients at default settings: how long no command is answered when a member is lost, and what idle sessions cost.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::time::sleep;
use zraft_cli::{
    latency::Latencies,
    processes::{
        Processes,
        usage::{cpu_seconds, memory_kib},
    },
};

use super::{
    callers::{Callers, connect, leader},
    on_members,
};
use crate::failure::Failure;

/// Members end within 5 s of SIGTERM.
const END: Duration = Duration::from_secs(10);
/// Sessions that are opened at the same time.
const AT_ONCE: usize = 50;

/// The settings of the run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The program `zraft`.
    pub program: PathBuf,
    /// The number of leaders that are killed.
    pub kills: u32,
    /// The number of leaders that are frozen.
    pub freezes: u32,
    /// The number of hand-overs.
    pub hand_overs: u32,
    /// The number of members that are stopped by SIGTERM and started again.
    pub restarts: u32,
    /// The numbers of idle sessions.
    pub sessions: Vec<u32>,
    /// The time for which idle sessions are watched.
    pub idle: Duration,
}

/// The figures.
#[derive(Debug)]
pub struct Found {
    /// The longest time without an answer after each kill.
    pub kills: Latencies,
    /// The same after each freeze.
    pub freezes: Latencies,
    /// The same at each hand-over.
    pub hand_overs: Latencies,
    /// The same at each restart of a leader.
    pub restarts_of_leaders: Latencies,
    /// The same at each restart of a follower.
    pub restarts_of_followers: Latencies,
    /// Commands that were answered, and that ended with an error.
    pub commands: (u64, u64),
    /// What idle sessions cost. Empty where the system does not tell.
    pub idle: Vec<Idle>,
}

/// What members use while sessions idle: the leader first, then each follower.
#[derive(Debug)]
pub struct Idle {
    /// The number of sessions.
    pub sessions: u32,
    /// The part of a core.
    pub cores: Vec<f64>,
    /// The resident memory in KiB.
    pub memory: Vec<u64>,
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
        let idle = self.idle.iter().map(|idle| {
            let Idle { sessions, cores, memory } = idle;
            json!({ "sessions": sessions, "cores": cores, "memoryKiB": memory })
        });
        json!({
            "run": "recovery",
            "holds": self.holds(),
            "commandsAnswered": self.commands.0,
            "commandsFailed": self.commands.1,
            "killMs": self.kills.to_json(),
            "freezeMs": self.freezes.to_json(),
            "handOverMs": self.hand_overs.to_json(),
            "restartOfLeaderMs": self.restarts_of_leaders.to_json(),
            "restartOfFollowerMs": self.restarts_of_followers.to_json(),
            "idleLeaderFirst": idle.collect::<Vec<_>>(),
        })
    }
}

/// Executes the run.
///
/// # Errors
/// [`Failure`] if the run fails to execute, or a member ends by itself.
pub async fn run(settings: &Settings) -> Result<Found, Failure> {
    on_members(&settings.program, async |processes| measure(settings, processes).await).await
}

async fn measure(settings: &Settings, processes: &Processes) -> Result<Found, Failure> {
    leader(processes).await?;
    let idle = idle(settings, processes).await?;
    let client = connect(processes.endpoints()).await?;
    let mut load = Callers::start(&client);
    let mut found = Found {
        kills: Latencies::new(),
        freezes: Latencies::new(),
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
    for _ in 0..settings.freezes {
        let leads = leader(processes).await?;
        load.begin().await;
        processes.freeze(&leads).map_err(Failure::Member)?;
        found.freezes.record(load.gap().await);
        processes.thaw(&leads).map_err(Failure::Member)?;
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

/// Measures what members use without sessions, and with idle ones.
async fn idle(settings: &Settings, processes: &Processes) -> Result<Vec<Idle>, Failure> {
    let mut figures = Vec::new();
    let mut clients = Vec::new();
    for sessions in std::iter::once(0).chain(settings.sessions.iter().copied()) {
        while clients.len() < sessions as usize {
            let more = (sessions as usize - clients.len()).min(AT_ONCE);
            let opened = futures_util::future::try_join_all(
                (0..more).map(|_| connect(processes.endpoints())),
            );
            clients.extend(opened.await?);
        }
        let leads = leader(processes).await?;
        let mut names: Vec<&str> = processes.places().map(|(name, _)| name).collect();
        names.sort_by_key(|name| *name != leads);
        let cpu = |name: &str| cpu_seconds(processes.process_id(name)?);
        let before: Vec<_> = names.iter().map(|name| cpu(name)).collect();
        let from = Instant::now();
        sleep(settings.idle).await;
        let took = from.elapsed().as_secs_f64();
        let used = names.iter().zip(before).map(|(name, before)| Some(cpu(name)? - before?));
        // Another leader would mix the figures of leader and follower.
        if leader(processes).await? != leads {
            return Err(Failure::Member(
                "another member was elected while nothing happened".to_owned(),
            ));
        }
        let memory = names.iter().map(|name| memory_kib(processes.process_id(name)?));
        if let (Some(used), Some(memory)) =
            (used.collect::<Option<Vec<f64>>>(), memory.collect::<Option<_>>())
        {
            let cores = used.into_iter().map(|seconds| seconds / took).collect();
            figures.push(Idle { sessions, cores, memory });
        }
    }
    for client in &clients {
        client.disconnect_within(Duration::from_secs(1)).await;
    }
    Ok(figures)
}
