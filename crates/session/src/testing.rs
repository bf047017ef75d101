//! Tests of an application without a cluster: write a log, and apply it as two members would.
//!
//! ```
//! use zraft_session::{applications::AppendLog, testing::{Log, replay}};
//!
//! let mut log = Log::new();
//! log.session("ann").command("ann", "first").command("ann", "second");
//! let run = replay(AppendLog::new, &log)?;
//! assert_eq!(run.answer("ann", 2), Some(&1_u64.to_be_bytes()[..]));
//! assert_eq!(run.machine.application().len(), 2);
//! # Ok::<(), zraft_session::testing::ReplayError>(())
//! ```

use std::{collections::BTreeMap, io, time::Duration};

use crate::{
    Application, ApplyError, Capabilities, Effect, EndReason, Entry, Genesis, Operation, Payload,
    RequestId, RestoreError, SessionId, Settings, StateMachine, Time,
};

/// A log, written entry by entry. Methods panic if what they are given cannot be in a log, because a test is wrong then.
#[derive(Clone, Debug)]
pub struct Log {
    entries: Vec<Entry>,
    time: Time,
    /// The last request id of each session.
    commands: BTreeMap<String, u64>,
}

impl Default for Log {
    fn default() -> Self {
        Self::new()
    }
}

impl Log {
    /// Returns a log that begins as a cluster's log does: the first leader's seed and default settings.
    #[must_use]
    pub fn new() -> Self {
        // Any moment does.
        let time = Time::from_millis(1_700_000_000_000);
        let mut log = Self { entries: Vec::new(), time, commands: BTreeMap::new() };
        log.push(Operation::Genesis(Genesis { term: 1, seed: [1; 32] }))
            .settings(Settings::default());
        log
    }

    /// Creates a session without capabilities.
    ///
    /// # Panics
    /// If the name is empty or longer than 255 bytes.
    pub fn session(&mut self, name: &str) -> &mut Self {
        let capabilities = Capabilities::none();
        self.push(Operation::CreateSession { session: id(name), capabilities })
    }

    /// Ends a session.
    ///
    /// # Panics
    /// If the name is empty or longer than 255 bytes.
    pub fn end(&mut self, name: &str, reason: EndReason) -> &mut Self {
        self.push(Operation::EndSession { session: id(name), reason })
    }

    /// Sends a session's next command. Request ids count up from 1.
    ///
    /// # Panics
    /// If the name is empty or longer than 255 bytes, or the payload too long for the protocol.
    pub fn command(&mut self, name: &str, payload: impl AsRef<[u8]>) -> &mut Self {
        let last = self.commands.entry(name.to_owned()).or_default();
        *last += 1;
        let request_id = RequestId::new(*last).expect("a test sends few commands");
        let payload = Payload::new(payload.as_ref().to_vec()).expect("the payload is too long");
        let session = id(name);
        self.push(Operation::Command {
            session,
            request_id,
            lowest_pending: RequestId::FIRST,
            payload,
        })
    }

    /// Changes the replicated settings.
    ///
    /// # Panics
    /// If the settings are invalid.
    pub fn settings(&mut self, settings: Settings) -> &mut Self {
        let settings = settings.check().expect("the settings are invalid");
        self.push(Operation::Settings(settings))
    }

    /// Raises the replicated application level.
    ///
    /// # Panics
    /// Never with settings that are otherwise the default.
    pub fn level(&mut self, application_level: u32) -> &mut Self {
        self.settings(Settings { application_level, ..Settings::default() })
    }

    /// Lets time pass, and the application's tick run if it is due.
    pub fn wait(&mut self, duration: Duration) -> &mut Self {
        self.time = self.time + duration;
        self.push(Operation::Tick)
    }

    /// Adds any other operation, at the log's time.
    pub fn push(&mut self, operation: Operation) -> &mut Self {
        self.entries.push(Entry { time: self.time, operation });
        self
    }

    /// Returns the entries. The first one has index 1.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }
}

fn id(name: &str) -> SessionId {
    SessionId::new(name).expect("a session's name has from 1 to 255 bytes")
}

/// What a log led to.
#[derive(Debug)]
pub struct Run<A> {
    /// The state after the last entry.
    pub machine: StateMachine<A>,
    /// The effects of all entries, in order.
    pub effects: Vec<Effect>,
}

impl<A> Run<A> {
    /// Returns what the client got as the answer to a session's command: an answer, or a rejection that carries one. None
    /// if it got none.
    #[must_use]
    pub fn answer(&self, session: &str, request: u64) -> Option<&[u8]> {
        self.effects.iter().find_map(|effect| match effect {
            Effect::Answered { session: id, request_id, answer }
                if id.as_str() == session && request_id.get() == request =>
            {
                answer.payload().map(|answer| &answer[..])
            }
            _ => None,
        })
    }

    /// Returns the payloads of the server requests that a session got, in order.
    #[must_use]
    pub fn pushed(&self, session: &str) -> Vec<&[u8]> {
        let pushed = self.effects.iter().filter_map(|effect| match effect {
            Effect::Pushed { session: id, request } if id.as_str() == session => {
                Some(&request.payload[..])
            }
            _ => None,
        });
        pushed.collect()
    }
}

/// Why two members that apply one log would not stay equal, or would stop. `index` is the entry's place, from 1.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// An entry cannot be applied.
    #[error("entry {index}: {error}")]
    Apply {
        /// The entry.
        index: u64,
        /// What is wrong with it.
        error: ApplyError,
    },
    /// The state after an entry cannot be written.
    #[error("the snapshot after entry {index} cannot be written: {error}")]
    Write {
        /// The entry.
        index: u64,
        /// The error of the application.
        error: io::Error,
    },
    /// The state after an entry cannot be read back from its snapshot.
    #[error("the snapshot after entry {index} cannot be restored: {error}")]
    Restore {
        /// The entry.
        index: u64,
        /// The error of the application.
        error: RestoreError,
    },
    /// The two members differ: the application is not deterministic, or its snapshot lacks something.
    #[error("after entry {index} the members differ in {what}")]
    Different {
        /// The entry.
        index: u64,
        /// In what they differ.
        what: &'static str,
    },
}

/// Applies a log as two members would, and compares them after every entry: their effects, their whole state, and when
/// they want the next tick. The second member restarts from a snapshot before each entry.
///
/// `new` makes the application of a new member. A map with a random order differs between the two, too.
///
/// # Errors
/// The first difference, or the first entry that stops a member.
pub fn replay<A: Application>(new: impl Fn() -> A, log: &Log) -> Result<Run<A>, ReplayError> {
    let (mut machine, mut other) = (StateMachine::new(new()), StateMachine::new(new()));
    let mut all = Vec::new();
    for (index, entry) in (1..).zip(log.entries()) {
        let stopped = |error| ReplayError::Apply { index, error };
        let differ = |what| Err(ReplayError::Different { index, what });
        let (mut effects, mut others) = (Vec::new(), Vec::new());
        machine.apply(index, entry, &mut effects).map_err(stopped)?;
        other.apply(index, entry, &mut others).map_err(stopped)?;
        if effects != others {
            return differ("their effects");
        }
        all.append(&mut effects);
        other = restarted(&other, index)?;
        let hash = |machine: &StateMachine<A>| {
            machine.state_hash().map_err(|error| ReplayError::Write { index, error })
        };
        if hash(&machine)? != hash(&other)? {
            return differ("their state");
        }
        if machine.next_tick() != other.next_tick() {
            return differ("their next tick");
        }
    }
    Ok(Run { machine, effects: all })
}

fn restarted<A: Application>(
    machine: &StateMachine<A>,
    index: u64,
) -> Result<StateMachine<A>, ReplayError> {
    let mut file = Vec::new();
    let written = machine.snapshot().write_to(&mut file);
    written.map_err(|error| ReplayError::Write { index, error })?;
    StateMachine::restore(&file[..]).map_err(|error| ReplayError::Restore { index, error })
}
