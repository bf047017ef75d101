//! How the program ends: the exit codes of the live tools.

use std::{
    future::Future,
    io::{self, Write},
    process::ExitCode,
};

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
    /// 130: Ctrl+C.
    Interrupted,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Success => 0,
            Exit::BadInput => 1,
            Exit::Connection => 2,
            Exit::Failure => 3,
            Exit::Interrupted => 130,
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
}

/// Prints a line. A reader that went away ends the program, as it ends others.
pub(crate) fn print(line: &str) {
    let mut out = io::stdout().lock();
    if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}

/// Prints a line for the one who typed, not for the next program.
pub(crate) fn complain(line: &str) {
    let _ = writeln!(io::stderr().lock(), "zraft: {line}");
}

/// Runs a command to its end, or to Ctrl+C.
pub(crate) fn run(command: impl Future<Output = Exit>) -> Exit {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("no threads: {error}"));
            return Exit::Failure;
        }
    };
    let exit = runtime.block_on(async {
        tokio::select! {
            exit = command => exit,
            _ = tokio::signal::ctrl_c() => Exit::Interrupted,
        }
    });
    runtime.shutdown_background();
    exit
}
