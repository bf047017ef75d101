//! How the program ends: the exit codes of the live tools.

use std::{
    future::Future,
    io::{self, Write},
    process::ExitCode,
};

use tokio::signal::ctrl_c;
#[cfg(unix)]
use tokio::signal::unix::{SignalKind, signal};
use zraft_client::Error;

/// What the exit code says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// 0.
    Success,
    /// 1: bad input, or a demo that did not hold its promise.
    BadInput,
    /// 2: no connection, or no answer in time.
    Connection,
    /// 3: any other failure.
    Failure,
    /// 4: `get --exit-code` found no value.
    Absent,
    /// 130: Ctrl+C.
    Interrupted,
    /// 143: SIGTERM.
    Terminated,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Success => 0,
            Exit::BadInput => 1,
            Exit::Connection => 2,
            Exit::Failure => 3,
            Exit::Absent => 4,
            Exit::Interrupted => 130,
            Exit::Terminated => 143,
        })
    }
}

impl Exit {
    /// What an error of the client means for the one who typed the command.
    pub(crate) fn of(error: &Error) -> Self {
        match error {
            Error::Validation(_) => Self::BadInput,
            Error::Timeout { .. }
            | Error::Connection { .. }
            | Error::NotConnected
            | Error::Closed { .. }
            | Error::SessionExpired { .. } => Self::Connection,
            _ => Self::Failure,
        }
    }

    /// Input that cannot be read, or output that cannot be written. A reader that went away, as `head` does, is no failure,
    /// and needs no words.
    pub(crate) fn of_io(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::Success;
        }
        complain(&error.to_string());
        Self::Failure
    }
}

/// Writes a line.
pub(crate) fn write(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// Prints a line; when that cannot be, the program ends.
pub(crate) fn print(line: &str) {
    if let Err(error) = write(line) {
        std::process::exit(if Exit::of_io(&error) == Exit::Success { 0 } else { 3 });
    }
}

/// Prints the outcome. That nobody reads it does not make it another one; that it was lost on the way is a failure.
pub(crate) fn print_at_end(text: &str, exit: Exit) -> Exit {
    match write(text) {
        Err(error) if Exit::of_io(&error) != Exit::Success && exit == Exit::Success => {
            Exit::Failure
        }
        _ => exit,
    }
}

/// Prints a line for the one who typed, not for the next program.
pub(crate) fn complain(line: &str) {
    let _ = writeln!(io::stderr().lock(), "zraft: {line}");
}

/// Resolves when the program is asked to end: by Ctrl+C, or by SIGTERM where there are signals.
async fn asked_to_end() -> Exit {
    #[cfg(unix)]
    if let Ok(mut terminate) = signal(SignalKind::terminate()) {
        return tokio::select! {
            _ = ctrl_c() => Exit::Interrupted,
            _ = terminate.recv() => Exit::Terminated,
        };
    }
    let _ = ctrl_c().await;
    Exit::Interrupted
}

/// Runs a command to its end, or until the program is asked to end.
pub(crate) fn run(command: impl Future<Output = Exit>) -> Exit {
    run_then(command, async {})
}

/// The same, and afterwards, whichever it was, what leaves things in order.
pub(crate) fn run_then(
    command: impl Future<Output = Exit>,
    afterwards: impl Future<Output = ()>,
) -> Exit {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("no threads: {error}"));
            return Exit::Failure;
        }
    };
    let exit = runtime.block_on(async {
        let exit = tokio::select! {
            exit = command => exit,
            asked = asked_to_end() => asked,
        };
        // Who asks again waits no longer.
        tokio::select! {
            () = afterwards => exit,
            asked = asked_to_end() => asked,
        }
    });
    runtime.shutdown_background();
    exit
}
