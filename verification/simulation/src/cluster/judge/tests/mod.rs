//! Histories by hand: one that keeps every rule, and for each rule one that breaks it.

mod broken;
mod history;

use std::time::Duration;

use bytes::Bytes;
use zraft_protocol::reserved;
use zraft_replica::{
    Boot, Change, ChangeStep, EntryBytes, EntryKind, LogEntry, PeerMessage, Role, SnapshotMeta,
    Timing, VoteKind,
};
use zraft_session::{Acknowledgement, EndReason, Operation};

use super::{Standing, held::longest, rules::Rule};
use broken::BROKEN;
use history::{History, id, info, request, session};

#[test]
fn every_rule_is_broken_by_a_history_and_by_nothing_else_in_it() {
    for rule in Rule::ALL {
        let breaks: Vec<_> = BROKEN.iter().filter(|(broken, _)| broken == rule).collect();
        assert!(!breaks.is_empty(), "no history breaks: {}", rule.sentence());
        for (_, break_it) in breaks {
            let mut history = History::serving();
            assert_eq!(history.violated(), None, "before: {}", rule.sentence());
            break_it(&mut history);
            assert_eq!(
                history.violated(),
                Some(rule.sentence()),
                "{:?}",
                history.judge.violation()
            );
        }
    }
}

#[test]
fn a_sound_history_breaks_no_rule_and_gives_each_an_occasion() {
    let mut history = History::serving();
    // Commands, a copy that is answered again, a rejected one, and server requests.
    history.command(1, 1, "a");
    history.say_command(1, 1, "a");
    history.tell_answer(1, 1);
    history.command(1, 2, "reject");
    history.command(1, 3, "push");
    history.judge.watch(history.at().now);
    history.tell_push(1, 1);
    history.say_ack(1, 1);
    let acknowledged = Acknowledgement { session: session("s1"), up_to: request(1) };
    history.run(Operation::Acknowledge(vec![acknowledged]));
    // A query that waits for an earlier command.
    history.say_command(1, 4, "b");
    history.say_query(1, "q1");
    history.judge.watch(history.at().now);
    history.run_command(1, 4, "b");
    history.tell_answer(1, 4);
    // The round begins later than the query came.
    history.rest(Duration::from_millis(1));
    history.round(1);
    // A command comes after it and runs before it is answered.
    history.command(1, 5, "c");
    history.say_command(1, 6, "d");
    history.tell_answer(1, 5);
    history.tell_query(1, "q1", 4);
    history.run_command(1, 6, "d");
    history.tell_answer(1, 6);
    // The session moves to another connection.
    history.resume(2, 1);
    history.say_keep_alive(2);
    history.tell_keep_alive(2);
    history.command(2, 7, "e");
    // A second session closes, and a third one expires.
    history.open(3, "s3");
    history.say_close(3);
    history.run(Operation::EndSession { session: session("s3"), reason: EndReason::Closed });
    history.disconnect(3);
    history.open(4, "s4");
    for _ in 0..1000 {
        history.rest(Duration::from_millis(100));
        history.say_keep_alive(2);
        history.tell_keep_alive(2);
    }
    history.run(Operation::EndSession { session: session("s4"), reason: EndReason::Expired });
    history.tell_expired(4);
    // A write takes half a second.
    let write = history.write_of(0, &[]);
    history.judge.writing(history.at(), 0, &write);
    history.rest_until(history.now + Duration::from_millis(500));
    history.judge.durable(history.at(), 0, write.number);
    // A settings entry, a snapshot, and a member that is restored from it.
    let settings = zraft_session::Settings { sessions: 10, ..Default::default() };
    history.run(Operation::Settings(settings.check().expect("valid")));
    let meta = history.snapshot();
    history.offer_snapshot(&meta);
    history.restore(2, &meta);
    // A process on a copied directory asks for votes, and is refused twice.
    history.copy(3, 1);
    let (last, commit) = Default::default();
    let ask =
        PeerMessage::VoteRequest { term: history.term, kind: VoteKind::PreVote, last, commit };
    history.judge.heard_copy(history.at(), 0, id(1), &ask);
    history.judge.refused(3, 0);
    history.judge.refused(3, 0);
    history.judge.ended(history.at(), 3);
    // A change of the members, and another leader.
    history.change(Change::Steps(vec![ChangeStep::AddLearner(id(3), info(4))]));
    history.change(Change::Steps(vec![ChangeStep::Update(id(0), info(0))]));
    history.configure_all();
    history.restart(1);
    history.elect(1);
    // A client is there before the leader serves.
    history.say_continue(5, 2);
    history.rest(Duration::from_millis(1));
    history.stand(0);
    history.serve();
    history.configure_all();
    history.tell_continued(5);
    history.command(5, 8, "f");
    history.say_members(5, "m");
    history.rest(Duration::from_millis(1));
    history.round(0);
    history.tell_members(5, "m", &[0, 1, 2, 4]);
    history.tell_members(5, reserved::MEMBERS_CHANGED, &[0, 1, 2, 4]);
    history.end();
    // The others have removed a member, which has ended.
    history.judge.ended(history.at(), 2);
    history.judge.called_removed(history.at().now, 2, 0);
    history.judge.called_removed(history.at().now, 2, 1);
    assert_eq!(history.violated(), None, "{:?}", history.judge.violation());
    let unchecked: Vec<_> =
        Rule::ALL.iter().filter(|rule| history.judge.checked(**rule) == 0).collect();
    assert!(unchecked.is_empty(), "these rules had no occasion: {unchecked:?}");
}

#[test]
fn an_interrupted_write_may_be_on_the_disk_or_not() {
    for kept in [true, false] {
        let mut history = History::serving();
        let entry = history.entry(Operation::Tick);
        let before = history.boot(1);
        let write = history.write_of(1, &[entry]);
        history.judge.writing(history.at(), 1, &write);
        history.judge.ended(history.at(), 1);
        let mut boot = before;
        if kept {
            boot.entries.extend(write.entries);
            boot.hard_state = write.hard_state;
        }
        history.start(1, &boot);
        assert_eq!(history.violated(), None, "kept {kept}: {:?}", history.judge.violation());
    }
}

#[test]
fn a_leader_elected_late_by_old_votes_lacks_what_later_terms_have_committed() {
    let mut history = History::serving();
    let term = history.term;
    let entry = history.entry(Operation::Tick);
    history.propose(&entry);
    history.store(0, &entry);
    history.vote(1, term + 1, 2);
    history.vote(2, term + 1, 2);
    history.vote(0, term + 2, 0);
    history.vote(1, term + 2, 0);
    history.store(1, &entry);
    let (role, committed) = (Role::Leader, entry.index);
    *history.standing(0) = Standing { term: term + 2, role, committed, ..*history.standing(0) };
    history.stand(0);
    assert_eq!(history.violated(), None, "{:?}", history.judge.violation());
    *history.standing(2) = Standing { term: term + 1, role, ..*history.standing(2) };
    history.stand(2);
    let noop =
        LogEntry { term: term + 1, kind: EntryKind::Normal, data: EntryBytes::default(), ..entry };
    history.store(2, &noop);
    assert_eq!(history.violated(), None, "{:?}", history.judge.violation());
}

#[test]
fn what_a_lost_disk_had_still_counts_for_a_commit_and_is_not_missed() {
    let mut history = History::serving();
    let entry = history.entry(Operation::Tick);
    history.propose(&entry);
    history.store(0, &entry);
    history.store(1, &entry);
    history.judge.ended(history.at(), 1);
    history.judge.lost_disk(1);
    history.commit(entry.index);
    assert_eq!(history.violated(), None, "{:?}", history.judge.violation());
    let boot = Boot::of_joining_member();
    history.start(1, &boot);
    assert_eq!(history.violated(), None, "{:?}", history.judge.violation());
}

#[test]
fn a_leader_that_stood_still_for_a_second_grants_a_full_timeout() {
    let expire = || Operation::EndSession { session: session("s1"), reason: EndReason::Expired };
    for (stood_still, holds) in [(1000, false), (900, true)] {
        let mut history = History::serving();
        let timeout = Duration::from_secs(90);
        history.rest_until(history.now + timeout - Duration::from_millis(100));
        // The client was last heard when its session began: it is overdue unless the time does not count.
        history.now += Duration::from_millis(stood_still);
        let expiry = history.entry(expire());
        history.propose(&expiry);
        let expected = (!holds).then_some(Rule::NoFalseExpiry.sentence());
        assert_eq!(history.violated(), expected, "{stood_still} ms");
    }
}

#[test]
fn a_snapshot_without_a_session_is_noticed_by_whom_it_restores() {
    let mut history = History::serving();
    let meta = SnapshotMeta { configuration: history.configuration(), ..history.snapshot() };
    let mut view = history.view(2);
    view.sessions = zraft_session::Sessions::default();
    history.judge.restored(history.at(), 2, &meta, &view);
    assert_eq!(history.violated(), Some(Rule::StatesEqual.sentence()));
}

#[test]
fn a_leader_that_wakes_with_an_old_write_has_that_moment_to_give_leadership_away() {
    for yields in [true, false] {
        let mut history = History::serving();
        let write = history.write_of(0, &[]);
        history.judge.writing(history.at(), 0, &write);
        // It stands still meanwhile. What waited is judged before its replica says how it stands.
        history.now += Duration::from_secs(60);
        history.hear(1);
        history.hear(2);
        if yields {
            let standing = history.standing(0);
            (standing.role, standing.serving) = (Role::Follower, false);
        }
        history.stand(0);
        history.disconnect(1);
        assert_eq!(history.violated(), None, "yields {yields}: {:?}", history.judge.violation());
        history.rest(Duration::from_millis(1));
        let expected = (!yields).then_some(Rule::StallYields.sentence());
        assert_eq!(history.violated(), expected, "yields {yields}");
    }
}

#[test]
fn a_close_may_be_lost_only_if_the_leader_that_read_it_leads_no_more() {
    let mut history = History::serving();
    assert!(!history.judge.may_have_lost_close(&session("s1")), "it was not closed");
    history.say_close(1);
    assert!(!history.judge.may_have_lost_close(&session("s1")), "its reader leads");
    history.disconnect(1);
    history.restart(1);
    history.elect(1);
    history.serve();
    assert!(history.judge.may_have_lost_close(&session("s1")), "another member leads");
    history.elect(0);
    history.serve();
    assert!(history.judge.may_have_lost_close(&session("s1")), "its reader leads in a later term");
    assert_eq!(history.violated(), None, "{:?}", history.judge.violation());
}

#[test]
fn a_client_that_was_heard_after_the_timeout_became_shorter_has_only_that() {
    for (waits, holds) in [(3, false), (6, true)] {
        let mut history = History::serving();
        history.open(3, "s3");
        let settings =
            zraft_session::Settings { session_timeout_millis: 5000, ..Default::default() };
        history.run(Operation::Settings(settings.check().expect("valid")));
        history.say_keep_alive(3);
        history.tell_keep_alive(3);
        history.rest_until(history.now + Duration::from_secs(waits));
        let expire = Operation::EndSession { session: session("s3"), reason: EndReason::Expired };
        let expiry = history.entry(expire);
        history.propose(&expiry);
        let expected = (!holds).then_some(Rule::NoFalseExpiry.sentence());
        assert_eq!(history.violated(), expected, "{waits} s");
    }
}

#[test]
fn a_session_message_is_never_held_for_more_than_4_s() {
    let timing =
        |seconds| Timing { election_max: Duration::from_secs(seconds), ..Timing::default() };
    assert_eq!(longest(&timing(1)), Duration::from_secs(2));
    assert_eq!(longest(&timing(60)), Duration::from_secs(4));
}

#[test]
fn commands_may_change_places_if_the_earlier_one_came_on_another_connection() {
    let mut history = History::serving();
    history.say_command(1, 1, "a");
    history.say_command(1, 3, "c");
    // The leader may have dropped the first with its connection, and the third may be in the log.
    history.resume(2, 1);
    history.say_command(2, 1, "a");
    history.say_command(2, 2, "b");
    history.say_command(2, 3, "c");
    history.run_command(2, 3, "c");
    history.run_command(2, 2, "b");
    history.run_command(2, 1, "a");
    assert_eq!(history.violated(), None, "{:?}", history.judge.violation());
}

#[test]
fn a_query_may_be_overtaken_while_something_before_it_holds_it_up() {
    let mut history = History::serving();
    history.say_query(1, "q");
    // No round has begun.
    history.command(1, 1, "a");
    history.command(1, 2, "b");
    assert_eq!(history.violated(), None, "{:?}", history.judge.violation());
    history.round(1);
    history.command(1, 3, "c");
    history.tell_query(1, "q", 3);
    assert_eq!(history.violated(), None, "{:?}", history.judge.violation());
}

#[test]
fn a_leader_that_became_the_only_voter_after_it_stood_still_needs_no_round() {
    let mut history = History::serving();
    history.change(Change::Steps(vec![ChangeStep::Remove(id(2))]));
    history.configure_all();
    history.rest(Duration::from_millis(100));
    history.now += Duration::from_millis(301);
    history.stand(0);
    history.change(Change::Steps(vec![ChangeStep::Remove(id(1))]));
    history.configure_all();
    history.say_keep_alive(1);
    history.tell_keep_alive(1);
    assert_eq!(history.violated(), None, "{:?}", history.judge.violation());
}
