//! The main job. A cluster of three loses its leader twice while clients are at work, and the servers' own journal shows
//! that each command was applied exactly once.

mod report;
mod work;

pub use report::{Acknowledged, Comparison, Report};
pub use work::run;

/// What to run.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Feeds the cluster's random choices.
    pub seed: u64,
    /// How many commands.
    pub commands: u64,
    /// Whether the servers know commands again that they have executed. Without it the demo must fail.
    pub deduplication: bool,
}
