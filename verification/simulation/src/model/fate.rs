//! The outcome of a command, as its caller sees it.

use bytes::Bytes;
use zraft_core::Failure;

/// The outcome of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Fate {
    /// The command was answered. The answer contains the command's position in the order of execution.
    Answered(u64),
    /// The command was never executed and never will be.
    NotExecuted,
    /// The outcome is unknown: the command may have been executed.
    Unknown,
    /// The server dropped the cached answer.
    Evicted,
}

impl Fate {
    pub(crate) fn of(result: &Result<Bytes, Failure>) -> Self {
        match result {
            Ok(answer) => {
                Self::Answered(answer.first_chunk().map_or(u64::MAX, |at| u64::from_be_bytes(*at)))
            }
            Err(Failure::ResponseEvicted { .. }) => Self::Evicted,
            Err(failure) if failure.maybe_executed() => Self::Unknown,
            Err(_) => Self::NotExecuted,
        }
    }
}
