//! What a member logs, by `tracing`.
//!
//! A message is complete without its fields; the fields repeat its values for programs. Nothing that a client sent is
//! logged: a session id lets whoever reads it take the session over. A member that serves without trouble logs nothing.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use zraft_replica::{Configuration, RaftId, Role, Space};

use crate::{Status, events::Events};

/// On average, lines of one kind that others can cause are at least this far apart: six a minute do not fill a disk.
const SPARING: Duration = Duration::from_secs(10);

/// Lets through few of the lines that others can cause, and counts those that it leaves out.
#[derive(Debug)]
pub(crate) struct Sparing {
    /// Lines that may follow each other at once, before a pause of as many times [`SPARING`].
    burst: u32,
    spared: Mutex<Spared>,
}

#[derive(Debug, Default)]
struct Spared {
    begun: Option<Instant>,
    used: u32,
    skipped: u64,
}

impl Default for Sparing {
    /// Lets one line through at a time.
    fn default() -> Self {
        Self::in_bursts(1)
    }
}

impl Sparing {
    pub(crate) fn in_bursts(burst: u32) -> Self {
        Self { burst, spared: Mutex::default() }
    }

    /// Returns none if the line must be left out, and otherwise how many were left out before it.
    pub(crate) fn next(&self) -> Option<u64> {
        self.next_at(Instant::now())
    }

    fn next_at(&self, now: Instant) -> Option<u64> {
        let mut spared = self.spared.lock().unwrap_or_else(PoisonError::into_inner);
        let pause = SPARING * self.burst;
        if spared.begun.is_none_or(|begun| now.saturating_duration_since(begun) >= pause) {
            (spared.begun, spared.used) = (Some(now), 0);
        }
        if spared.used >= self.burst {
            spared.skipped += 1;
            return None;
        }
        spared.used += 1;
        Some(std::mem::take(&mut spared.skipped))
    }
}

/// Returns the end of a line before which others were left out.
pub(crate) fn and(more: u64) -> String {
    if more == 0 { String::new() } else { format!(" (and {more} times before)") }
}

/// Logs who leads, whenever that changes.
#[derive(Debug, Default)]
pub(crate) struct Leadership {
    last: Option<(Role, u64, Option<RaftId>, bool, bool)>,
    /// The line that was logged last. A leader that does not serve yet has none.
    line: String,
}

impl Leadership {
    pub(crate) fn note(&mut self, status: &Status, events: &Events) {
        let Status { role, term, leader, serving, handing_over, .. } = *status;
        let now = (role, term, leader, serving, handing_over);
        if self.last == Some(now) {
            return;
        }
        self.last = Some(now);
        let Some(line) = line(status).filter(|line| *line != self.line) else { return };
        let leader = leader.and_then(|id| status.configuration.members.get(&id));
        let leader = leader.map(|info| info.name.as_str());
        tracing::info!(term, leader, serving, handing_over, "{line}");
        events.add(line.as_str());
        self.line = line;
    }
}

/// Returns who leads; none for a leader that does not serve yet.
fn line(status: &Status) -> Option<String> {
    let term = status.term;
    match (status.role, status.leader) {
        _ if status.handing_over => Some("hands leadership over".to_owned()),
        _ if status.serving => Some(format!("leads in term {term}")),
        (Role::Leader, _) => None,
        (_, Some(leader)) => {
            Some(format!("follows {} in term {term}", name(&status.configuration, leader)))
        }
        (_, None) => Some("waits for a leader".to_owned()),
    }
}

fn name(configuration: &Configuration, id: RaftId) -> String {
    let info = configuration.members.get(&id);
    info.map_or_else(|| id.to_string(), |info| info.name.to_string())
}

/// Logs how the membership has changed.
pub(crate) fn membership(before: &Configuration, after: &Configuration, events: &Events) {
    for (id, info) in &after.members {
        let (member, address) = (info.name.as_str(), info.address.as_str());
        match before.members.get(id) {
            None => {
                let line = format!("{member} at {address} belongs to the cluster");
                tracing::info!(member, address, "{line}");
                events.add(line);
            }
            Some(known) if known.address != info.address => {
                let line = format!("{member} is now at {address}");
                tracing::info!(member, address, "{line}");
                events.add(line);
            }
            Some(_) => {}
        }
        let (voted, votes) = (before.voters.contains(id), after.voters.contains(id));
        if votes != voted {
            let line = format!("{member} {}", if votes { "votes" } else { "no longer votes" });
            tracing::info!(member, "{line}");
            events.add(line);
        }
    }
    for (id, info) in &before.members {
        if !after.members.contains_key(id) {
            let member = info.name.as_str();
            let line = format!("{member} was removed from the cluster");
            tracing::info!(member, "{line}");
            events.add(line);
        }
    }
}

/// Logs that the disk fills up, or has space again.
pub(crate) fn space(before: Space, after: Space, events: &Events) {
    match (before, after) {
        (Space::Ample, Space::Low) => {
            let line = "the disk is nearly full: free space, or client commands wait once a majority of the disks is";
            tracing::warn!("{line}");
            events.add(line);
        }
        (Space::Low, Space::Ample) => {
            let line = "the disk has space again";
            tracing::info!("{line}");
            events.add(line);
        }
        _ => {}
    }
}

/// A subscriber for tests, which gives the level and the message of each line to a function.
#[cfg(test)]
pub(crate) struct Listening<F> {
    line: F,
    most: tracing::level_filters::LevelFilter,
}

#[cfg(test)]
impl<F: Fn(tracing::Level, String) + Send + Sync + 'static> Listening<F> {
    pub(crate) fn new(line: F) -> Self {
        use tracing::{Dispatch, level_filters::LevelFilter};

        // While a process has one subscriber, tracing asks that of the thread that reaches a line first, and remembers its
        // answer for all threads. Tests without a subscriber would silence the line. With a second one it asks both.
        static SECOND: std::sync::OnceLock<Dispatch> = std::sync::OnceLock::new();
        let ignore: fn(tracing::Level, String) = |_, _| {};
        SECOND.get_or_init(|| Dispatch::new(Listening { line: ignore, most: LevelFilter::OFF }));
        Self { line, most: LevelFilter::TRACE }
    }
}

#[cfg(test)]
impl<F: Fn(tracing::Level, String) + Send + Sync + 'static> tracing::Subscriber for Listening<F> {
    fn max_level_hint(&self) -> Option<tracing::level_filters::LevelFilter> {
        Some(self.most)
    }

    fn enabled(&self, line: &tracing::Metadata<'_>) -> bool {
        *line.level() <= self.most
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::Id {
        tracing::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::Id, _: &tracing::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut message = String::new();
        event.record(&mut |field: &tracing::field::Field, value: &dyn std::fmt::Debug| {
            if field.name() == "message" {
                message = format!("{value:?}");
            }
        });
        (self.line)(*event.metadata().level(), message);
    }

    fn enter(&self, _: &tracing::Id) {}

    fn exit(&self, _: &tracing::Id) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_others_cause_are_far_apart_and_those_left_out_are_counted() {
        let (sparing, start) = (Sparing::default(), Instant::now());
        assert_eq!(sparing.next_at(start), Some(0));
        for _ in 0..1_000 {
            assert_eq!(sparing.next_at(start + SPARING / 2), None);
        }
        assert_eq!(sparing.next_at(start + SPARING), Some(1_000));
        assert_eq!(sparing.next_at(start + 2 * SPARING), Some(0), "they are counted once");
        let (bursts, start) = (Sparing::in_bursts(3), Instant::now());
        let seconds = |seconds| bursts.next_at(start + Duration::from_secs(seconds));
        let found: Vec<_> = [0, 1, 2, 3, 29, 30, 31].map(seconds).into();
        assert_eq!(found, [Some(0), Some(0), Some(0), None, None, Some(2), Some(0)]);
        assert_eq!(and(0), "");
        assert_eq!(and(1_000), " (and 1000 times before)");
    }
}
