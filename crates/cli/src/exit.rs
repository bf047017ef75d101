//! Exit codes, which are those of the live tools but for arguments that are not understood, and printing.

use std::{
    future::Future,
    io::{self, Write},
    process::ExitCode,
};

use tokio::signal::ctrl_c;
#[cfg(unix)]
use tokio::signal::unix::{SignalKind, signal};
use zraft_client::Error;
use zraft_server::Signal;

/// The exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// 0: the command succeeded.
    Success,
    /// 1: a value that cannot be used, or the demo failed.
    BadInput,
    /// 1: `cluster check` found members that differ.
    Different,
    /// 2: the arguments are not understood, as programs say by custom.
    Usage,
    /// 2: no connection, or no answer in time.
    Connection,
    /// 3: any other failure.
    Failure,
    /// 4: `get --exit-code` found no value.
    Absent,
    /// 4: `cluster status --exit-code` found an alarm.
    Alarm,
    /// 5: a member cannot go on with its data, so starting it again does not help.
    Unusable,
    /// 6: it is not known whether a command was executed.
    Unknown,
    /// 130: Ctrl+C.
    Interrupted,
    /// 143: SIGTERM.
    Terminated,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Success => 0,
            Exit::BadInput | Exit::Different => 1,
            Exit::Usage | Exit::Connection => 2,
            Exit::Failure => 3,
            Exit::Absent | Exit::Alarm => 4,
            Exit::Unusable => 5,
            Exit::Unknown => 6,
            Exit::Interrupted => 130,
            Exit::Terminated => 143,
        })
    }
}

impl From<Signal> for Exit {
    fn from(signal: Signal) -> Self {
        match signal {
            Signal::Interrupt => Self::Interrupted,
            Signal::Terminate => Self::Terminated,
        }
    }
}

impl Exit {
    /// Returns the exit code for an error of the client.
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

    /// Reports that input cannot be read or output cannot be written, and returns the exit code. A closed pipe is not a
    /// failure: programs such as `head` stop reading early.
    pub(crate) fn of_io(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::Success;
        }
        complain(&error.to_string());
        Self::Failure
    }
}

/// Writes a line to standard output and flushes it.
pub(crate) fn write(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// Prints a line of a command that has a session. If that fails, returns the exit code, with which the command ends and closes
/// its session.
pub(crate) fn say(line: &str) -> Result<(), Exit> {
    write(line).map_err(|error| Exit::of_io(&error))
}

/// Prints bytes as they are. A closed pipe is not a failure.
pub(crate) fn print_bytes(bytes: &[u8]) -> Exit {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => Exit::Success,
        Err(error) => Exit::of_io(&error),
    }
}

/// Prints a line. Ends the program if that fails.
pub(crate) fn print(line: &str) {
    if let Err(error) = write(line) {
        std::process::exit(if Exit::of_io(&error) == Exit::Success { 0 } else { 3 });
    }
}

/// Prints the result of a command and returns its exit code. A closed pipe does not change the code; a failure to write
/// turns success into failure.
pub(crate) fn print_at_end(text: &str, exit: Exit) -> Exit {
    match write(text) {
        Err(error) if Exit::of_io(&error) != Exit::Success && exit == Exit::Success => {
            Exit::Failure
        }
        _ => exit,
    }
}

/// Prints a line to standard error, for the person and not for the next program in a pipe.
pub(crate) fn complain(line: &str) {
    let _ = writeln!(io::stderr().lock(), "zraft: {line}");
}

/// Waits for Ctrl+C or, on Unix, SIGTERM.
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

/// Runs a command until it ends, or until Ctrl+C or SIGTERM.
pub(crate) fn run(command: impl Future<Output = Exit>) -> Exit {
    run_then(command, async {})
}

/// Runs a command like [`run`], and then `afterwards`, which cleans up.
pub(crate) fn run_then(
    command: impl Future<Output = Exit>,
    afterwards: impl Future<Output = ()>,
) -> Exit {
    run_alone(async {
        let exit = tokio::select! {
            exit = command => exit,
            asked = asked_to_end() => asked,
        };
        // A second Ctrl+C ends the clean-up.
        tokio::select! {
            () = afterwards => exit,
            asked = asked_to_end() => asked,
        }
    })
}

/// Runs a command that handles signals itself. Waits for no task or thread that it leaves behind.
pub(crate) fn run_alone(command: impl Future<Output = Exit>) -> Exit {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("cannot start threads: {error}"));
            return Exit::Failure;
        }
    };
    let exit = runtime.block_on(command);
    runtime.shutdown_background();
    exit
}
