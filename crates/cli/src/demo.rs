//! The demo: three members, each a separate process with its log on disk, lose their leader twice while clients submit commands.
//! At the end, the replicated log is read back and shows that each command was executed exactly once.

mod faults;
mod report;
mod work;

use std::path::PathBuf;

pub use report::{Acknowledged, Comparison, Report};
pub use work::{read_log, run};

/// The settings of the demo.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The program `zraft`, which the members run.
    pub program: PathBuf,
    /// The seed of the moments at which the leader is lost.
    pub seed: u64,
    /// The number of commands.
    pub commands: u64,
    /// True if each command is one request, which the client resends until it has the answer. Without it, a caller that waits
    /// while the leader is lost submits its command once more, as a client without sessions has to do. The demo must fail then.
    pub deduplication: bool,
}
