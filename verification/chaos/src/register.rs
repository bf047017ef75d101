//! The register model, and a recorder of concurrent operations on many registers.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::linearizability::{self, MAX_OPERATIONS, Model, Operation, Verdict};

/// An operation on a register, with its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Wrote this value.
    Write(u64),
    /// Read this value; `None` if no value had been written yet.
    Read(Option<u64>),
}

/// A register that holds the last value written.
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

/// Checks whether the history of one register is linearizable.
///
/// Writes of unknown outcome whose value was never read are left out. If an order with them exists, one without them
/// exists too, and each of them would double the search.
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
        // A read whose caller got no value shows nothing.
        Op::Read(_) => operation.returned.is_some(),
    };
    let kept: Vec<usize> = (0..history.len()).filter(|index| matters(&history[*index])).collect();
    let filtered: Vec<_> = kept.iter().map(|index| history[*index].clone()).collect();
    match linearizability::check(&Register, &filtered) {
        Verdict::NotLinearizable { stuck } => Verdict::NotLinearizable { stuck: kept[stuck] },
        verdict => verdict,
    }
}

/// Records the operations of callers on registers. Each register accepts [`MAX_OPERATIONS`] operations.
#[derive(Clone, Debug)]
pub struct Recorder {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Counts every invocation and return. It is a clock that orders all events correctly.
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
    /// The operation is in progress, or its caller gave up and its outcome is unknown.
    Open,
    Returned(u64),
    /// The client reported that the operation was not executed.
    Nothing,
}

impl Recorder {
    /// Creates a recorder for this many registers.
    pub fn new(registers: usize) -> Self {
        let registers = (0..registers).map(|_| Mutex::default()).collect();
        Self { shared: Arc::new(Shared { clock: AtomicU64::new(0), registers }) }
    }

    /// Records that a write begins. Returns `None` if the register's history is full; then the caller must not write.
    pub fn write(&self, register: usize, value: u64) -> Option<Pending> {
        self.invoke(register, Some(Op::Write(value)))
    }

    /// Records that a read begins. Returns `None` if the register's history is full.
    pub fn read(&self, register: usize) -> Option<Pending> {
        self.invoke(register, None)
    }

    /// Returns true if the history of every register is full.
    pub fn is_full(&self) -> bool {
        self.shared.registers.iter().all(|register| lock(register).len() >= MAX_OPERATIONS)
    }

    /// Returns the history of each register. Operations that have not returned have an unknown outcome.
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

/// An operation in progress. If it is dropped, its outcome is unknown.
#[derive(Debug)]
#[must_use]
pub struct Pending {
    shared: Arc<Shared>,
    register: usize,
    index: usize,
}

impl Pending {
    /// Records that the write was executed.
    pub fn written(self) {
        self.end(|entry, now| entry.state = State::Returned(now));
    }

    /// Records that the read returned this value.
    pub fn gave(self, value: Option<u64>) {
        self.end(|entry, now| {
            entry.op = Some(Op::Read(value));
            entry.state = State::Returned(now);
        });
    }

    /// Records that the client reported the operation as not executed.
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
        // A read without a result cannot be wrong.
        Some(Operation { op: entry.op?, invoked: entry.invoked, returned })
    };
    entries.iter().filter_map(operation).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
