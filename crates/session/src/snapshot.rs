//! Snapshots: freezing a state, writing it out, reading it back.
//!
//! | piece | bytes |
//! | --- | --- |
//! | header | `ZRAFTSNP`, u16 version |
//! | chunk, any number of them | u32 length from 1 to 65,536, u64 XXH3-64 of the data with the chunk's number as its seed, data |
//! | end | u32 zero, u64 length of the body, u128 XXH3-128 of the body |
//!
//! The body is all chunks' data: sessions first, then the application's bytes. Reader and writer hold one chunk.

mod error;
mod input;
mod output;
mod reader;
mod state;
mod writer;

use std::{
    fmt,
    io::{self, Read, Write},
};

pub use error::RestoreError;
pub use input::SnapshotInput;
pub use output::SnapshotOutput;

use crate::{Application, StateHash, StateMachine, Time, state::State};
use reader::BodyReader;
use writer::BodyWriter;

/// The first bytes of a snapshot.
const MAGIC: [u8; 8] = *b"ZRAFTSNP";
/// The version of the format that is written.
const VERSION: u16 = 1;
/// The longest chunk. Both sides hold one in memory.
const MAX_CHUNK: usize = 64 << 10;

/// A frozen copy of an application's state, to be written out later, on another thread.
pub struct AppSnapshot(Box<WriteState>);

type WriteState = dyn FnOnce(&mut SnapshotOutput<'_>) -> io::Result<()> + Send;

impl AppSnapshot {
    /// Returns a snapshot that `write` writes out. `write` owns what it needs, typically a clone of a persistent map.
    pub fn new(
        write: impl FnOnce(&mut SnapshotOutput<'_>) -> io::Result<()> + Send + 'static,
    ) -> Self {
        Self(Box::new(write))
    }

    /// Writes the state. Tests of an application use it to take a snapshot without a cluster.
    ///
    /// # Errors
    /// If `output` fails.
    pub fn write(self, output: &mut SnapshotOutput<'_>) -> io::Result<()> {
        (self.0)(output)
    }
}

impl fmt::Debug for AppSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppSnapshot").finish_non_exhaustive()
    }
}

/// A frozen copy of the whole replicated state. It can be sent to another thread and written out there, while the
/// state machine goes on.
///
/// It shares memory with the live state. Until the snapshot is dropped, parts that change are held twice.
#[derive(Debug)]
pub struct Snapshot {
    state: State,
    application: AppSnapshot,
}

/// The hash and the length of a snapshot that was written or verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotSummary {
    /// The hash of the state, which is also the snapshot's checksum.
    pub hash: StateHash,
    /// The length of the whole snapshot in bytes.
    pub bytes: u64,
}

impl Snapshot {
    pub(crate) fn new(state: State, application: AppSnapshot) -> Self {
        Self { state, application }
    }

    /// Returns the index of the last entry that the state includes.
    #[must_use]
    pub fn applied(&self) -> u64 {
        self.state.applied
    }

    /// Returns the replicated time of the state.
    #[must_use]
    pub fn time(&self) -> Time {
        self.state.time
    }

    /// Writes the snapshot. Holds one chunk of 64 KiB in memory and calls `write` about once for each.
    ///
    /// # Errors
    /// If `output` or the application fails. The written bytes are not a snapshot then.
    pub fn write_to(self, output: impl Write) -> io::Result<SnapshotSummary> {
        let mut body = BodyWriter::begin(output)?;
        let mut fields = SnapshotOutput::new(&mut body);
        state::write(&self.state, &mut fields)?;
        self.application.write(&mut fields)?;
        body.finish()
    }

    /// Returns the hash of the state, by encoding it once without keeping the bytes.
    ///
    /// # Errors
    /// Only if the application fails to write its state.
    pub fn hash(self) -> io::Result<StateHash> {
        Ok(self.write_to(io::sink())?.hash)
    }
}

impl<A: Application> StateMachine<A> {
    /// Reads a state that [`Snapshot::write_to`] wrote.
    ///
    /// Each chunk's checksum is verified before its bytes are used, so the application never sees damaged bytes. Memory
    /// grows with what was read, never with an announced length. Bytes after the snapshot are left unread.
    ///
    /// # Errors
    /// [`RestoreError`] if the input is not a complete, undamaged snapshot that this version and its application can
    /// read.
    pub fn restore(input: impl Read) -> Result<Self, RestoreError> {
        let mut body = BodyReader::begin(input)?;
        let mut fields = SnapshotInput::new(&mut body);
        let state = state::read(&mut fields)?;
        let application = A::restore(&mut fields)?;
        body.finish()?;
        let (wanted, supported) = (state.settings.application_level, application.level());
        if wanted > supported {
            return Err(RestoreError::ApplicationLevel { wanted, supported });
        }
        Ok(Self::from_parts(application, state))
    }
}

/// Reads a snapshot and verifies its checksums, without building a state: for a file that was received or is old.
///
/// # Errors
/// [`RestoreError`] if the input is not a complete, undamaged snapshot of a known version. Whether the application can
/// read it shows only when it is restored.
pub fn verify_snapshot(input: impl Read) -> Result<SnapshotSummary, RestoreError> {
    let mut body = BodyReader::begin(input)?;
    body.skip_rest()?;
    body.finish()
}
