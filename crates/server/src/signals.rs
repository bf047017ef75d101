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
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    End(Signal),
    #[cfg_attr(not(unix), expect(dead_code, reason = "only SIGHUP asks for this"))]
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
        });
        #[cfg(not(unix))]
        return Ok(Self {});
    }

    /// Waits for the next signal that asks the process to end. SIGHUP is ignored meanwhile.
    pub async fn next(&mut self) -> Signal {
        loop {
            if let Asked::End(signal) = self.asked().await {
                return signal;
            }
        }
    }

    /// Waits for the next signal.
    pub(crate) async fn asked(&mut self) -> Asked {
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
