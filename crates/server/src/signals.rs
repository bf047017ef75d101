//! The signals that ask a process to end, or to read its certificates and tokens again.

use std::{io, process::ExitCode};

#[cfg(unix)]
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

/// A signal that asks the process to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT, as Ctrl+C sends it.
    Interrupt,
    /// SIGTERM, as `kill`, systemd and container runtimes send it.
    Terminate,
}

impl Signal {
    /// Returns the exit status of a process that ended because of this signal: 130 or 143, as a shell reports it.
    #[must_use]
    pub fn exit_code(self) -> ExitCode {
        match self {
            Self::Interrupt => 130.into(),
            Self::Terminate => 143.into(),
        }
    }
}

/// Receives the signals of this process: those that ask it to end, and SIGHUP, which asks a member to read its certificates
/// and tokens again. While this exists, they no longer end the process by themselves.
///
/// Windows has only Ctrl+C.
#[derive(Debug)]
pub struct Signals {
    #[cfg(unix)]
    interrupt: Stream,
    #[cfg(unix)]
    terminate: Stream,
    #[cfg(unix)]
    hangup: Stream,
    /// SIGHUP came while no member ran that could follow it.
    reload: bool,
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    End(Signal),
    Reload,
}

impl Signals {
    /// Begins to receive signals. It must be called within a tokio runtime with I/O enabled.
    ///
    /// # Errors
    /// The system refuses.
    pub fn listen() -> io::Result<Self> {
        #[cfg(unix)]
        return Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            reload: false,
        });
        #[cfg(not(unix))]
        return Ok(Self { reload: false });
    }

    /// Waits for the next signal that asks the process to end. A SIGHUP that comes meanwhile is kept for the member that runs
    /// next, which may have read its files before.
    pub async fn next(&mut self) -> Signal {
        loop {
            match self.receive().await {
                Asked::End(signal) => return signal,
                Asked::Reload => self.reload = true,
            }
        }
    }

    /// Waits for the next signal, and first returns a SIGHUP that was kept.
    pub(crate) async fn asked(&mut self) -> Asked {
        if std::mem::take(&mut self.reload) { Asked::Reload } else { self.receive().await }
    }

    async fn receive(&mut self) -> Asked {
        #[cfg(unix)]
        tokio::select! {
            biased;
            _ = self.interrupt.recv() => Asked::End(Signal::Interrupt),
            _ = self.terminate.recv() => Asked::End(Signal::Terminate),
            _ = self.hangup.recv() => Asked::Reload,
        }
        #[cfg(not(unix))]
        {
            // An error says that Ctrl+C cannot be received, so there is nothing to wait for.
            if tokio::signal::ctrl_c().await.is_err() {
                std::future::pending::<()>().await;
            }
            Asked::End(Signal::Interrupt)
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::time::Duration;

    use rustix::process::{getpid, kill_process};
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn sighup_while_a_member_starts_counts_once_it_runs() {
        let mut signals = Signals::listen().expect("the system has signals");
        let mut other = signal(SignalKind::hangup()).expect("the system has signals");
        kill_process(getpid(), rustix::process::Signal::HUP).expect("it is this process");
        tokio::select! {
            biased;
            signal = signals.next() => panic!("{signal:?} came"),
            // All receivers get a signal at the same moment.
            received = other.recv() => assert!(received.is_some()),
        }
        let asked = timeout(Duration::from_secs(60), signals.asked()).await;
        assert_eq!(asked, Ok(Asked::Reload));
        let again = timeout(Duration::ZERO, signals.asked()).await;
        assert!(again.is_err(), "it counts once");
    }
}
