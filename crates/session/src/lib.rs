//! The replicated session state machine of a ZIO Raft server, and the [`Application`] trait that its users implement.
//!
//! A server replicates a log, and this crate executes it: [`StateMachine::apply`] takes one [`Entry`] after the other
//! and reports [`Effect`]s, such as the answer to a command. It executes each command exactly once, caches answers until
//! clients have them, numbers and keeps server requests, and takes and restores snapshots. It uses no clock, I/O or
//! unseeded randomness, so members that apply the same log have the same state.
//!
//! # A complete application
//!
//! A counter that any client can raise. A session that sends `watch` gets each new value as a server request.
//!
//! ```
//! use std::collections::BTreeSet;
//!
//! use zraft_session::{
//!     AppSnapshot, Application, Command, Context, Payload, QueryContext, Rejected, RestoreError,
//!     SessionEnd, SessionId, SnapshotInput,
//! };
//!
//! #[derive(Default)]
//! struct Counter {
//!     value: u64,
//!     watchers: BTreeSet<SessionId>,
//! }
//!
//! /// The application's encoding: text, because it is easy to read here.
//! fn text(text: impl ToString) -> Payload {
//!     Payload::new(text.to_string()).unwrap_or_default()
//! }
//!
//! impl Application for Counter {
//!     fn apply(&mut self, context: &mut Context<'_>, command: Command<'_>) -> Result<Payload, Rejected> {
//!         match &command.payload()[..] {
//!             b"add" => {
//!                 self.value += 1;
//!                 for watcher in &self.watchers {
//!                     // Ends a watcher that has stopped reading.
//!                     let _ = context.push(watcher, text(self.value));
//!                 }
//!                 Ok(text(self.value))
//!             }
//!             b"watch" => {
//!                 self.watchers.insert(command.session().clone());
//!                 Ok(text("watching"))
//!             }
//!             // The client gets this as the answer. Nothing has changed.
//!             _ => Err(Rejected::with_answer(text("error: send add or watch"))),
//!         }
//!     }
//!
//!     fn query(&self, _: &QueryContext<'_>, _: &Payload) -> Result<Payload, Rejected> {
//!         Ok(text(self.value))
//!     }
//!
//!     fn session_ended(&mut self, _: &mut Context<'_>, session: &SessionId, _: SessionEnd) {
//!         self.watchers.remove(session);
//!     }
//!
//!     fn snapshot(&self) -> AppSnapshot {
//!         // A few watchers are cheap to copy. For large state, clone a persistent map instead.
//!         let (value, watchers) = (self.value, self.watchers.clone());
//!         AppSnapshot::new(move |output| {
//!             output.write_u64(value)?;
//!             output.write_u64(watchers.len() as u64)?;
//!             watchers.iter().try_for_each(|watcher| output.write_session_id(watcher))
//!         })
//!     }
//!
//!     fn restore(input: &mut SnapshotInput<'_>) -> Result<Self, RestoreError> {
//!         let value = input.read_u64()?;
//!         let count = input.read_u64()?;
//!         let watchers = (0..count).map(|_| input.read_session_id()).collect::<Result<_, _>>()?;
//!         Ok(Self { value, watchers })
//!     }
//! }
//!
//! // What a server does with it: apply the log, and send what comes out.
//! use zraft_session::{
//!     Answer, Capabilities, Effect, Entry, Operation, RequestId, StateMachine, Time,
//! };
//!
//! let session = SessionId::new("2f1c")?;
//! let create = Operation::CreateSession { session: session.clone(), capabilities: Capabilities::none() };
//! let command = |id, payload| Operation::Command {
//!     session: session.clone(),
//!     request_id: RequestId::new(id).unwrap_or_default(),
//!     lowest_pending: RequestId::FIRST,
//!     payload: text(payload),
//! };
//! // The second "add" is a resend: the same session and request id.
//! let log = [create, command(1, "watch"), command(2, "add"), command(2, "add")];
//!
//! let mut machine = StateMachine::new(Counter::default());
//! let mut effects = Vec::new();
//! for (index, operation) in (1..).zip(log) {
//!     let time = Time::from_millis(1_700_000_000_000);
//!     machine.apply(index, &Entry { time, operation }, &mut effects)?;
//! }
//! assert_eq!(machine.application().value, 1, "the resend was not executed");
//! assert!(matches!(&effects[2], Effect::Answered { answer: Answer::Executed(value), .. } if &value[..] == b"1"));
//! assert!(matches!(&effects[3], Effect::Pushed { request, .. } if &request.payload[..] == b"1"));
//! assert!(matches!(&effects[4], Effect::Answered { answer: Answer::Cached(Some(value)), .. } if &value[..] == b"1"));
//!
//! // A snapshot restores to the same state, sessions included.
//! let mut file = Vec::new();
//! let summary = machine.snapshot().write_to(&mut file)?;
//! let restored = StateMachine::<Counter>::restore(&file[..])?;
//! assert_eq!(restored.state_hash()?, summary.hash);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What a server adds
//!
//! This crate executes entries. A server decides which entries to propose:
//!
//! | question | answer |
//! | --- | --- |
//! | Does a command go into the log? | [`Admission`]: a cached answer needs no entry, a full cache makes a command wait |
//! | Which server requests are sent again? | [`Session::redelivery`] says which; the leader's timer says when |
//! | When does a session expire? | the leader's monotonic clock; the end is an [`Operation::EndSession`] |
//! | What time is it? | [`LeaderClock`] stamps the entries |
//! | When does time pass without commands? | the leader proposes [`Operation::Tick`] at [`StateMachine::next_tick`] |
//! | Are the members equal? | [`HistoryHash`] after every entry, [`StateHash`] now and then |
//!
//! # Formats
//!
//! Entries and snapshots have versions, and everything in them is big-endian. A member that reads a newer version stops
//! with an error before it applies anything.
//!
//! An entry is a version byte (1), a kind, u64 milliseconds of time, and the fields of its kind:
//!
//! | kind | fields |
//! | --- | --- |
//! | 1 Genesis | u64 term, 32 bytes of seed |
//! | 2 CreateSession | session id, u16 count, then per capability u16 length and name, u16 length and value |
//! | 3 Command | session id, u64 request id, u64 lowest pending id, u32 length and payload |
//! | 4 Acknowledge | u32 count, then session id and u64 server request id each |
//! | 5 EndSession | session id, u8 reason: 1 closed, 2 expired, 3 abandoned, 4 cache overrun, 5 removed |
//! | 6 Tick | none |
//! | 7 Settings | the fields of [`Settings`] in their order, u32 or u64 as they are declared |
//!
//! A session id is u8 length and UTF-8 of 1 to 255 bytes. The source of the `snapshot` module describes snapshots.

// | file | idea |
// | --- | --- |
// | `machine.rs` | entries in, effects out |
// | `sessions.rs`, `sessions/session.rs` | the tables: cached answers, server requests, totals |
// | `application.rs`, `context.rs` | the trait that users implement; what a call sees and can do |
// | `entry.rs`, `entry/codec.rs`, `entry/bytes.rs` | log entries; their bytes; a long payload that stays where it was received |
// | `admission.rs`, `clock.rs` | what a leader asks before it proposes: whether there is room, and the time |
// | `snapshot.rs`, `snapshot/` | freezing, writing, verifying and restoring a state |
// | `policy.rs` | the rules in which the replicated server and the live system differ |
// | `effect.rs`, `settings.rs`, `capabilities.rs` | what an entry causes; replicated settings; what a client says of itself |
// | `hash.rs`, `random.rs`, `time.rs` | the hashes that members compare; replicated random numbers and time |
// | `testing.rs` | logs and members for the tests of an application |
// | `applications/` | echo, append log, bank, key-value store |

mod admission;
mod application;
pub mod applications;
mod capabilities;
mod clock;
mod context;
mod effect;
mod entry;
mod hash;
mod machine;
mod policy;
mod random;
mod sessions;
mod settings;
mod snapshot;
mod state;
pub mod testing;
mod time;

pub use admission::{Admission, Verdict};
pub use application::{Application, Command, Rejected};
pub use capabilities::Capabilities;
pub use clock::LeaderClock;
pub use context::{Context, PushError, QueryContext, detached};
pub use effect::{Answer, Effect, Refusal, ServerRequest, SessionEnd};
pub use entry::{Acknowledgement, EndReason, Entry, EntryBytes, EntryError, Genesis, Operation};
pub use hash::{HistoryHash, StateHash};
pub use machine::{ApplyError, QueryError, StateMachine};
pub use policy::{FullCache, FullSession, LowestPending, Policy, RejectedId};
pub use random::Random;
pub use sessions::{Session, Sessions, Totals};
pub use settings::{CheckedSettings, Settings, SettingsError};
pub use snapshot::{
    AppSnapshot, RestoreError, Snapshot, SnapshotInput, SnapshotOutput, SnapshotSummary,
    verify_snapshot,
};
pub use time::Time;
pub use zraft_protocol::{Payload, RequestId, SessionId, Timestamp};
