//! One process of a member: its start, its signals, and the end that is expected of it.

use std::{
    fs::{self, File},
    io,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use tokio::time::sleep;

/// The pause before the processes are looked at again: short beside an election, and long enough to cost nothing.
pub(super) const PAUSE: Duration = Duration::from_millis(20);
/// The last lines of a member's log that an error shows: the last of them says why the member ended.
const SHOWN_LINES: usize = 10;
/// The exit status of a member after SIGTERM.
const TERMINATED: i32 = 143;

/// A process that is killed when this value is dropped.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    /// The file with what it writes to standard error.
    log: PathBuf,
}

impl Process {
    /// Starts a process whose standard input stays open as long as this value exists.
    pub(super) fn start(command: &mut Command, log: PathBuf) -> io::Result<Self> {
        let stderr = File::create(&log)?;
        // Ctrl+C in a terminal reaches a process group. The program has to end its members by itself.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(command, 0);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(stderr);
        Ok(Self { child: command.spawn()?, log })
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns how the process has ended; none while it runs.
    pub(super) fn end(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Asks the process to end.
    pub(super) fn terminate(&mut self) -> io::Result<()> {
        #[cfg(unix)]
        {
            let process = rustix::process::Pid::from_child(&self.child);
            Ok(rustix::process::kill_process(process, rustix::process::Signal::TERM)?)
        }
        #[cfg(not(unix))]
        self.child.kill()
    }

    /// Freezes the process by SIGSTOP.
    pub(super) fn freeze(&self) -> io::Result<()> {
        #[cfg(unix)]
        {
            let process = rustix::process::Pid::from_child(&self.child);
            Ok(rustix::process::kill_process(process, rustix::process::Signal::STOP)?)
        }
        #[cfg(not(unix))]
        Err(freezing_needs_unix())
    }

    /// Lets a frozen process go on by SIGCONT.
    pub(super) fn thaw(&self) -> io::Result<()> {
        #[cfg(unix)]
        {
            let process = rustix::process::Pid::from_child(&self.child);
            Ok(rustix::process::kill_process(process, rustix::process::Signal::CONT)?)
        }
        #[cfg(not(unix))]
        Err(freezing_needs_unix())
    }

    /// Returns a text about a process that has ended and should not have, with the end of its log.
    pub(super) fn complaint(&self, name: &str, status: ExitStatus) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<_> = log.lines().collect();
        if lines.is_empty() {
            return format!("{name} has ended, {status}, and has logged nothing");
        }
        let first = lines.len().saturating_sub(SHOWN_LINES);
        let shown: String = lines[first..].iter().map(|line| format!("\n  {line}")).collect();
        format!("{name} has ended, {status}; its log ends with:{shown}")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails if the process has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(not(unix))]
fn freezing_needs_unix() -> io::Error {
    let text = "a process is frozen by SIGSTOP, which only Unix has";
    io::Error::new(io::ErrorKind::Unsupported, text)
}

/// A process whose end is expected. Dropping it kills the process.
#[derive(Debug)]
pub struct Ending {
    name: String,
    process: Process,
    /// The expected exit status; none if every end will do.
    expected: Option<i32>,
}

impl Ending {
    /// Expects exit status 143. Windows has no SIGTERM, so members are killed there and end in any way.
    pub(super) fn after_sigterm(name: &str, process: Process) -> Self {
        let expected = cfg!(unix).then_some(TERMINATED);
        Self { name: name.to_owned(), process, expected }
    }

    pub(super) fn by_itself(name: &str, process: Process, status: i32) -> Self {
        Self { name: name.to_owned(), process, expected: Some(status) }
    }

    /// Waits until the process ends as expected.
    ///
    /// # Errors
    /// A text if it does not end within `patience`, or ends in another way.
    pub async fn wait(mut self, patience: Duration) -> Result<(), String> {
        let name = &self.name;
        let ended = async {
            loop {
                match self.process.end() {
                    Ok(Some(status)) => return Ok(status),
                    Ok(None) => sleep(PAUSE).await,
                    Err(error) => return Err(format!("cannot watch {name}: {error}")),
                }
            }
        };
        let status = tokio::time::timeout(patience, ended).await;
        let status = status.map_err(|_| format!("{name} does not end"))??;
        match self.expected {
            Some(expected) if status.code() != Some(expected) => Err(format!(
                "exit status {expected} was expected: {}",
                self.process.complaint(name, status)
            )),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Longer than this is a hang.
    #[cfg(unix)]
    const PATIENCE: Duration = Duration::from_secs(60);

    #[cfg(unix)]
    #[test]
    fn text_about_a_member_that_has_ended_shows_the_end_of_its_log() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "seq 1 $((10 + 1)) >&2; read line; exit 5"]);
        let mut process = Process::start(&mut command, folder.path().join("log")).unwrap();
        drop(process.child.stdin.take());
        let status = process.child.wait().unwrap();
        let text = process.complaint("node-1", status);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "node-1 has ended, exit status: 5; its log ends with:");
        assert_eq!(lines[1..], (2..=11).map(|line| format!("  {line}")).collect::<Vec<_>>());
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn process_that_ends_otherwise_than_expected_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let start = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            Process::start(&mut command, folder.path().join("log")).unwrap()
        };
        let by_itself = Ending::by_itself("node-1", start("exit 3"), 3);
        by_itself.wait(PATIENCE).await.unwrap();
        let wrong = Ending::after_sigterm("node-1", start("exit 3")).wait(PATIENCE).await;
        let text = wrong.unwrap_err();
        assert!(text.starts_with("exit status 143 was expected: node-1 has ended, exit"), "{text}");
        let never = Ending::by_itself("node-1", start("read line"), 3).wait(PAUSE).await;
        assert_eq!(never.unwrap_err(), "node-1 does not end");
    }
}
