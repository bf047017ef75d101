//! How long clients wait after a failure, in virtual time.
//!
//! Each seed is a cluster of three with clients that send commands without a break. After a random time something happens
//! to it. What happens to the clients is measured until all of them are answered again, and then judged: every answered
//! command is in the log once, no command failed, and no session was called expired.

use std::{collections::BTreeMap, fmt, io, time::Duration};

use clap::ValueEnum;
use zraft_protocol::{
    Capabilities, ClientMessage, Nonce, RejectionReason, ServerMessage, SessionCloseReason,
    SessionId, SplitMix64, Timestamp,
};
use zraft_replica::{ConnectionId, Limits};
use zraft_session::applications::AppendLog;
use zraft_store::StoreError;

use super::{
    clients::{Habit, World, payload},
    cluster::{Cluster, Told},
};

const MEMBERS: usize = 3;
const CLIENTS: usize = 3;
/// Busy enough that a gap of a few milliseconds shows, and slow enough for 300 seeds in a test.
const HABIT: Habit = Habit { window: 2, pause: Duration::from_millis(10) };
/// Small, so that members start from a snapshot and a log after it.
const SNAPSHOT_AFTER: u64 = 8 << 10;
/// How long the processes are gone in a restart of all members.
const DOWN: Duration = Duration::from_millis(100);
/// How often a client asks a leader that is cut off.
const ASK_EVERY: Duration = Duration::from_millis(2);

/// What happens to a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Incident {
    /// The leader's process is killed.
    Kill,
    /// The leader hands over.
    HandOver,
    /// The leader's process ends in order.
    ShutDown,
    /// The leader is cut off from the other members, and its clients are not.
    CutOff,
    /// All processes are killed, and start again from their disks.
    RestartAll,
}

impl Incident {
    /// All incidents.
    pub const ALL: [Self; 5] =
        [Self::Kill, Self::HandOver, Self::ShutDown, Self::CutOff, Self::RestartAll];
}

impl fmt::Display for Incident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kill => "leader killed, until every client is answered",
            Self::HandOver => "hand-over, longest gap between two answers of a client",
            Self::ShutDown => "leader shut down, longest gap between two answers of a client",
            Self::CutOff => "leader cut off, until it says nothing more",
            Self::RestartAll => {
                "all members restarted, from their start until every client is answered"
            }
        })
    }
}

/// Measures how long clients of three members wait after a failure, in virtual time
///
/// A message takes 1 ms, and so does a write with its fsync. Prints a table.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// Seeds of each incident.
    #[arg(long, default_value_t = 300)]
    pub seeds: u64,
    /// Measure only these incidents.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub only: Vec<Incident>,
}

/// Runs the measurement and prints it.
///
/// # Errors
/// If the output is closed.
pub fn run(arguments: &Arguments) -> io::Result<()> {
    let incidents = if arguments.only.is_empty() { &Incident::ALL[..] } else { &arguments.only };
    let mut stdout = io::stdout();
    let mut say = |line: String| io::Write::write_fmt(&mut stdout, format_args!("{line}\n"));
    say("| in virtual time | p50 | p99 | max |\n| --- | --- | --- | --- |".to_owned())?;
    for incident in incidents {
        let times = measure(*incident, arguments.seeds).map_err(io::Error::other)?;
        let millis = |time: Duration| format!("{:.0} ms", time.as_secs_f64() * 1e3);
        let [p50, p99, max] = [50, 99, 100].map(|percent| millis(times.percentile(percent)));
        say(format!("| {incident} | {p50} | {p99} | {max} |"))?;
    }
    Ok(())
}

/// What was measured with some seeds.
#[derive(Debug, Clone)]
pub struct Times(Vec<Duration>);

impl Times {
    /// Returns the time that this share of the seeds did not exceed, in percent.
    #[must_use]
    pub fn percentile(&self, percent: usize) -> Duration {
        let at = (self.0.len() * percent / 100).min(self.0.len().saturating_sub(1));
        self.0.get(at).copied().unwrap_or_default()
    }
}

/// Measures an incident with this many seeds.
///
/// # Errors
/// Never on a sound store.
///
/// # Panics
/// If a client was wronged.
pub fn measure(incident: Incident, seeds: u64) -> Result<Times, StoreError> {
    let times = (0..seeds).map(|seed| Course::new(seed)?.run(incident));
    let mut times = times.collect::<Result<Vec<_>, _>>()?;
    times.sort();
    Ok(Times(times))
}

/// One seed's cluster.
struct Course {
    seed: u64,
    world: World,
    random: SplitMix64,
    /// The clients' sessions before the incident.
    sessions: Vec<SessionId>,
}

impl Course {
    /// Starts a cluster whose clients have been busy for a while.
    fn new(seed: u64) -> Result<Self, StoreError> {
        let mut random = SplitMix64::new(seed ^ 0x5EED);
        let limits = Limits { snapshot_after: SNAPSHOT_AFTER, ..Limits::default() };
        let cluster = Cluster::new(MEMBERS, random.next(), limits)?;
        let mut world = World::new(cluster, CLIENTS, HABIT, random.next());
        let begun = |world: &World| world.clients.iter().all(|client| client.answers().len() > 8);
        assert!(world.until(begun), "seed {seed}: the clients are not answered");
        let sessions = world.clients.iter().map(|client| client.session().cloned());
        let sessions = sessions.collect::<Option<_>>().expect("they were answered");
        world.run(Duration::from_micros(random.below(100_000)));
        Ok(Self { seed, world, random, sessions })
    }

    fn run(mut self, incident: Incident) -> Result<Duration, StoreError> {
        let begin = self.world.now();
        let leader = self.world.cluster.serving().expect("the clients were answered");
        let measured = match incident {
            Incident::Kill => {
                self.world.cluster.kill(leader);
                self.all_answered(begin, leader)
            }
            Incident::HandOver => {
                self.world.cluster.hand_over();
                self.longest_gap(begin, leader)
            }
            Incident::ShutDown => {
                self.world.cluster.shut_down();
                self.longest_gap(begin, leader)
            }
            Incident::CutOff => self.cut_off(begin, leader),
            Incident::RestartAll => {
                (0..MEMBERS).for_each(|member| self.world.cluster.kill(member));
                self.world.run(DOWN);
                let begin = self.world.now();
                let order = self.random.below(MEMBERS as u64) as usize;
                for member in 0..MEMBERS {
                    self.world.cluster.start((member + order) % MEMBERS)?;
                }
                self.all_answered(begin, MEMBERS)
            }
        };
        self.judge();
        Ok(measured)
    }

    /// Waits until another member than `old` has answered every client. Returns the time since `begin`.
    fn all_answered(&mut self, begin: Duration, old: usize) -> Duration {
        let elsewhere = |world: &World| world.cluster.serving().is_some_and(|leader| leader != old);
        assert!(self.world.until(elsewhere), "seed {}: no member leads", self.seed);
        let from = self.world.now();
        let answered = |world: &World| {
            let last = |client: &super::clients::Client| client.answers().last().map(|(at, _)| *at);
            world.clients.iter().all(|client| last(client) > Some(from))
        };
        assert!(self.world.until(answered), "seed {}: clients are not answered", self.seed);
        self.world.now() - begin
    }

    /// Returns the longest time between two answers of a client that ends after `begin`.
    fn longest_gap(&mut self, begin: Duration, old: usize) -> Duration {
        self.all_answered(begin, old);
        self.world.run(Duration::from_millis(100));
        let gaps = self.world.clients.iter().flat_map(|client| {
            let pairs = client.answers().windows(2).filter(|pair| pair[1].0 > begin);
            pairs.map(|pair| pair[1].0 - pair[0].0)
        });
        gaps.max().expect("the clients were answered")
    }

    /// Cuts the leader off while two more clients ask it: one with a session on a connection, one that comes back to
    /// continue a session. Returns when it said the last thing that a leader alone may say.
    fn cut_off(&mut self, begin: Duration, leader: usize) -> Duration {
        let nonce = Nonce::new(7).expect("it is not 0");
        let cluster = &mut self.world.cluster;
        let bound = cluster.connect(leader).expect("the leader runs");
        let capabilities = Capabilities::new([("kind".to_owned(), "probe".to_owned())]);
        let capabilities = capabilities.expect("they are few and short");
        cluster.say(bound, [ClientMessage::CreateSession { capabilities, nonce }]);
        let created = |(_, _, told): &(Duration, ConnectionId, Told)| {
            matches!(told, Told::Message(ServerMessage::SessionCreated { .. }))
        };
        assert!(self.world.until(|world| world.others.iter().any(created)));
        let begin = self.world.now().max(begin);
        self.world.cluster.cut_off(leader);
        let end = begin + Duration::from_millis(700);
        while self.world.now() < end {
            let cluster = &mut self.world.cluster;
            let timestamp = Timestamp::from_millis(1);
            cluster.say(bound, [ClientMessage::KeepAlive { timestamp }]);
            if let Some(back) = cluster.connect(leader) {
                let session_id = self.sessions[0].clone();
                cluster.say(back, [ClientMessage::ContinueSession { session_id, nonce }]);
            }
            self.world.run(ASK_EVERY);
        }
        let answers = self.world.others.iter().filter(|(_, _, told)| is_a_leaders(told));
        let last = answers.map(|(at, ..)| *at).max().expect("it answered before");
        // The clients have found the new leader meanwhile, although the old one took one of their sessions.
        self.all_answered(end, leader);
        last.saturating_sub(begin)
    }

    /// Checks that no client was wronged.
    fn judge(mut self) {
        let seed = self.seed;
        self.world.set_busy(false);
        let settled = |world: &World| {
            world.clients.iter().all(|client| {
                (client.answers().len() + client.failures().len()) as u64 == client.submitted()
            })
        };
        assert!(self.world.until(settled), "seed {seed}: commands have no answer");
        let leader = self.world.cluster.serving().expect("it answered");
        let mut executed = BTreeMap::<&[u8], u64>::new();
        for item in self.world.cluster.log(leader).into_iter().flat_map(AppendLog::iter) {
            *executed.entry(&item[..]).or_default() += 1;
        }
        for (number, client) in self.world.clients.iter().enumerate() {
            assert_eq!(client.failures(), [] as [String; 0], "seed {seed}: a command failed");
            assert!(!client.has_expired(), "seed {seed}: a session was called expired");
            assert_eq!(client.session(), self.sessions.get(number), "seed {seed}: another session");
            for command in 1..=client.submitted() {
                let times = executed.get(&payload(number, command)[..]).copied();
                assert_eq!(times, Some(1), "seed {seed}: command {command} of client {number}");
            }
        }
        let expired = self.world.others.iter().filter(|(_, _, told)| calls_expired(told)).count();
        assert_eq!(expired, 0, "seed {seed}: a session was called expired");
    }
}

/// Returns true for what only a leader may say. Any member may say where the leader is.
fn is_a_leaders(told: &Told) -> bool {
    match told {
        Told::Message(ServerMessage::SessionRejected { reason, .. }) => {
            *reason != RejectionReason::NotLeader
        }
        Told::Message(ServerMessage::SessionClosed { reason, .. }) => {
            *reason != SessionCloseReason::NotLeaderAnymore
        }
        Told::Message(_) => true,
        Told::Closed | Told::Reset => false,
    }
}

fn calls_expired(told: &Told) -> bool {
    match told {
        Told::Message(ServerMessage::SessionRejected { reason, .. }) => {
            *reason == RejectionReason::SessionExpired
        }
        Told::Message(ServerMessage::SessionClosed { reason, .. }) => {
            *reason == SessionCloseReason::SessionExpired
        }
        _ => false,
    }
}
