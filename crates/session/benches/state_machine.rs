//! Measures the cost of applying a command and of a snapshot of a large state.

#![allow(clippy::unwrap_used)]

use divan::{AllocProfiler, Bencher, black_box, counter::BytesCount};
use zraft_session::{
    Application, Capabilities, Entry, Operation, Payload, RequestId, SessionId, StateMachine, Time,
    applications::{AppendLog, Echo, KvStore},
};

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

/// The keys of the large state.
const KEYS: u64 = 100_000;
/// Commands in flight of one session: the window of this project's clients.
const WINDOW: u64 = 1024;

fn main() {
    divan::main();
}

/// A state machine with one session.
struct Member<A> {
    machine: StateMachine<A>,
    session: SessionId,
    next: u64,
}

impl<A: Application> Member<A> {
    fn new(application: A) -> Self {
        let session = SessionId::new("5fd8a8d2-0961-864e-ad52-f29f94b83a20").unwrap();
        let mut member = Self { machine: StateMachine::new(application), session, next: 1 };
        member.apply(Operation::CreateSession {
            session: member.session.clone(),
            capabilities: Capabilities::none(),
        });
        member
    }

    /// Applies the session's next command. The answers of the last `WINDOW` commands stay cached.
    fn command(&mut self, payload: Payload) {
        let lowest_pending = self.next.saturating_sub(WINDOW).max(1);
        let operation = Operation::Command {
            session: self.session.clone(),
            request_id: RequestId::new(self.next).unwrap(),
            lowest_pending: RequestId::new(lowest_pending).unwrap(),
            payload,
        };
        self.next += 1;
        self.apply(operation);
    }

    fn apply(&mut self, operation: Operation) {
        let entry = Entry { time: Time::from_millis(1), operation };
        let mut effects = Vec::with_capacity(4);
        self.machine.apply(self.machine.applied() + 1, &entry, &mut effects).unwrap();
        black_box(effects);
    }
}

fn set(key: u64) -> Payload {
    let key = format!("key {key}").try_into().unwrap();
    let value = "a value of some length".to_owned().try_into().unwrap();
    Payload::new(zraft_kv::Command::Set { key, value }.encode()).unwrap()
}

/// A key-value store with many keys.
fn large() -> Member<KvStore> {
    let mut member = Member::new(KvStore::new());
    (0..KEYS).for_each(|key| member.command(set(key)));
    member
}

#[divan::bench]
fn apply_echo(bencher: Bencher<'_, '_>) {
    let mut member = Member::new(Echo);
    let payload = Payload::new(vec![7; 64]).unwrap();
    bencher.bench_local(|| member.command(payload.clone()));
}

#[divan::bench]
fn apply_append(bencher: Bencher<'_, '_>) {
    let mut member = Member::new(AppendLog::new());
    let payload = Payload::new(vec![7; 64]).unwrap();
    bencher.bench_local(|| member.command(payload.clone()));
}

#[divan::bench]
fn apply_set_among_many_keys(bencher: Bencher<'_, '_>) {
    let mut member = large();
    let mut key = 0;
    bencher.bench_local(|| {
        key = (key + 1) % KEYS;
        member.command(set(key));
    });
}

/// Measures the part of a snapshot for which commands wait: freezing the state, without writing it.
#[divan::bench]
fn freeze_many_keys(bencher: Bencher<'_, '_>) {
    let member = large();
    bencher.bench_local(|| member.machine.snapshot());
}

#[divan::bench(sample_count = 20)]
fn write_snapshot_of_many_keys(bencher: Bencher<'_, '_>) {
    let member = large();
    let length = member.machine.snapshot().write_to(std::io::sink()).unwrap().bytes;
    bencher
        .counter(BytesCount::new(length))
        .bench_local(|| member.machine.snapshot().write_to(std::io::sink()).unwrap());
}

#[divan::bench(sample_count = 20)]
fn restore_snapshot_of_many_keys(bencher: Bencher<'_, '_>) {
    let mut file = Vec::new();
    large().machine.snapshot().write_to(&mut file).unwrap();
    bencher
        .counter(BytesCount::of_slice(&file[..]))
        .bench_local(|| StateMachine::<KvStore>::restore(&file[..]).unwrap());
}
