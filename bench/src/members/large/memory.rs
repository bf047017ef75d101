//! What this process has in memory, as Linux tells it.

/// Resident bytes of this process.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// At this moment.
    pub now: u64,
    /// The most since the last call of `forget_peak`.
    pub peak: u64,
}

impl Memory {
    /// Reads the counters, or returns none on a system that has others.
    pub(super) fn read() -> Option<Self> {
        let text = std::fs::read_to_string("/proc/self/status").ok()?;
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
        };
        Some(Self { now: field("VmRSS:")?, peak: field("VmHWM:")? })
    }

    /// Counts the most from now on.
    pub(super) fn forget_peak() {
        // Refused by some containers: the peak is then that of the process.
        let _ = std::fs::write("/proc/self/clear_refs", "5");
    }
}
