//! Any log at all, applied on two members, one of which is restored from a snapshot anywhere.

use std::ops::Range;

use proptest::{collection::vec, prelude::*};
use zraft_session::{
    Acknowledgement, Application, Effect, EndReason, Entry, Operation, Settings, StateMachine,
    applications::{AppendLog, Bank, Echo, KvStore, bank},
};

use crate::{
    probe::Probe,
    support::{acknowledge, command, create, end, genesis, id, session, settings, time},
};

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

fn name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&NAMES[..])
}

/// Payloads that the application under test understands, and some that none does.
fn log<P: Strategy<Value = Vec<u8>>>(payloads: P) -> impl Strategy<Value = Vec<Entry>> {
    let small = settings(Settings {
        sessions: 3,
        cached_answers: 3,
        server_requests: 2,
        total_server_requests: 5,
        payload_bytes: 60,
        application_level: 0,
        ..Settings::default()
    });
    let reasons =
        prop::sample::select(vec![EndReason::Closed, EndReason::Expired, EndReason::Removed]);
    let operation = prop_oneof![
        3 => name().prop_map(create),
        20 => (name(), 0_u64..20, 0_u64..20, payloads)
            .prop_map(|(name, id, lowest, bytes)| command(name, id, lowest, bytes)),
        3 => vec((name(), 0_u64..6), 0..4).prop_map(|each| {
            let each = each.into_iter().map(|(name, up_to)| {
                Acknowledgement { session: session(name), up_to: id(up_to) }
            });
            Operation::Acknowledge(each.collect())
        }),
        2 => (name(), reasons).prop_map(|(name, reason)| end(name, reason)),
        1 => (0_u64..9, any::<u8>()).prop_map(|(term, seed)| genesis(term, seed)),
        1 => Just(Operation::Tick),
        1 => prop_oneof![Just(small), Just(settings(Settings::default()))],
    ];
    // Times that fall are part of it.
    vec((0_u64..1_000_000, operation), 0..60).prop_map(|entries| {
        let entries = entries.into_iter();
        entries.map(|(millis, operation)| Entry { time: time(millis), operation }).collect()
    })
}

fn apply<A: Application>(
    machine: &mut StateMachine<A>,
    log: &[Entry],
    range: Range<usize>,
) -> Vec<Vec<Effect>> {
    let mut all = Vec::new();
    for at in range {
        let mut effects = Vec::new();
        machine.apply(at as u64 + 1, &log[at], &mut effects).unwrap();
        all.push(effects);
    }
    all
}

/// A member that applies the whole log, and one that restarts from a snapshot in the middle of it.
fn check<A: Application>(
    new: impl Fn() -> A,
    log: &[Entry],
    at: usize,
) -> Result<StateMachine<A>, TestCaseError> {
    let at = at.min(log.len());
    let mut straight = StateMachine::new(new());
    let mut before = apply(&mut straight, log, 0..at);
    let mut file = Vec::new();
    let summary = straight.snapshot().write_to(&mut file).unwrap();
    prop_assert_eq!(straight.state_hash().unwrap(), summary.hash);

    let mut restarted = StateMachine::<A>::restore(&file[..]).unwrap();
    prop_assert_eq!(restarted.state_hash().unwrap(), summary.hash);
    let after = apply(&mut straight, log, at..log.len());
    prop_assert_eq!(&apply(&mut restarted, log, at..log.len()), &after);
    prop_assert_eq!(restarted.state_hash().unwrap(), straight.state_hash().unwrap());
    prop_assert_eq!(restarted.history_hash(), straight.history_hash());
    prop_assert_eq!(restarted.next_tick(), straight.next_tick());

    // A member that was never interrupted, entry by entry through their bytes.
    let mut other = StateMachine::new(new());
    let read: Vec<_> = log.iter().map(|entry| Entry::decode(&entry.encode()).unwrap()).collect();
    before.extend(after);
    prop_assert_eq!(apply(&mut other, &read, 0..read.len()), before);
    prop_assert_eq!(other.state_hash().unwrap(), straight.state_hash().unwrap());
    check_totals(&straight)?;
    Ok(straight)
}

/// Totals are sums, and the counts of a session are those of its tables.
fn check_totals<A: Application>(machine: &StateMachine<A>) -> Result<(), TestCaseError> {
    let mut sum = zraft_session::Totals::default();
    for (_, session) in machine.sessions().iter() {
        sum.cached_answers += session.cached_answers();
        sum.cached_bytes += session.cached_bytes();
        sum.server_requests += session.unacknowledged();
        sum.server_request_bytes += session.unacknowledged_bytes();
        let unacknowledged = session.last_server_request().get() - session.acknowledged().get();
        prop_assert_eq!(session.unacknowledged(), unacknowledged);
        let redelivered: Vec<_> = session.redelivery().collect();
        prop_assert_eq!(redelivered.len() as u64, unacknowledged);
        let bytes = redelivered.iter().map(|request| request.payload.len() as u64).sum::<u64>();
        prop_assert_eq!(session.unacknowledged_bytes(), bytes);
    }
    prop_assert_eq!(machine.sessions().totals(), sum);
    Ok(())
}

fn probe_steps() -> impl Strategy<Value = Vec<u8>> {
    let step = prop_oneof![
        (name(), "[x-z]{0,5}").prop_map(|(name, text)| format!("push {name} {text}")),
        (name(), "[x-z]{0,5}").prop_map(|(name, text)| format!("try {name} {text}")),
        name().prop_map(|name| format!("end {name}")),
        name().prop_map(|name| format!("has {name}")),
        (0_u64..100_000).prop_map(|millis| format!("tick {millis}")),
        prop::sample::select(vec![
            "random",
            "time",
            "index",
            "level",
            "reject",
            "refuse no",
            "onend push a bye",
            "onend end b,push c x,try d y",
            "onend random",
        ])
        .prop_map(str::to_owned),
    ];
    prop_oneof![
        9 => vec(step, 0..4).prop_map(|steps| steps.join(";").into_bytes()),
        1 => Just(vec![0xff, 0xfe]),
    ]
}

fn kv_payloads() -> impl Strategy<Value = Vec<u8>> {
    let key = || prop::sample::select(vec!["k", "key", "längerer Schlüssel"]);
    prop_oneof![
        6 => (key(), "[a-z]{1,9}").prop_map(|(key, value)| {
            let (key, value) = (key.try_into().unwrap(), value.try_into().unwrap());
            zraft_kv::Command::Set { key, value }.encode().to_vec()
        }),
        3 => key().prop_map(|key| {
            zraft_kv::Command::Watch { key: key.try_into().unwrap() }.encode().to_vec()
        }),
        1 => vec(any::<u8>(), 0..20),
    ]
}

fn bank_payloads() -> impl Strategy<Value = Vec<u8>> {
    let account = || 1_u64..5;
    prop_oneof![
        3 => (account(), 0_u64..100).prop_map(|(account, deposit)| {
            bank::Request::Open { account, deposit }.encode().to_vec()
        }),
        6 => (account(), account(), 0_u64..60).prop_map(|(from, to, amount)| {
            bank::Request::Transfer { from, to, amount }.encode().to_vec()
        }),
        1 => vec(any::<u8>(), 0..20),
    ]
}

proptest! {
    #![proptest_config(crate::support::cases(256))]

    #[test]
    fn log_of_the_probe_survives_a_snapshot_anywhere(log in log(probe_steps()), at in 0_usize..60) {
        check(Probe::default, &log, at)?;
    }

    #[test]
    fn log_of_the_key_value_store_survives_a_snapshot_anywhere(
        log in log(kv_payloads()), at in 0_usize..60,
    ) {
        check(KvStore::new, &log, at)?;
        check(|| KvStore::with_limit(1500), &log, at)?;
    }

    #[test]
    fn log_of_the_bank_survives_a_snapshot_anywhere_and_keeps_its_money(
        log in log(bank_payloads()), at in 0_usize..60,
    ) {
        let machine = check(Bank::new, &log, at)?;
        let balances = machine.application().balances().map(|(_, balance)| balance);
        prop_assert_eq!(balances.sum::<u64>(), machine.application().total());
    }

    #[test]
    fn log_of_the_append_log_survives_a_snapshot_anywhere(
        log in log(vec(any::<u8>(), 0..70)), at in 0_usize..60,
    ) {
        check(AppendLog::new, &log, at)?;
        check(|| AppendLog::with_limit(500), &log, at)?;
    }

    #[test]
    fn log_of_echo_survives_a_snapshot_anywhere(
        log in log(vec(any::<u8>(), 0..70)), at in 0_usize..60,
    ) {
        check(|| Echo, &log, at)?;
    }

    #[test]
    fn arbitrary_entries_never_panic(
        operations in vec(crate::entries::operation(), 0..40),
        times in vec(0..=i64::MAX as u64, 40),
    ) {
        let mut machine = StateMachine::new(Probe::default());
        for (index, (operation, millis)) in (1..).zip(operations.into_iter().zip(times)) {
            let entry = Entry { time: time(millis), operation };
            // An application level that the probe does not support is refused; the rest applies.
            let refused = machine.apply(index, &entry, &mut Vec::new()).is_err();
            prop_assert!(!refused || matches!(entry.operation, Operation::Settings(_)));
        }
        let mut file = Vec::new();
        let summary = machine.snapshot().write_to(&mut file).unwrap();
        let restored = StateMachine::<Probe>::restore(&file[..]).unwrap();
        prop_assert_eq!(restored.state_hash().unwrap(), summary.hash);
    }
}

#[test]
fn state_hash_depends_on_each_part_of_the_state() {
    let base = [create("a"), create("b"), command("a", 1, 1, "push b x")];
    let hash = |more: &[Operation]| {
        let mut machine = StateMachine::new(Probe::default());
        for (index, operation) in (1..).zip(base.iter().chain(more)) {
            let entry = Entry { time: time(5), operation: operation.clone() };
            machine.apply(index, &entry, &mut Vec::new()).unwrap();
        }
        (machine.state_hash().unwrap(), machine.history_hash())
    };
    let logs: [&[Operation]; 9] = [
        &[Operation::Tick],
        &[genesis(1, 1)],
        &[genesis(1, 2)],
        &[settings(Settings { sessions: 9, ..Settings::default() })],
        &[acknowledge("b", 1)],
        &[create("c")],
        &[end("b", EndReason::Closed)],
        &[command("a", 2, 1, "echo x")],
        &[command("a", 2, 2, "echo x")],
    ];
    let hashes: std::collections::BTreeSet<_> = logs.map(|log| hash(log).0).into();
    assert_eq!(hashes.len(), logs.len());
}

#[test]
fn history_hash_changes_with_every_entry() {
    let mut machine = StateMachine::new(Echo);
    let mut hashes = std::collections::BTreeSet::from([machine.history_hash()]);
    for index in [1, 2, 3, 7] {
        let entry = Entry { time: time(1), operation: Operation::Tick };
        machine.apply(index, &entry, &mut Vec::new()).unwrap();
        assert!(hashes.insert(machine.history_hash()), "{index}");
    }
}

#[test]
fn history_hash_tells_the_first_entry_on_which_members_disagree() {
    /// Answers differently from the third command on, as a faulty member might.
    fn histories(answers: [&str; 4]) -> Vec<zraft_session::HistoryHash> {
        let mut machine = StateMachine::new(Echo);
        let entry = |operation| Entry { time: time(1), operation };
        machine.apply(1, &entry(create("a")), &mut Vec::new()).unwrap();
        let mut hashes = Vec::new();
        for (id, answer) in (1..).zip(answers) {
            let index = machine.applied() + 1;
            machine.apply(index, &entry(command("a", id, 1, answer)), &mut Vec::new()).unwrap();
            hashes.push(machine.history_hash());
        }
        hashes
    }
    let (one, other) = (histories(["w", "x", "y", "z"]), histories(["w", "x", "Y", "z"]));
    let differs: Vec<_> = one.iter().zip(&other).map(|(one, other)| one != other).collect();
    assert_eq!(differs, [false, false, true, true]);
    assert_eq!(one, histories(["w", "x", "y", "z"]));
}
