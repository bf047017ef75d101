use zraft_session::{QueryError, applications::AppendLog};

use crate::support::{Run, executed, payload, rejected_because, session};

/// The length of the log and the items that the answer holds.
fn read(run: &Run<AppendLog>, from: u64, count: u32) -> (u64, Vec<Vec<u8>>) {
    let query = [&from.to_be_bytes()[..], &count.to_be_bytes()].concat();
    let answer = run.query("a", query);
    let (length, mut rest) = answer.split_first_chunk::<8>().unwrap();
    let mut items = Vec::new();
    while let Some((size, more)) = rest.split_first_chunk::<4>() {
        let (item, more) = more.split_at(u32::from_be_bytes(*size) as usize);
        items.push(item.to_vec());
        rest = more;
    }
    assert!(rest.is_empty());
    (u64::from_be_bytes(*length), items)
}

#[test]
fn commands_are_answered_with_their_position_and_read_back_in_order() {
    let mut run = Run::with_sessions(AppendLog::new(), &["a", "b"]);
    assert_eq!(run.query("a", ""), 0_u64.to_be_bytes());
    assert_eq!(run.command("a", 1, "x"), [executed("a", 1, 0_u64.to_be_bytes())]);
    assert_eq!(run.command("b", 1, ""), [executed("b", 1, 1_u64.to_be_bytes())]);
    assert_eq!(run.command("a", 2, "yz"), [executed("a", 2, 2_u64.to_be_bytes())]);
    assert_eq!(run.query("a", ""), 3_u64.to_be_bytes());
    assert_eq!(read(&run, 0, 100), (3, vec![b"x".to_vec(), vec![], b"yz".to_vec()]));
    assert_eq!(read(&run, 1, 1), (3, vec![vec![]]));
    assert_eq!(read(&run, 3, 9), (3, vec![]));
    assert_eq!(read(&run, u64::MAX, u32::MAX), (3, vec![]));
    assert_eq!(run.machine.application().iter().count(), 3);
}

#[test]
fn resend_appends_nothing() {
    let mut run = Run::with_sessions(AppendLog::new(), &["a"]);
    for _ in 0..3 {
        run.command("a", 1, "x");
    }
    assert_eq!(read(&run, 0, 100), (1, vec![b"x".to_vec()]));
}

#[test]
fn answer_holds_at_most_1_mib_of_items_but_at_least_one() {
    let mut run = Run::with_sessions(AppendLog::new(), &["a"]);
    let sizes = [2 << 20, 700_000, 300_000, 100_000];
    for (id, size) in (1..).zip(sizes) {
        run.command("a", id, vec![id as u8; size]);
    }
    let sizes_from = |from| read(&run, from, 9).1.iter().map(Vec::len).collect::<Vec<_>>();
    assert_eq!(sizes_from(0), [2 << 20]);
    assert_eq!(sizes_from(1), [700_000, 300_000]);
    assert_eq!(sizes_from(3), [100_000]);
}

#[test]
fn command_beyond_the_limit_is_rejected_and_a_restored_log_keeps_its_limit() {
    let mut run = Run::with_sessions(AppendLog::with_limit(140), &["a"]);
    run.command("a", 1, "123456");
    let mut run = run.restored();
    assert_eq!(
        run.command("a", 2, "1234567"),
        [rejected_because("a", 2, "the application is full")]
    );
    assert_eq!(run.command("a", 3, "123456"), [executed("a", 3, 1_u64.to_be_bytes())]);
    assert_eq!(run.machine.application().len(), 2);
}

#[test]
fn query_of_another_length_is_rejected() {
    let run = Run::with_sessions(AppendLog::new(), &["a"]);
    for length in [1, 7, 8, 11, 13] {
        let query = payload(vec![0; length]);
        let error = run.machine.query(&session("a"), &query).unwrap_err();
        assert!(matches!(error, QueryError::Rejected(_)), "{length}");
    }
}
