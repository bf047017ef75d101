//! What a process uses, as Linux tells it. Other systems do not tell it, so every function returns none there.

use std::fs;

/// The clock ticks of a second in `/proc`.
const TICKS: f64 = 100.0;

/// Returns the processor time that a process has used, in seconds: user and system time together.
#[must_use]
pub fn cpu_seconds(process: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name of the program is in parentheses and may hold spaces. User time is the 12th field after it, system time the 13th.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / TICKS)
}

/// Returns the resident memory of a process in KiB.
#[must_use]
pub fn memory_kib(process: u32) -> Option<u64> {
    in_status(process, "VmRSS:")
}

/// Returns the most resident memory that a process has had since its start, or since [`forget_peak`], in KiB.
#[must_use]
pub fn peak_kib(process: u32) -> Option<u64> {
    in_status(process, "VmHWM:")
}

/// Lets the most resident memory of a process begin at what it has now.
pub fn forget_peak(process: u32) {
    // Fails where the system does not tell the memory either.
    let _ = fs::write(format!("/proc/{process}/clear_refs"), "5");
}

fn in_status(process: u32, name: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn usage_of_this_process_is_known_and_its_peak_is_no_less() {
        let own = std::process::id();
        let memory = memory_kib(own).unwrap();
        assert!(memory > 0 && peak_kib(own).unwrap() >= memory / 2);
        assert!(cpu_seconds(own).unwrap() >= 0.0);
        assert_eq!(memory_kib(u32::MAX), None);
    }
}
