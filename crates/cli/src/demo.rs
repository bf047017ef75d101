//! The demo: a cluster of three members loses its leader twice while clients submit commands, and the cluster's journal
//! shows that each command was executed exactly once.

mod report;
mod work;

pub use report::{Acknowledged, Comparison, Report};
pub use work::run;

/// The settings of the demo.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// The seed of the cluster's random choices.
    pub seed: u64,
    /// The number of commands.
    pub commands: u64,
    /// True if the members detect resends of commands that they have executed. Without it, the demo must fail.
    pub deduplication: bool,
}
