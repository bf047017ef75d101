//! The plan of a cluster: everything that is drawn from its seed before it begins.

use std::time::Duration;

use zraft_protocol::MemberId;
use zraft_replica::{Limits, MemberInfo, Timing};
use zraft_session::{CheckedSettings, Settings};

use super::{application::Rules, peers::Link};
use crate::random::Rng;

/// The most places of a cluster: five members, and one to replace any of them with.
pub(crate) const MOST_PLACES: usize = 6;

/// The range of times that something takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Latency {
    pub(crate) low: Duration,
    pub(crate) high: Duration,
}

impl Latency {
    pub(crate) const fn micros(low: u64, high: u64) -> Self {
        Self { low: Duration::from_micros(low), high: Duration::from_micros(high) }
    }

    pub(crate) fn draw(&self, rng: &mut Rng) -> Duration {
        rng.micros(self.low.as_micros() as u64, self.high.as_micros() as u64)
    }
}

/// The version of a program: the levels that it supports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Program {
    /// The feature level of the server.
    pub(crate) features: u32,
    /// The level of the application.
    pub(crate) application: u32,
}

impl Program {
    /// Returns the newer of each of two programs' parts.
    pub(crate) fn max(self, other: Self) -> Self {
        Self {
            features: self.features.max(other.features),
            application: self.application.max(other.application),
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct ClusterPlan {
    pub(crate) seed: u64,
    /// The members with which the cluster begins. They have the first places.
    pub(crate) voters: usize,
    /// The machines on which members can run. Clients know the addresses of all.
    pub(crate) places: usize,
    pub(crate) timing: Timing,
    pub(crate) settings: CheckedSettings,
    /// The settings that the program on each place is started with once the cluster has its own. They are without effect then.
    pub(crate) local_settings: Vec<CheckedSettings>,
    pub(crate) limits: Limits,
    pub(crate) rules: Rules,
    pub(crate) link: Link,
    pub(crate) write: Latency,
    /// A write in this many takes as long as `slow_write`: the disk does something else.
    pub(crate) slow_write_in: u64,
    pub(crate) slow_write: Latency,
    pub(crate) job: Latency,
    /// The drift of each place's clocks, in parts per million, and how far its wall clock is ahead, in milliseconds.
    pub(crate) clocks: Vec<(i64, i64)>,
    /// The pause before members connect again.
    pub(crate) reconnect: Duration,
    /// The program on each place when the run begins.
    pub(crate) programs: Vec<Program>,
}

/// Draws what an operator has changed in the configuration of one machine.
fn local(rng: &mut Rng, settings: &Settings) -> CheckedSettings {
    let timeout = settings.session_timeout_millis;
    let settings = match rng.below(3) {
        0 => settings.clone(),
        1 => Settings { session_timeout_millis: timeout / rng.range(2, 4), ..settings.clone() },
        _ => Settings {
            session_timeout_millis: timeout * 2,
            cached_answers: rng.range(1, 5_000) as u32,
            server_requests: rng.range(4, 5_000) as u32,
            ..settings.clone()
        },
    };
    settings.check().expect("what is drawn is within the limits")
}

impl ClusterPlan {
    /// A cluster of three without disturbances, for tests.
    pub(crate) fn calm(seed: u64) -> Self {
        Self {
            seed,
            voters: 3,
            places: MOST_PLACES,
            timing: Timing::default(),
            settings: CheckedSettings::default(),
            local_settings: vec![CheckedSettings::default(); MOST_PLACES],
            limits: Limits::default(),
            rules: Rules::default(),
            link: Link { latency: Duration::from_micros(500), ..Link::default() },
            write: Latency::micros(200, 200),
            slow_write_in: u64::MAX,
            slow_write: Latency::micros(0, 0),
            job: Latency::micros(10, 10),
            clocks: vec![(0, 0); MOST_PLACES],
            reconnect: Duration::from_millis(100),
            programs: vec![Program { features: 1, application: 1 }; MOST_PLACES],
        }
    }

    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let seed = rng.next();
        // Most clusters have three members. One of one never loses an election, and one of two stands still without either.
        let voters = rng.pick(&[1, 2, 3, 3, 3, 3, 3, 3, 4, 5]);
        let heartbeat = rng.pick(&[50, 50, 50, 20, 100]);
        let timing = Timing {
            heartbeat: Duration::from_millis(heartbeat),
            election_min: Duration::from_millis(heartbeat * 6),
            election_max: Duration::from_millis(heartbeat * 10),
        };
        let latency = match rng.below(4) {
            0 => rng.micros(20, 200),
            1 | 2 => rng.micros(200, 2_000),
            _ => rng.micros(2_000, heartbeat * 1000 / 4),
        };
        let link = Link {
            latency,
            jitter: if rng.percent(50) { latency } else { Duration::ZERO },
            duplicate: rng.pick(&[0, 0, 1, 5]),
            reset: rng.pick(&[0, 0, 0, 1]),
            blocked: false,
        };
        let write = match rng.below(4) {
            0 => Latency::micros(50, 300),
            1 | 2 => Latency::micros(300, 3_000),
            _ => Latency::micros(1_000, 15_000),
        };
        let short = rng.percent(40);
        let session_timeout = if short { rng.range(4_000, 12_000) } else { 30_000 };
        let small = rng.percent(25);
        let settings = Settings {
            session_timeout_millis: session_timeout,
            cached_answers: if small { rng.range(1, 40) as u32 } else { 1_000_000 },
            cached_bytes: if small { rng.range(200, 4_000) } else { 256 << 20 },
            server_requests: if rng.percent(20) { rng.range(4, 60) as u32 } else { 65_536 },
            ..Settings::default()
        };
        let defaults = Limits::default();
        let limits = Limits {
            held: if rng.percent(10) { rng.range(1, 3) as usize } else { defaults.held },
            waiting_bytes: defaults.waiting_bytes,
            unapplied_bytes: if rng.percent(10) { 2_000 } else { defaults.unapplied_bytes },
            cached_log_bytes: rng.pick(&[0, 2_000, defaults.cached_log_bytes]),
            snapshot_after: rng.pick(&[1_500, 4_000, 10_000, 40_000, 1 << 20]),
            snapshot_rate: if rng.percent(30) { 1 << 20 } else { defaults.snapshot_rate },
        };
        // Most machines keep time to 200 parts per million; some are badly off.
        let drift = if rng.percent(15) { 10_000 } else { 200 };
        let ahead = rng.pick(&[0, 20, 2_000, 60_000]);
        let clock = |rng: &mut Rng| {
            let drift = rng.range(0, 2 * drift) as i64 - drift as i64;
            (drift, rng.range(0, 2 * ahead) as i64 - ahead as i64)
        };
        Self {
            seed,
            voters,
            places: MOST_PLACES,
            timing,
            local_settings: (0..MOST_PLACES).map(|_| local(rng, &settings)).collect(),
            settings: settings.check().expect("what is drawn is within the limits"),
            limits,
            rules: Rules::draw(rng),
            link,
            write,
            slow_write_in: rng.pick(&[u64::MAX, 100, 20]),
            slow_write: Latency::micros(20_000, 200_000),
            job: rng.pick(&[
                Latency::micros(1, 20),
                Latency::micros(20, 500),
                Latency::micros(500, 8_000),
            ]),
            clocks: (0..MOST_PLACES).map(|_| clock(rng)).collect(),
            reconnect: rng.millis(20, 300),
            programs: (0..MOST_PLACES)
                .map(|_| Program { features: rng.pick(&[1, 1, 2]), application: 1 })
                .collect(),
        }
    }

    /// Returns what the others must know of a member on this place that runs this program.
    pub(crate) fn info(&self, place: usize, program: Program) -> MemberInfo {
        let number = place + 1;
        MemberInfo {
            name: MemberId::new(crate::world::plan::member_name(place)).expect("short"),
            address: format!("host-{number}:7000"),
            feature_level: program.features,
        }
    }
}
