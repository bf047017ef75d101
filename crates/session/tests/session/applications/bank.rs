use zraft_session::{
    Answer, Effect, EndReason, QueryError, Rejected,
    applications::{
        Bank,
        bank::{Failure, Notice, Question, Reply, Request},
    },
};

use crate::support::{Run, answered, end, executed, pushed, session};

fn open(account: u64, deposit: u64) -> Request {
    Request::Open { account, deposit }
}

fn transfer(from: u64, to: u64, amount: u64) -> Request {
    Request::Transfer { from, to, amount }
}

fn done(name: &str, id: u64, balance: u64) -> Effect {
    executed(name, id, &Reply::Done { balance }.encode()[..])
}

fn failed(name: &str, id: u64, failure: Failure) -> Effect {
    answered(name, id, Answer::Rejected(Rejected::with_answer(Reply::Failed(failure).encode())))
}

fn ask(run: &Run<Bank>, question: Question) -> u64 {
    let answer = run.query("a", &question.encode()[..]);
    u64::from_be_bytes(answer.try_into().unwrap())
}

/// Account 1 of session a holds 100, account 2 of session b holds 10.
fn two_accounts() -> Run<Bank> {
    let mut run = Run::with_sessions(Bank::new(), &["a", "b"]);
    assert_eq!(run.command("a", 1, &open(1, 100).encode()[..]), [done("a", 1, 100)]);
    assert_eq!(run.command("b", 1, &open(2, 10).encode()[..]), [done("b", 1, 10)]);
    run
}

#[test]
fn transfer_moves_money_once_and_notifies_the_receiver() {
    let mut run = two_accounts();
    let notice = Notice { from: 1, to: 2, amount: 30 };
    let command = transfer(1, 2, 30).encode();
    let effects = run.command("a", 2, &command[..]);
    assert_eq!(effects, [done("a", 2, 70), pushed("b", 1, &notice.encode()[..])]);
    let cached = Answer::Cached(Some(Reply::Done { balance: 70 }.encode()));
    assert_eq!(run.command("a", 2, &command[..]), [answered("a", 2, cached)]);
    assert_eq!(ask(&run, Question::Balance { account: 1 }), 70);
    assert_eq!(ask(&run, Question::Balance { account: 2 }), 40);
    assert_eq!(ask(&run, Question::Total), 110);
    assert_eq!(Notice::decode(&notice.encode()), Some(notice));
}

#[test]
fn transfer_that_cannot_be_done_changes_nothing_and_says_why() {
    let mut run = two_accounts();
    let failures = [
        (transfer(1, 2, 101), Failure::InvalidAmount),
        (transfer(1, 1, 5), Failure::InvalidAmount),
        (transfer(2, 1, 5), Failure::NotTheOwner),
        (transfer(3, 1, 5), Failure::NoAccount),
        (transfer(1, 3, 5), Failure::NoAccount),
        (open(1, 5), Failure::AccountExists),
        (open(9, u64::MAX), Failure::Full),
    ];
    for (id, (request, failure)) in (2..).zip(failures) {
        assert_eq!(run.command("a", id, &request.encode()[..]), [failed("a", id, failure)]);
    }
    assert_eq!(run.command("a", 20, "nonsense"), [failed("a", 20, Failure::NotACommand)]);
    assert_eq!(ask(&run, Question::Balance { account: 1 }), 100);
    assert_eq!(ask(&run, Question::Total), 110);
}

#[test]
fn account_of_a_session_that_ended_receives_and_does_not_pay() {
    let mut run = two_accounts();
    run.apply(end("b", EndReason::Expired));
    assert_eq!(run.command("a", 2, &transfer(1, 2, 5).encode()[..]), [done("a", 2, 95)]);
    let mut run = run.restored();
    let owner = failed("a", 3, Failure::NotTheOwner);
    assert_eq!(run.command("a", 3, &transfer(2, 1, 5).encode()[..]), [owner]);
    assert_eq!(run.machine.application().balance(2), Some(15));
}

#[test]
fn query_that_has_no_answer_is_rejected_with_the_reason() {
    let run = two_accounts();
    let ask = |bytes: &[u8]| {
        let query = crate::support::payload(bytes);
        match run.machine.query(&session("a"), &query) {
            Err(QueryError::Rejected(rejected)) => Reply::decode(rejected.answer().unwrap()),
            other => panic!("{other:?}"),
        }
    };
    let unknown = ask(&Question::Balance { account: 9 }.encode());
    assert_eq!(unknown, Some(Reply::Failed(Failure::NoAccount)));
    assert_eq!(ask(b"nonsense"), Some(Reply::Failed(Failure::NotACommand)));
}

#[test]
fn payloads_decode_to_themselves_and_nothing_else_decodes() {
    for request in [open(1, u64::MAX), transfer(1, 2, 3)] {
        let bytes = request.encode();
        assert_eq!(Request::decode(&bytes), Some(request));
        assert_eq!(Request::decode(&bytes[..bytes.len() - 1]), None);
        assert_eq!(Request::decode(&[&bytes[..], &[0]].concat()), None);
    }
    for question in [Question::Balance { account: 7 }, Question::Total] {
        assert_eq!(Question::decode(&question.encode()), Some(question));
    }
    let failures = [
        Failure::NotACommand,
        Failure::NoAccount,
        Failure::AccountExists,
        Failure::NotTheOwner,
        Failure::InvalidAmount,
        Failure::Full,
    ];
    for reply in failures.map(Reply::Failed).into_iter().chain([Reply::Done { balance: 3 }]) {
        assert_eq!(Reply::decode(&reply.encode()), Some(reply));
    }
    for bytes in [&[][..], &[0], &[7], &[3, 0], &[255]] {
        assert_eq!((Request::decode(bytes), Question::decode(bytes)), (None, None));
        assert_eq!(Reply::decode(bytes), None);
    }
}
