//! Server processes and clients at default settings: how long `connect()` and a resume take while other members are silent or dead, and
//! how a client learns that a restarted server without a disk lost its session.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpSocket,
    process::{Child, Command},
    time::{sleep, timeout},
};
use zraft_cli::{latency::Latencies, processes::Processes};
use zraft_client::{Event, Events, RaftClient};

use super::{callers::leader, on_members};
use crate::{
    failure::Failure,
    proxy::{Accepting, Cut, Proxy},
};

/// The bound on `connect()` and on a resume while one other member is silent and one refuses connections: two members are waited for
/// 300 ms each, and CreateSession goes to a second member after 1 s.
pub const BESIDE_A_SILENT_MEMBER: Duration = Duration::from_millis(1500);
/// The bound on the median of `connect()` with a dead first member. With any wait for that member it would be 300 ms or more.
pub const DEAD_FIRST: Duration = Duration::from_millis(100);
/// The bound on the number of session messages until a client believes that its session is lost: 8 rounds in 12 s, in which each of the
/// three members is asked and hints are followed.
pub const MESSAGES: u64 = 60;
/// A single wait must end by then: a session expires after 90 s.
const WAIT: Duration = Duration::from_secs(120);
/// The leader cannot be reached for this long when a connection is cut, so that the client asks the others as well.
const AWAY: Duration = Duration::from_millis(20);
/// Commands in flight when the server without a disk is killed, and the time that it takes to commit them.
const IN_FLIGHT: u32 = 8;
const COMMIT_DELAY: Duration = Duration::from_millis(200);

/// The settings of the run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The program `zraft`.
    pub program: PathBuf,
    /// How often each kind of connection is measured.
    pub times: u32,
    /// How often the server without a disk is restarted.
    pub restarts: u32,
}

/// The figures.
#[derive(Debug)]
pub struct Found {
    /// `connect()` with the leader first in the client's configuration, and all members well.
    pub well: Latencies,
    /// `connect()` with a member first whose port refuses connections.
    pub dead_first: Latencies,
    /// `connect()` while one of the other members is stopped by SIGSTOP and the other one's port refuses connections, in every order.
    pub silent_and_refusing: Latencies,
    /// The same for a resume, from the moment at which the leader can be reached again.
    pub resumed: Latencies,
    /// Connections that may have left an orphan session.
    pub orphans: u64,
    /// What became of each session that a restarted server had lost.
    pub lost: Vec<Lost>,
}

/// What became of a session that a restarted server had lost.
#[derive(Clone, Copy, Debug)]
pub struct Lost {
    /// From the restart until the event of doubt.
    pub doubted: Option<Duration>,
    /// From the restart until the session ended.
    pub ended: Duration,
    /// Session messages that the client sent meanwhile.
    pub messages: u64,
    /// Commands in flight at the kill whose outcome is unknown.
    pub unknown: u32,
    /// From the next `connect()` until a command is answered.
    pub again: Duration,
}

impl Found {
    /// Returns true if every bound was met, and each lost session ended after a doubt with its commands unknown.
    #[must_use]
    pub fn holds(&self) -> bool {
        let within = |latencies: &Latencies, part, bound| {
            latencies.count() == 0 || latencies.quantile(part) <= bound
        };
        within(&self.silent_and_refusing, 1.0, BESIDE_A_SILENT_MEMBER)
            && within(&self.resumed, 1.0, BESIDE_A_SILENT_MEMBER)
            && within(&self.dead_first, 0.5, DEAD_FIRST)
            && self.lost.iter().all(|lost| {
                lost.doubted.is_some() && lost.messages <= MESSAGES && lost.unknown == IN_FLIGHT
            })
    }

    /// Returns the figures as one JSON object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let of = |each: fn(&Lost) -> Duration| {
            let mut latencies = Latencies::new();
            self.lost.iter().for_each(|lost| latencies.record(each(lost)));
            latencies.to_json()
        };
        let messages: Vec<_> = self.lost.iter().map(|lost| lost.messages).collect();
        json!({
            "run": "connect",
            "holds": self.holds(),
            "leaderFirstMs": self.well.to_json(),
            "deadFirstMs": self.dead_first.to_json(),
            "silentAndRefusingMs": self.silent_and_refusing.to_json(),
            "resumedMs": self.resumed.to_json(),
            "orphans": self.orphans,
            "restartsWithoutSessions": self.lost.len(),
            "doubtedMs": of(|lost| lost.doubted.unwrap_or_default()),
            "endedMs": of(|lost| lost.ended),
            "connectedAgainMs": of(|lost| lost.again),
            "sessionMessages": messages,
            "unknown": self.lost.iter().map(|lost| lost.unknown).sum::<u32>(),
        })
    }
}

/// Executes the run.
///
/// # Errors
/// [`Failure`] if the run fails to execute, or a member ends by itself.
pub async fn run(settings: &Settings) -> Result<Found, Failure> {
    let mut found =
        on_members(&settings.program, async |processes| measure(settings, processes).await).await?;
    found.lost = restart(settings).await?;
    Ok(found)
}

/// A member as a client is configured.
type Configured<'a> = (&'a str, String);

fn client(members: &[Configured<'_>]) -> Result<RaftClient, Failure> {
    let builder = RaftClient::builder().capability("kind", "chaos");
    let builder =
        members.iter().fold(builder, |builder, (id, endpoint)| builder.member(*id, endpoint));
    Ok(builder.build()?)
}

/// Keeps a port that refuses connections from other processes.
fn refusing() -> Result<(TcpSocket, SocketAddr), Failure> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
    let address = socket.local_addr()?;
    Ok((socket, address))
}

async fn measure(settings: &Settings, processes: &Processes) -> Result<Found, Failure> {
    let mut found = Found {
        well: Latencies::new(),
        dead_first: Latencies::new(),
        silent_and_refusing: Latencies::new(),
        resumed: Latencies::new(),
        orphans: 0,
        lost: Vec::new(),
    };
    let leads = leader(processes).await?;
    let endpoints: Vec<Configured<'_>> = processes.endpoints().collect();
    let mut others = endpoints.iter().filter(|(name, _)| *name != leads);
    let (Some(of_leader), Some(silent), Some(dead)) =
        (endpoints.iter().find(|(name, _)| *name == leads), others.next(), others.next())
    else {
        return Err(Failure::Member("three members are needed".to_owned()));
    };
    // Its process goes on: the leader needs a majority.
    let (_port, address) = refusing()?;
    let dead = (dead.0, format!("tcp://{address}"));
    for _ in 0..settings.times {
        let order = [of_leader, silent, &dead].map(Clone::clone);
        found.well.record(connect(&order, &mut found.orphans).await?);
        let order = [&dead, of_leader, silent].map(Clone::clone);
        found.dead_first.record(connect(&order, &mut found.orphans).await?);
    }
    processes.freeze(silent.0).map_err(Failure::Member)?;
    let address = of_leader.1.trim_start_matches("tcp://").parse();
    let address =
        address.map_err(|_| Failure::Member(format!("cannot read the address {}", of_leader.1)))?;
    let door = Proxy::start(address).await?;
    let through = (of_leader.0, door.endpoint());
    for number in 0..settings.times {
        let orders =
            [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]][number as usize % 6];
        let order = orders.map(|place| [of_leader, silent, &dead][place].clone());
        found.silent_and_refusing.record(connect(&order, &mut found.orphans).await?);
        let order = orders.map(|place| [&through, silent, &dead][place].clone());
        found.resumed.record(resume(&order, &door).await?);
    }
    processes.thaw(silent.0).map_err(Failure::Member)?;
    processes.caught_up(silent.0).await.map_err(Failure::Member)?;
    Ok(found)
}

/// Measures `connect()`.
async fn connect(members: &[Configured<'_>], orphans: &mut u64) -> Result<Duration, Failure> {
    let client = client(members)?;
    let from = Instant::now();
    client.connect().await?;
    let took = from.elapsed();
    *orphans += client.stats().orphans;
    client.disconnect_within(Duration::from_secs(1)).await;
    Ok(took)
}

/// Cuts the connection of a client and measures its resume.
async fn resume(members: &[Configured<'_>], door: &Proxy) -> Result<Duration, Failure> {
    let client = client(members)?;
    client.connect().await?;
    let mut events = client.events();
    door.set_accepting(Accepting::Reset);
    door.cut(Cut::Reset).await;
    sleep(AWAY).await;
    door.heal();
    let from = Instant::now();
    until(&mut events, |event| matches!(event, Event::Connected { resumed: true, .. })).await?;
    let took = from.elapsed();
    client.disconnect_within(Duration::from_secs(1)).await;
    Ok(took)
}

/// Waits for an event.
async fn until(events: &mut Events, mut is: impl FnMut(&Event) -> bool) -> Result<(), Failure> {
    let found = async {
        while let Some(event) = events.next().await {
            if is(&event) {
                return true;
            }
        }
        false
    };
    match timeout(WAIT, found).await {
        Ok(true) => Ok(()),
        _ => Err(Failure::Member(format!("the client's event did not come within {WAIT:?}"))),
    }
}

/// Restarts a server without a disk, and watches the client whose session it lost.
async fn restart(settings: &Settings) -> Result<Vec<Lost>, Failure> {
    let mut lost = Vec::new();
    let (_ports, first) = ports()?;
    for _ in 0..settings.restarts {
        let server = Dev::start(&settings.program, first).await?;
        let members: Vec<_> = server.endpoints.iter().map(|(id, at)| (&**id, at.clone())).collect();
        let client = client(&members)?;
        client.connect().await?;
        client.submit_command(set()).await?;
        let mut events = client.events();
        let commands: Vec<_> = (0..IN_FLIGHT)
            .map(|_| {
                let client = client.clone();
                tokio::spawn(async move { client.submit_command(set()).await })
            })
            .collect();
        sleep(COMMIT_DELAY / 4).await;
        server.kill().await?;
        let server = Dev::start(&settings.program, first).await?;
        let from = Instant::now();
        let (mut doubted, mut messages) = (None, 0);
        until(&mut events, |event| {
            match event {
                // A session message goes on each connection as soon as it is open.
                Event::ConnectionSuccess { .. } => messages += 1,
                Event::SessionDoubted { .. } => doubted = doubted.or(Some(from.elapsed())),
                _ => {}
            }
            matches!(event, Event::SessionExpired { .. })
        })
        .await?;
        let ended = from.elapsed();
        let mut unknown = 0;
        for command in commands {
            unknown += u32::from(command.await?.is_err_and(|error| error.maybe_executed()));
        }
        let from = Instant::now();
        client.connect().await?;
        client.submit_command(set()).await?;
        lost.push(Lost { doubted, ended, messages, unknown, again: from.elapsed() });
        client.disconnect_within(Duration::from_secs(1)).await;
        server.kill().await?;
    }
    Ok(lost)
}

/// Returns a command of the key-value store.
fn set() -> Bytes {
    let texts = (zraft_kv::Key::new("key"), zraft_kv::Value::new("value"));
    match texts {
        (Ok(key), Ok(value)) => zraft_kv::Command::Set { key, value }.encode(),
        // Texts as short as these are valid. The server refuses an empty payload.
        _ => Bytes::new(),
    }
}

/// Keeps three ports in a row from other processes without listening on them. Returns the first one.
fn ports() -> Result<([TcpSocket; 3], u16), Failure> {
    let bound = |port: u16| {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind((Ipv4Addr::LOCALHOST, port).into())?;
        Ok::<_, std::io::Error>(socket)
    };
    loop {
        let one = bound(0)?;
        let first = one.local_addr()?.port();
        let next = |step| first.checked_add(step).and_then(|port| bound(port).ok());
        if let (Some(two), Some(three)) = (next(1), next(2)) {
            return Ok(([one, two, three], first));
        }
    }
}

/// A process of `zraft dev` with three members.
#[derive(Debug)]
struct Dev {
    process: Child,
    endpoints: Vec<(String, String)>,
}

impl Dev {
    /// Starts the process and waits until it listens.
    async fn start(program: &Path, port: u16) -> Result<Self, Failure> {
        let delay = COMMIT_DELAY.as_millis().to_string();
        let mut process = Command::new(program)
            .args(["dev", "--members", "3", "--quiet", "--json", "--commit-delay", &delay])
            .args(["--port", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut text = String::new();
        if let Some(stdout) = process.stdout.take() {
            timeout(WAIT, BufReader::new(stdout).read_line(&mut text))
                .await
                .map_err(|_| Failure::Member("zraft dev does not start".to_owned()))??;
        }
        let object: Value = serde_json::from_str(&text)
            .map_err(|_| Failure::Member(format!("zraft dev printed {text:?}")))?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let members = object["members"].as_array().map(Vec::as_slice).unwrap_or_default();
        let endpoints =
            members.iter().map(|member| (text(&member["member"]), text(&member["endpoint"])));
        Ok(Self { process, endpoints: endpoints.collect() })
    }

    async fn kill(mut self) -> Result<(), Failure> {
        Ok(self.process.kill().await?)
    }
}
