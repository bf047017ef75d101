//! The test helpers find what makes members differ.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use zraft_session::{
    AppSnapshot, Application, Command, Context, Payload, QueryContext, Rejected, RestoreError,
    SnapshotInput, Time,
    applications::{Bank, Echo, bank},
    testing::{Log, ReplayError, replay},
};

/// What is wrong with an application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// The snapshot lacks the count of commands.
    Forgets,
    /// The answer depends on the process.
    Differs,
    /// The state depends on the process, and no answer does.
    DiffersInside,
    /// The tick is lost at a restart.
    LosesTick,
    /// A snapshot is not read back.
    RefusesSnapshot,
    /// A snapshot is not written.
    FailsToWrite,
}

#[derive(Debug)]
struct Faulty {
    fault: Fault,
    count: u64,
    own: u64,
    tick: Option<Time>,
}

static MADE: AtomicU64 = AtomicU64::new(0);

impl Faulty {
    fn new(fault: Fault) -> Self {
        Self { fault, count: 0, own: MADE.fetch_add(1, Ordering::Relaxed), tick: None }
    }
}

impl Application for Faulty {
    fn apply(&mut self, context: &mut Context<'_>, _: Command<'_>) -> Result<Payload, Rejected> {
        self.count += 1;
        self.tick = Some(context.time() + Duration::from_secs(1));
        let answer = match self.fault {
            Fault::Differs => self.own,
            _ => self.count,
        };
        Ok(Payload::new(answer.to_string()).unwrap())
    }

    fn query(&self, _: &QueryContext<'_>, query: &Payload) -> Result<Payload, Rejected> {
        Ok(query.clone())
    }

    fn next_tick(&self) -> Option<Time> {
        self.tick
    }

    fn snapshot(&self) -> AppSnapshot {
        let Self { fault, count, own, tick } = *self;
        AppSnapshot::new(move |output| {
            output.write_u8(fault as u8)?;
            match fault {
                Fault::Forgets => {}
                Fault::DiffersInside => output.write_u64(own)?,
                Fault::FailsToWrite => return Err(std::io::ErrorKind::Unsupported.into()),
                _ => output.write_u64(count)?,
            }
            match fault {
                Fault::LosesTick => Ok(()),
                _ => output.write_time(tick.unwrap_or(Time::ZERO)),
            }
        })
    }

    fn restore(input: &mut SnapshotInput<'_>) -> Result<Self, RestoreError> {
        let faults = [
            Fault::None,
            Fault::Forgets,
            Fault::Differs,
            Fault::DiffersInside,
            Fault::LosesTick,
            Fault::RefusesSnapshot,
            Fault::FailsToWrite,
        ];
        let fault = faults[usize::from(input.read_u8()?)];
        let mut restored = Self::new(fault);
        match fault {
            Fault::RefusesSnapshot => return Err(RestoreError::invalid("it is refused")),
            Fault::Forgets => {}
            Fault::DiffersInside => restored.own = input.read_u64()?,
            _ => restored.count = input.read_u64()?,
        }
        if fault != Fault::LosesTick {
            restored.tick = Some(input.read_time()?).filter(|tick| *tick > Time::ZERO);
        }
        Ok(restored)
    }
}

fn log() -> Log {
    let mut log = Log::new();
    log.session("ann").command("ann", "a").command("ann", "b");
    log
}

fn error(fault: Fault) -> String {
    replay(|| Faulty::new(fault), &log()).unwrap_err().to_string()
}

#[test]
fn replay_finds_what_makes_members_differ() {
    replay(|| Faulty::new(Fault::None), &log()).unwrap();
    // Entries 1 to 3 are the log's beginning and the session.
    assert_eq!(error(Fault::Forgets), "after entry 5 the members differ in their effects");
    assert_eq!(error(Fault::Differs), "after entry 4 the members differ in their effects");
    assert_eq!(error(Fault::DiffersInside), "after entry 1 the members differ in their state");
    assert_eq!(error(Fault::LosesTick), "after entry 4 the members differ in their next tick");
    assert!(error(Fault::RefusesSnapshot).starts_with("the snapshot after entry 1 cannot be rest"));
    assert!(error(Fault::FailsToWrite).starts_with("the snapshot after entry 1 cannot be writ"));
}

#[test]
fn replay_stops_at_an_entry_that_stops_a_member() {
    let mut log = log();
    log.level(1);
    let stopped = replay(|| Echo, &log).unwrap_err();
    assert!(matches!(stopped, ReplayError::Apply { index: 6, .. }), "{stopped}");
}

#[test]
fn replay_tells_what_clients_get() {
    let mut log = Log::new();
    log.session("ann").session("bob");
    log.command("ann", &bank::Request::Open { account: 1, deposit: 5 }.encode()[..]);
    log.command("bob", &bank::Request::Open { account: 2, deposit: 0 }.encode()[..]);
    log.command("ann", &bank::Request::Transfer { from: 1, to: 2, amount: 3 }.encode()[..]);
    log.command("ann", "nonsense");
    let run = replay(Bank::new, &log).unwrap();
    let reply = |session, id| bank::Reply::decode(run.answer(session, id).unwrap()).unwrap();
    assert_eq!(reply("ann", 2), bank::Reply::Done { balance: 2 });
    assert_eq!(reply("ann", 3), bank::Reply::Failed(bank::Failure::NotACommand));
    assert_eq!(run.answer("bob", 2), None);
    let notice = bank::Notice { from: 1, to: 2, amount: 3 };
    assert_eq!(run.pushed("bob"), [&notice.encode()[..]]);
    assert!(run.pushed("ann").is_empty());
}
