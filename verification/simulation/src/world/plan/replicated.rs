//! What a seed draws of a run against the replicated system. Such runs are short, so that many seeds fit into an hour: a cluster
//! of five sends as many frames in a second of virtual time as a client does in a minute.

use std::time::Duration;

use zraft_core::{AckServerRequests, Backoff, OnSessionExpired};

use super::{ClientPlan, Later, LaterDraws, Least, Plan, way};
use crate::{
    cluster::ClusterPlan,
    random::Rng,
    world::{
        fault::Fault,
        net::Path,
        raw::RawPlan,
        system::{SystemKind, SystemPlan},
    },
};

/// The world pushes nothing: the application pushes server requests while it executes commands.
const LEAST: Least = Least { commands: 24, queries: 6, notices: 0, faults: 4 };

impl Plan {
    pub(super) fn draw_replicated(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let cluster = ClusterPlan::draw(&mut rng);
        let session_timeout = Duration::from_millis(cluster.settings.session_timeout_millis);
        // A member that is alone may stand still for longer than a session lives, and still lead.
        let duration = match cluster.voters {
            1 => rng.millis(8_000, 16_000),
            _ => rng.millis(3_000, 9_000),
        };
        let clients = rng.pick(&[1, 1, 2]);
        let mut later = LaterDraws::new(seed);
        let raws = rng.pick(&[0, 1, 1, 2]);
        let clients = (0..clients)
            .map(|_| {
                let later = later.draw(cluster.places, session_timeout);
                client(&mut rng, session_timeout, duration, later)
            })
            .collect();
        let raws = (0..raws).map(|_| RawPlan::draw(&mut rng, session_timeout)).collect();
        let mut faults = Vec::new();
        for (fault, _) in Fault::of(SystemKind::Replicated) {
            let often = rng.pick(&[0, 0, 1, 3]);
            // The faults of clients and their network are struck in thousands of runs against the live system as well.
            let often = if fault.is_of_members() { often * 2 } else { often };
            faults.extend(std::iter::repeat_n(fault, often));
        }
        Self {
            seed,
            members: cluster.places,
            clients,
            raws,
            path: Path { up: way(&mut rng), down: way(&mut rng), refused: false },
            capacity: rng.pick(&[4 << 10, 64 << 10]),
            faults,
            fault_count: rng.range(LEAST.faults as u64, 14) as usize,
            leader_changes: rng.range(0, 3) as usize,
            duration,
            notices: 0,
            least: LEAST,
            system: SystemPlan::Replicated(Box::new(cluster)),
        }
    }
}

fn client(
    rng: &mut Rng,
    session_timeout: Duration,
    duration: Duration,
    later: Later,
) -> ClientPlan {
    let builder = later.builder().capability("kind", "simulated");
    let keep_alive = rng.pick(&[session_timeout / 3, session_timeout / 9, Duration::from_secs(1)]);
    let heartbeat = rng.millis(200, 600);
    let commands = rng.range(20, 60) as usize;
    let queries = rng.range(4, 20) as usize;
    let burst = rng.pick(&[1, 3, 10, 40]);
    let bursts = (commands + queries) as u64 * 2 / (burst + 1);
    let builder = builder
        .session_timeout(session_timeout)
        .keep_alive_interval(keep_alive.min(session_timeout / 3))
        .connection_timeout(rng.millis(300, 2_000))
        .request_timeout(rng.percent(30).then(|| rng.millis(500, 5_000)))
        .resend_interval(rng.millis(200, 1_500))
        .detached_timeout(if rng.percent(40) {
            rng.millis(500, 4_000)
        } else {
            Duration::from_secs(90)
        })
        .max_in_flight(rng.pick(&[1, 2, 8, 64, 256]))
        .max_queued(10_000)
        .max_message_size(64 << 10)
        .max_server_requests(rng.pick(&[16, 64, 1024]))
        .ack_server_requests(if rng.percent(30) {
            AckServerRequests::Handled
        } else {
            AckServerRequests::Delivered
        })
        .heartbeat_interval(heartbeat)
        .heartbeat_timeout(heartbeat * rng.range(2, 5) as u32)
        .reconnect_backoff(Backoff {
            initial: rng.millis(20, 200),
            max: rng.millis(300, 1_500),
            election_initial: rng.millis(20, 80),
            election_max: rng.millis(100, 400),
        })
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
        payload: rng.pick(&[(8, 64), (8, 64), (100, 400)]),
        consumer: rng.percent(20).then(|| rng.millis(1, 500)),
        pieces: if rng.percent(10) { rng.range(1, 40) as usize } else { usize::MAX },
        reads_late: rng.percent(70),
        patience: rng.percent(30).then(|| rng.millis(500, 10_000)),
        own_deadlines: if rng.percent(30) { 10 } else { 0 },
    }
}
