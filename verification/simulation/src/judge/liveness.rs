//! The liveness query: it goes when nothing else has shown for its interval that the member leads, and never before.

use std::time::Duration;

use zraft_core::{Config, Instant, LivenessQuery};

use super::{Judge, Stage, watch::SLACK};

/// The interval where the application sets none, unless a third of the session's timeout is shorter.
const INTERVAL: Duration = Duration::from_secs(10);

/// When the liveness query is due.
#[derive(Debug, Default)]
pub(super) struct Liveness {
    interval: Duration,
    /// When a request was last answered on a session connection.
    pub(super) led: Option<Instant>,
}

impl Liveness {
    pub(super) fn new(config: &Config) -> Self {
        let third = config.session_timeout() / 3;
        let interval = config.liveness_query().and_then(LivenessQuery::interval);
        Self { interval: interval.unwrap_or(INTERVAL.min(third)), led: None }
    }
}

impl Judge {
    pub(super) fn liveness_query_begins(&mut self, now: Instant) {
        let pending = self.pending + usize::from(self.own.members.is_pending());
        self.demand(pending == 0, "a liveness query goes only while nothing is pending", || {
            format!("{pending} are")
        });
        let unproven =
            self.wire.as_ref().filter(|wire| wire.stage == Stage::Connected).map(|wire| {
                now - self.liveness.led.map_or(wire.connected_at, |at| at.max(wire.connected_at))
            });
        let (unproven, interval) = (unproven.unwrap_or_default(), self.liveness.interval);
        self.demand(unproven >= interval, "a liveness query waits for its interval", || {
            format!("{unproven:?}, not {interval:?}")
        });
    }

    /// An idle session asks in time whether its member leads.
    pub(super) fn asks_for_the_leader(&mut self, now: Instant) {
        let Some(wire) = &self.wire else { return };
        let idle = self.own.liveness.is_wanted()
            && self.pending == 0
            && self.own.queued() == (0, 0)
            && self.disconnecting.is_none()
            && wire.stage == Stage::Connected
            && wire.encoded <= wire.written;
        let led = self.liveness.led.map_or(wire.connected_at, |at| at.max(wire.connected_at));
        // A request that settled without an answer held it up.
        let since = led.max(wire.left_at.unwrap_or(led)).max(self.awake(now));
        let most = self.liveness.interval + self.lateness(now) + SLACK;
        let waited = now.saturating_duration_since(since);
        self.demand(
            !idle || waited <= most,
            "an idle session asks whether its member leads",
            || format!("{waited:?} without a sign of it"),
        );
    }
}
