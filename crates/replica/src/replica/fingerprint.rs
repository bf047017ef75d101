//! Everything that decides what a member does next, as text, so that a model checker can merge states that act alike.

use std::fmt;

use super::Replica;

impl Replica {
    /// Writes everything that decides what this member does next. Members with equal texts answer equal inputs with
    /// equal outputs, as long as their entropy goes on alike.
    ///
    /// The text is for comparing within one build of the program. It changes with every version.
    ///
    /// # Errors
    /// Those of `to`.
    pub fn write_fingerprint(&self, to: &mut dyn fmt::Write) -> fmt::Result {
        // A new field must be added here, or left out with a reason.
        let Self {
            id: _,
            config: _,
            ticks: _,
            engine,
            matches,
            endpoints,
            listed,
            removed_since,
            removed_by,
            entropy: _,
            clock,
            now,
            ticked,
            heard,
            peers,
            // What it holds follows from `peers` and the configuration.
            in_touch_until: _,
            announced,
            write_since,
            space,
            standing,
            applying,
            snapshots,
            receiving,
            connections,
            timers,
            lead,
            successor,
            closing,
            outputs,
            stopped,
        } = self;
        engine.write_fingerprint(to)?;
        write!(to, "{matches:?} {clock:?} {now:?} {ticked:?} {heard:?} {peers:?} {announced:?}")?;
        write!(to, "{removed_since:?} {removed_by:?} {endpoints:?} {listed:?}")?;
        write!(
            to,
            "{write_since:?} {space:?} {standing:?} {applying:?} {snapshots:?} {receiving:?}"
        )?;
        write!(to, "{connections:?} {timers:?} {lead:?} {successor:?} {closing} {outputs:?}")?;
        write!(to, "{stopped}")
    }
}
