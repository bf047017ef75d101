//! A register, and the record of what many callers did to many registers at once.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::linearizability::{self, MAX_OPERATIONS, Model, Operation, Verdict};

/// An operation on a register and what it gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// This was written.
    Write(u64),
    /// This was read; none: nothing had been written yet.
    Read(Option<u64>),
}

/// A register that holds the value written last.
#[derive(Clone, Copy, Debug, Default)]
pub struct Register;

impl Model for Register {
    type State = Option<u64>;
    type Op = Op;

    fn initial(&self) -> Option<u64> {
        None
    }

    fn step(&self, state: &Option<u64>, op: &Op) -> Option<Option<u64>> {
        match op {
            Op::Write(value) => Some(Some(*value)),
            Op::Read(value) => (value == state).then_some(*state),
        }
    }
}

/// Whether the history of one register is linearizable.
///
/// Writes of unknown outcome whose value nobody read are left out: with them in an order there is also one without them,
/// and each would double what has to be searched.
pub fn check(history: &[Operation<Op>]) -> Verdict {
    if history.len() > MAX_OPERATIONS {
        return Verdict::TooHard;
    }
    let read: HashSet<u64> = history
        .iter()
        .filter_map(|operation| match operation.op {
            Op::Read(value) => value,
            Op::Write(_) => None,
        })
        .collect();
    let matters = |operation: &Operation<Op>| match operation.op {
        Op::Write(value) => operation.returned.is_some() || read.contains(&value),
        // What was read without anybody being told says nothing.
        Op::Read(_) => operation.returned.is_some(),
    };
    let kept: Vec<usize> = (0..history.len()).filter(|index| matters(&history[*index])).collect();
    let filtered: Vec<_> = kept.iter().map(|index| history[*index].clone()).collect();
    match linearizability::check(&Register, &filtered) {
        Verdict::NotLinearizable { stuck } => Verdict::NotLinearizable { stuck: kept[stuck] },
        verdict => verdict,
    }
}

/// Records what callers do to registers, each of which takes [`MAX_OPERATIONS`] operations.
#[derive(Clone, Debug)]
pub struct Recorder {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Counts every invocation and every return: a clock that never errs.
    clock: AtomicU64,
    registers: Vec<Mutex<Vec<Entry>>>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    op: Option<Op>,
    invoked: u64,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Under way; or nobody waits for it any more, and its outcome is unknown.
    Open,
    Returned(u64),
    /// It was said not to have happened.
    Nothing,
}

impl Recorder {
    /// For so many registers.
    pub fn new(registers: usize) -> Self {
        let registers = (0..registers).map(|_| Mutex::default()).collect();
        Self { shared: Arc::new(Shared { clock: AtomicU64::new(0), registers }) }
    }

    /// A value is about to be written. None: the register's history is full, nothing may be done to it any more.
    pub fn write(&self, register: usize, value: u64) -> Option<Pending> {
        self.invoke(register, Some(Op::Write(value)))
    }

    /// The register is about to be read. None: its history is full.
    pub fn read(&self, register: usize) -> Option<Pending> {
        self.invoke(register, None)
    }

    /// Whether no register takes another operation.
    pub fn is_full(&self) -> bool {
        self.shared.registers.iter().all(|register| lock(register).len() >= MAX_OPERATIONS)
    }

    /// The history of each register. What has not returned by now counts as of unknown outcome.
    pub fn histories(&self) -> Vec<Vec<Operation<Op>>> {
        self.shared.registers.iter().map(|register| history(&lock(register))).collect()
    }

    fn invoke(&self, register: usize, op: Option<Op>) -> Option<Pending> {
        let mut entries = lock(&self.shared.registers[register]);
        if entries.len() >= MAX_OPERATIONS {
            return None;
        }
        let index = entries.len();
        entries.push(Entry { op, invoked: self.shared.tick(), state: State::Open });
        Some(Pending { shared: self.shared.clone(), register, index })
    }
}

impl Shared {
    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }
}

/// An operation under way. Dropped, its outcome is unknown.
#[derive(Debug)]
#[must_use]
pub struct Pending {
    shared: Arc<Shared>,
    register: usize,
    index: usize,
}

impl Pending {
    /// The write was done.
    pub fn written(self) {
        self.end(|entry, now| entry.state = State::Returned(now));
    }

    /// The read gave this.
    pub fn gave(self, value: Option<u64>) {
        self.end(|entry, now| {
            entry.op = Some(Op::Read(value));
            entry.state = State::Returned(now);
        });
    }

    /// It was said not to have been done, and never to be done.
    pub fn not_done(self) {
        self.end(|entry, _| entry.state = State::Nothing);
    }

    fn end(self, change: impl FnOnce(&mut Entry, u64)) {
        let mut entries = lock(&self.shared.registers[self.register]);
        change(&mut entries[self.index], self.shared.tick());
    }
}

fn history(entries: &[Entry]) -> Vec<Operation<Op>> {
    let operation = |entry: &Entry| {
        let returned = match entry.state {
            State::Open => None,
            State::Returned(at) => Some(at),
            State::Nothing => return None,
        };
        // A read that gave nothing has no result that could be wrong.
        Some(Operation { op: entry.op?, invoked: entry.invoked, returned })
    };
    entries.iter().filter_map(operation).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
