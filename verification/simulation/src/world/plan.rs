//! The plan of a run: everything that is drawn from its seed before it begins.

mod replicated;

use std::time::Duration;

use zraft_core::{
    AckServerRequests, Backoff, Config, ConfigBuilder, LivenessQuery, Member, OnSessionExpired,
};
use zraft_protocol::MemberId;

use crate::{
    random::Rng,
    world::{
        fault::Fault,
        net::Path,
        pipe::Way,
        raw::RawPlan,
        system::{SystemKind, SystemPlan, live::LivePlan},
    },
};

/// A client's configuration, and the behaviour of its application and driver.
#[derive(Debug, Clone)]
pub(crate) struct ClientPlan {
    pub(crate) config: Config,
    pub(crate) seed: u64,
    /// How many commands and queries the application submits.
    pub(crate) commands: usize,
    pub(crate) queries: usize,
    /// The average pause between two bursts of requests.
    pub(crate) pause: Duration,
    pub(crate) burst: u64,
    pub(crate) payload: (u64, u64),
    /// The longest time that the application takes for a server request, or `None` if it takes none.
    pub(crate) consumer: Option<Duration>,
    /// The driver reads at most this many bytes at a time.
    pub(crate) pieces: usize,
    /// The driver may deliver bytes of a connection after the machine closed it.
    pub(crate) reads_late: bool,
    /// The timeout of its connect() calls.
    pub(crate) patience: Option<Duration>,
    /// How many requests in 100 have their own deadline.
    pub(crate) own_deadlines: u64,
}

#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) members: usize,
    pub(crate) clients: Vec<ClientPlan>,
    pub(crate) raws: Vec<RawPlan>,
    pub(crate) system: SystemPlan,
    pub(crate) path: Path,
    pub(crate) capacity: usize,
    /// The faults to draw from. One that is listed more often occurs more often.
    pub(crate) faults: Vec<Fault>,
    pub(crate) fault_count: usize,
    pub(crate) leader_changes: usize,
    /// How long faults occur.
    pub(crate) duration: Duration,
    pub(crate) notices: usize,
    pub(crate) least: Least,
}

/// What a run does at least, whatever fails meanwhile.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Least {
    pub(crate) commands: usize,
    pub(crate) queries: usize,
    /// Server requests that the world has pushed.
    pub(crate) notices: usize,
    pub(crate) faults: usize,
}

const LIVE: Least = Least { commands: 200, queries: 50, notices: 20, faults: 5 };

/// A payload that begins with this makes its member deaf, until the heal phase.
pub(crate) const POISON: &[u8] = b"poison";
/// What is added to a seed for draws of faults that came later, so that they change only the seeds that get such a fault.
const APART: u64 = 0x10_57_5e_55_10_45;
/// How long the last disconnect() of each client may take: longer than any commit.
pub(crate) const LEAVING: Duration = Duration::from_secs(5);

pub(crate) fn member_name(index: usize) -> String {
    format!("node-{}", index + 1)
}

/// Where clients reach a member.
pub(crate) fn member_endpoint(index: usize) -> String {
    format!("tcp://host-{}:7000", index + 1)
}

/// A member as clients know it.
pub(crate) fn member(index: usize) -> Member {
    Member {
        id: MemberId::new(member_name(index)).expect("a short name"),
        endpoint: member_endpoint(index).parse().expect("a host and a port"),
    }
}

fn way(rng: &mut Rng) -> Way {
    let latency = match rng.below(4) {
        0 => rng.micros(20, 200),
        1 | 2 => rng.micros(200, 3_000),
        _ => rng.millis(5, 60),
    };
    let jitter = if rng.percent(50) { latency / 2 } else { Duration::ZERO };
    Way { latency, jitter, rate: None, blocked: false }
}

impl Plan {
    pub(crate) fn draw(system: SystemKind, seed: u64) -> Self {
        match system {
            SystemKind::Live => Self::draw_live(seed),
            SystemKind::Replicated => Self::draw_replicated(seed),
        }
    }

    fn draw_live(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let members = rng.range(3, 5) as usize;
        let clients = rng.pick(&[1, 1, 1, 2, 2, 3]);
        let short_sessions = rng.percent(40);
        let session_timeout =
            if short_sessions { rng.millis(6_000, 20_000) } else { Duration::from_secs(90) };
        let path = Path { up: way(&mut rng), down: way(&mut rng), refused: false };
        let duration = rng.millis(15_000, 45_000);
        let mut live = LivePlan::draw(&mut rng, members, session_timeout);
        let large = rng.percent(25);
        let mut later = LaterDraws::new(seed);
        live.engine.endpoints = later.endpoints(members);
        let mut plans: Vec<ClientPlan> = (0..clients)
            .map(|_| {
                let later = later.draw(members, session_timeout);
                client(&mut rng, clients, session_timeout, duration, large, later)
            })
            .collect();
        // The first client submits the rest.
        let rest = LIVE.commands.saturating_sub(plans.iter().map(|plan| plan.commands).sum());
        plans[0].commands += rest;
        let capacity = if large {
            rng.range(8, 128) as usize * 1024
        } else {
            rng.pick(&[4 << 10, 64 << 10, 256 << 10])
        };
        let mut faults = Vec::new();
        for (fault, _) in Fault::of(SystemKind::Live).filter(|(fault, _)| !fault.is_drawn_apart()) {
            for _ in 0..rng.pick(&[0, 1, 1, 3]) {
                faults.push(fault);
            }
        }
        if large {
            faults.extend([Fault::SlowLink; 6]);
            faults.extend([Fault::SlowBacklog; 12]);
        }
        if Rng::new(seed ^ APART).percent(15) {
            faults.extend([Fault::LostSessions; 4]);
        }
        let leader_changes = if rng.percent(60) { rng.range(2, 5) } else { rng.below(3) };
        live.draw_rate(&mut rng);
        Self {
            seed,
            members,
            clients: plans,
            system: SystemPlan::Live(Box::new(live)),
            path,
            capacity,
            faults,
            fault_count: rng.range(LIVE.faults as u64, 16) as usize,
            leader_changes: leader_changes as usize,
            duration,
            notices: rng.range(LIVE.notices as u64, 60) as usize,
            least: LIVE,
            raws: Vec::new(),
        }
    }
}

/// Draws what a client's configuration has that came later: apart from everything else, so that the rest of a plan is drawn
/// as before.
struct LaterDraws {
    liveness: Rng,
    discovery: Rng,
}

/// The members that a client is configured with, and the queries that it sends itself.
struct Later {
    members: Vec<usize>,
    discovers: bool,
    liveness_query: Option<LivenessQuery>,
}

impl LaterDraws {
    fn new(seed: u64) -> Self {
        Self { liveness: Rng::new(seed ^ 0x6c69_7665), discovery: Rng::new(seed ^ 0x6469_7363) }
    }

    /// A client that discovers the members is configured with some of them.
    fn draw(&mut self, members: usize, session_timeout: Duration) -> Later {
        let interval = self.liveness.millis(200, 3_000).min(session_timeout / 3);
        let asks = self.liveness.percent(40);
        let discovers = self.discovery.percent(20);
        let mut known: Vec<usize> = (0..members).collect();
        if discovers {
            let count = self.discovery.range(1, members as u64) as usize;
            while known.len() > count {
                known.remove(self.discovery.index(known.len()));
            }
        }
        Later {
            members: known,
            discovers,
            liveness_query: asks.then(|| LivenessQuery::new("alive?").every(interval)),
        }
    }

    /// The endpoints that a live system knows when it is asked for its members: most often all.
    fn endpoints(&mut self, members: usize) -> Vec<String> {
        let known = if self.discovery.percent(70) {
            members
        } else {
            self.discovery.below(members as u64) as usize
        };
        (0..known).map(member_endpoint).collect()
    }
}

impl Later {
    fn builder(self) -> ConfigBuilder {
        let builder = Config::builder().discover_members(self.discovers);
        let builder = self.members.iter().fold(builder, |builder, &index| {
            builder.member(member_name(index), member_endpoint(index))
        });
        match self.liveness_query {
            Some(query) => builder.liveness_query(query),
            None => builder,
        }
    }
}

fn client(
    rng: &mut Rng,
    clients: usize,
    session_timeout: Duration,
    duration: Duration,
    large: bool,
    later: Later,
) -> ClientPlan {
    let builder = later.builder().capability("kind", "simulated");
    let keep_alive = match rng.below(3) {
        0 => session_timeout / 3,
        1 => rng.millis(500, 2_000),
        _ => session_timeout / 9,
    };
    let heartbeat = rng.millis(200, 1_000);
    // Deadlines that pass while a long backlog is on its way show whether a slow link is taken for a jump of the clock.
    let request_timeout =
        if !large && rng.percent(50) { None } else { Some(rng.millis(500, 10_000)) };
    let detached = if rng.percent(60) { rng.millis(500, 6_000) } else { Duration::from_secs(90) };
    let window =
        if large { rng.pick(&[1, 16, 64, 256]) } else { rng.pick(&[1, 2, 8, 32, 64, 256]) };
    let backoff = if rng.percent(50) {
        Backoff::default()
    } else {
        Backoff {
            initial: rng.millis(20, 200),
            max: rng.millis(500, 3_000),
            election_initial: rng.millis(20, 80),
            election_max: rng.millis(100, 400),
        }
    };
    let per_client = LIVE.commands.div_ceil(clients) as u64;
    let commands = rng.range(per_client, per_client * 2) as usize;
    let queries = rng.range(LIVE.queries as u64, 120) as usize;
    let burst = rng.pick(&[1, 3, 10, 40, 200]);
    let bursts = (commands + queries) as u64 * 2 / (burst + 1);
    let builder = builder
        .session_timeout(session_timeout)
        .keep_alive_interval(keep_alive.min(session_timeout / 3))
        .connection_timeout(rng.millis(300, 5_000))
        .request_timeout(request_timeout)
        // A long backlog on a slow link outlives a short interval: what was sent first is due before the last is sent.
        .resend_interval(rng.millis(200, if large { 1_000 } else { 3_000 }))
        .detached_timeout(detached)
        .max_in_flight(window)
        .max_queued(if rng.percent(20) { rng.range(10, 100) as usize } else { 100_000 })
        .max_message_size(64 << 10)
        .max_server_requests(rng.pick(&[16, 64, 1024]))
        .ack_server_requests(if rng.percent(30) {
            AckServerRequests::Handled
        } else {
            AckServerRequests::Delivered
        })
        .heartbeat_interval(heartbeat)
        .heartbeat_timeout(heartbeat * rng.range(2, 10) as u32)
        .reconnect_backoff(backoff)
        .on_session_expired(if rng.percent(50) {
            OnSessionExpired::NewSession
        } else {
            OnSessionExpired::Terminate
        });
    ClientPlan {
        config: builder.build().expect("what is drawn is within the limits"),
        seed: rng.next(),
        commands,
        queries,
        pause: (duration / (bursts.max(1) as u32)).max(Duration::from_millis(1)),
        burst,
        payload: if large { (2_000, 40_000) } else { (8, 200) },
        consumer: rng.percent(30).then(|| rng.millis(1, 2_000)),
        pieces: if rng.percent(25) { rng.range(1, 40) as usize } else { usize::MAX },
        reads_late: rng.percent(70),
        patience: rng.percent(40).then(|| rng.millis(500, 20_000)),
        own_deadlines: if rng.percent(30) { 10 } else { 0 },
    }
}
