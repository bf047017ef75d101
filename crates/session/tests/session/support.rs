//! A state machine that is told what to do in few words.

use zraft_session::{
    Acknowledgement, Answer, Application, Capabilities, Effect, EndReason, Entry, Genesis,
    Operation, Payload, Rejected, RequestId, ServerRequest, SessionEnd, SessionId, Settings,
    StateMachine, Time,
};

pub(crate) fn session(name: &str) -> SessionId {
    SessionId::new(name).unwrap()
}

pub(crate) fn id(id: u64) -> RequestId {
    RequestId::new(id).unwrap()
}

pub(crate) fn payload(bytes: impl AsRef<[u8]>) -> Payload {
    Payload::new(bytes.as_ref().to_vec()).unwrap()
}

pub(crate) fn time(millis: u64) -> Time {
    Time::from_millis(millis)
}

pub(crate) fn create(name: &str) -> Operation {
    Operation::CreateSession { session: session(name), capabilities: Capabilities::none() }
}

pub(crate) fn command(
    name: &str,
    request_id: u64,
    lowest: u64,
    bytes: impl AsRef<[u8]>,
) -> Operation {
    Operation::Command {
        session: session(name),
        request_id: id(request_id),
        lowest_pending: id(lowest),
        payload: payload(bytes),
    }
}

pub(crate) fn acknowledge(name: &str, up_to: u64) -> Operation {
    Operation::Acknowledge(vec![Acknowledgement { session: session(name), up_to: id(up_to) }])
}

pub(crate) fn end(name: &str, reason: EndReason) -> Operation {
    Operation::EndSession { session: session(name), reason }
}

pub(crate) fn genesis(term: u64, seed: u8) -> Operation {
    Operation::Genesis(Genesis { term, seed: [seed; 32] })
}

pub(crate) fn settings(settings: Settings) -> Operation {
    Operation::Settings(settings.check().unwrap())
}

pub(crate) fn created(name: &str) -> Effect {
    Effect::SessionCreated { session: session(name) }
}

pub(crate) fn answered(name: &str, request_id: u64, answer: Answer) -> Effect {
    Effect::Answered { session: session(name), request_id: id(request_id), answer }
}

pub(crate) fn executed(name: &str, request_id: u64, bytes: impl AsRef<[u8]>) -> Effect {
    answered(name, request_id, Answer::Executed(payload(bytes)))
}

pub(crate) fn rejected(name: &str, request_id: u64) -> Effect {
    answered(name, request_id, Answer::Rejected(Rejected::without_answer()))
}

pub(crate) fn rejected_because(name: &str, request_id: u64, reason: &'static str) -> Effect {
    let rejected = Rejected::without_answer().because(reason);
    answered(name, request_id, Answer::Rejected(rejected))
}

pub(crate) fn pushed(name: &str, request_id: u64, bytes: impl AsRef<[u8]>) -> Effect {
    let request = ServerRequest { id: id(request_id), payload: payload(bytes) };
    Effect::Pushed { session: session(name), request }
}

pub(crate) fn ended(name: &str, end: SessionEnd) -> Effect {
    Effect::SessionEnded { session: session(name), end }
}

/// A state machine that counts indexes by itself.
pub(crate) struct Run<A> {
    pub(crate) machine: StateMachine<A>,
    pub(crate) now: u64,
}

impl<A: Application> Run<A> {
    pub(crate) fn new(application: A) -> Self {
        Self { machine: StateMachine::new(application), now: 1_000_000 }
    }

    /// With these sessions.
    pub(crate) fn with_sessions(application: A, names: &[&str]) -> Self {
        let mut run = Self::new(application);
        for name in names {
            assert_eq!(run.apply(create(name)), [created(name)]);
        }
        run
    }

    /// Applies the next entry, through its bytes.
    pub(crate) fn apply(&mut self, operation: Operation) -> Vec<Effect> {
        let bytes = Entry { time: time(self.now), operation }.encode();
        let entry = Entry::decode(&bytes).unwrap();
        let mut effects = Vec::new();
        self.machine.apply(self.machine.applied() + 1, &entry, &mut effects).unwrap();
        effects
    }

    pub(crate) fn command(
        &mut self,
        name: &str,
        request_id: u64,
        bytes: impl AsRef<[u8]>,
    ) -> Vec<Effect> {
        self.apply(command(name, request_id, 1, bytes))
    }

    /// What a query of this session is answered.
    pub(crate) fn query(&self, name: &str, bytes: impl AsRef<[u8]>) -> Vec<u8> {
        self.machine.query(&session(name), &payload(bytes)).unwrap().to_vec()
    }

    pub(crate) fn snapshot(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.machine.snapshot().write_to(&mut bytes).unwrap();
        bytes
    }

    /// The state after it went through a snapshot.
    pub(crate) fn restored(&self) -> Self {
        Self { machine: StateMachine::restore(&self.snapshot()[..]).unwrap(), now: self.now }
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns a proptest configuration with this many cases. A failure's seed is recorded beside the test.
pub(crate) fn cases(cases: u32) -> proptest::test_runner::Config {
    use proptest::test_runner::{Config, FileFailurePersistence};
    let beside = FileFailurePersistence::WithSource("proptest-regressions");
    Config { cases, failure_persistence: Some(Box::new(beside)), ..Default::default() }
}
