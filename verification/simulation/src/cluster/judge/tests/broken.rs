//! For each rule, histories that break it.

use std::time::Duration;

use bytes::Bytes;
use zraft_protocol::{
    ClientMessage, Nonce, RejectionReason, ServerMessage, SessionCloseReason, reserved,
};
use zraft_replica::{
    Change, ChangeStep, Configuration, ConnectionId, EntryBytes, EntryKind, HardState, LogEntry,
    MemberInfo, PeerMessage, Role, SnapshotMeta, VoteKind, Write,
};
use zraft_session::{Acknowledgement, Effect, EndReason, Operation, ServerRequest, Sessions};

use super::{
    super::{super::Program, Applied, Executed, rules::Rule},
    history::{History, PROGRAM, id, info, payload, request, session},
};

type Breaks = fn(&mut History);

pub(super) const BROKEN: &[(Rule, Breaks)] = &[
    (Rule::OneLeader, |history| {
        let beat = PeerMessage::Heartbeat { term: history.term, commit: 0, round: None };
        history.judge.sent(history.at(), 1, id(2), &beat);
    }),
    (Rule::NeverBack, |history| {
        history.standing(1).term -= 1;
        history.stand(1);
    }),
    (Rule::NeverBack, |history| {
        let hard_state = HardState { term: history.term - 1, vote: None, commit: 1 };
        let write = Write { hard_state, ..history.write_of(1, &[]) };
        history.write(1, &write);
    }),
    (Rule::VotesOnce, |history| history.vote(1, history.term, 2)),
    (Rule::VotesAnswered, |history| {
        for _ in 0..10 {
            history.now += Duration::from_millis(100);
            history.stand(1);
        }
        let (term, kind) = (history.term + 1, VoteKind::PreVote);
        let (last, commit) = Default::default();
        let ask = PeerMessage::VoteRequest { term, kind, last, commit };
        history.judge.heard(history.at(), 1, id(2), &ask);
        history.now += Duration::from_millis(1);
        history.stand(1);
    }),
    (Rule::DisksKeep, |history| {
        let mut boot = history.boot(1);
        boot.entries.pop();
        history.judge.ended(history.at(), 1);
        history.start(1, &boot);
    }),
    (Rule::DisksKeep, |history| {
        let mut boot = history.boot(1);
        boot.hard_state.vote = None;
        history.judge.ended(history.at(), 1);
        history.start(1, &boot);
    }),
    (Rule::PromisesDurable, |history| {
        let (term, index, commit) = (history.term, history.last() + 1, 0);
        let stored = PeerMessage::AppendResponse { term, index, commit, rejected: None };
        history.judge.sent(history.at(), 1, id(0), &stored);
    }),
    (Rule::PromisesDurable, |history| {
        let (term, kind, commit) = (history.term + 1, VoteKind::Vote, Default::default());
        let vote = PeerMessage::VoteResponse { term, kind, granted: true, commit };
        history.judge.sent(history.at(), 1, id(2), &vote);
    }),
    (Rule::PromisesDurable, |history| {
        let (term, kind) = (history.term + 1, VoteKind::HandOver);
        let (last, commit) = Default::default();
        let ask = PeerMessage::VoteRequest { term, kind, last, commit };
        history.judge.sent(history.at(), 1, id(2), &ask);
    }),
    (Rule::PromisesDurable, |history| {
        let beat = PeerMessage::Heartbeat { term: history.term + 1, commit: 0, round: None };
        history.judge.sent(history.at(), 0, id(1), &beat);
    }),
    (Rule::LogsMatch, |history| {
        let entry = history.entry(Operation::Tick);
        history.propose(&entry);
        history.propose(&LogEntry { data: EntryBytes::default(), ..entry });
    }),
    (Rule::CommittedDurable, |history| {
        let entry = history.entry(Operation::Tick);
        history.propose(&entry);
        history.store(0, &entry);
        history.commit(entry.index);
    }),
    (Rule::CommittedStays, |history| {
        let index = history.last();
        let other = LogEntry { index, ..history.raw(EntryKind::Normal, Bytes::new()) };
        history.store(1, &LogEntry { term: history.term + 1, ..other });
    }),
    (Rule::CommittedStays, |history| {
        let entries = history.log_from(history.last() - 2);
        history.store(1, &entries[0]);
    }),
    (Rule::LeaderComplete, |history| {
        let entry = history.entry(Operation::Tick);
        history.propose(&entry);
        history.store(0, &entry);
        history.store(1, &entry);
        history.commit(entry.index);
        history.vote(2, history.term + 1, 2);
        *history.standing(2) = super::super::Standing {
            term: history.term + 1,
            role: Role::Leader,
            ..*history.standing(2)
        };
        history.stand(2);
    }),
    (Rule::NotSentAgain, |history| {
        let entries = history.log_from(history.last());
        history.propose(&entries[0]);
    }),
    (Rule::StallYields, |history| {
        let write = history.write_of(0, &[]);
        history.judge.writing(history.at(), 0, &write);
        history.rest_until(history.now + Duration::from_secs(3));
    }),
    (Rule::HandsOverFirst, |history| {
        let change = Change::Steps(vec![ChangeStep::Remove(id(0))]);
        history.propose(&history.raw(EntryKind::Change, change.encode()));
    }),
    (Rule::HandsOverFirst, |history| {
        let add = ChangeStep::AddLearner(id(3), info(3));
        let change = Change::Steps(vec![ChangeStep::Remove(id(0)), add]);
        history.propose(&history.raw(EntryKind::Change, change.encode()));
    }),
    (Rule::QuorumsMeet, |history| {
        let replace = |old, new| {
            let add = ChangeStep::AddLearner(id(new), info(new));
            Change::Steps(vec![ChangeStep::Remove(id(old)), add])
        };
        history.change(replace(2, 3));
        history.change(replace(1, 4));
    }),
    (Rule::ConfigurationFollows, |history| {
        let other = Configuration::of_voters([(id(0), info(0))]);
        history.judge.configuration(history.at(), 1, &other);
    }),
    (Rule::ConfigurationFollows, |history| {
        let change = Change::Steps(vec![ChangeStep::AddLearner(id(3), info(3))]);
        history.change(change.clone());
        // Its disk does not say yet that the change is committed.
        history.judge.configuration(history.at(), 1, &history.configuration().after(&change));
    }),
    (Rule::RemovedStays, |history| {
        history.change(Change::Steps(vec![ChangeStep::Remove(id(2))]));
        // It may be elected, because it need not know yet that this is committed.
        history.elect(2);
        assert_eq!(history.violated(), None);
        history.serve();
    }),
    (Rule::RemovedStays, |history| {
        history.change(Change::Steps(vec![ChangeStep::Remove(id(2))]));
        let write = history.write_of(2, &[]);
        history.write(2, &write);
        let configuration =
            history.configuration().after(&Change::Steps(vec![ChangeStep::Remove(id(2))]));
        history.judge.configuration(history.at(), 2, &configuration);
        history.elect(2);
    }),
    (Rule::RemovedStays, |history| {
        history.change(Change::Steps(vec![ChangeStep::Remove(id(2))]));
        history.change(Change::Steps(vec![ChangeStep::AddLearner(id(2), info(2))]));
    }),
    (Rule::RemovedStays, |history| {
        let change = Change::Steps(vec![ChangeStep::Remove(id(2))]);
        history.change(change.clone());
        let write = history.write_of(2, &[]);
        history.write(2, &write);
        let configuration = history.configuration().after(&change);
        history.judge.configuration(history.at(), 2, &configuration);
        history.now += Duration::from_millis(1);
        history.stand(2);
        assert_eq!(history.violated(), None, "its vote may be needed");
        history.standing(2).role = Role::Candidate;
        history.stand(2);
    }),
    (Rule::RemovedEnds, |history| {
        history.judge.called_removed(history.at().now, 2, 0);
        history.now += Duration::from_millis(1);
        history.stand(2);
        assert_eq!(history.violated(), None, "it may be the only one that knows");
        history.judge.called_removed(history.at().now, 2, 1);
        history.now += Duration::from_millis(1);
        history.stand(2);
    }),
    (Rule::LevelsRise, |history| {
        let old = MemberInfo { feature_level: 0, ..info(1) };
        history.change(Change::Steps(vec![ChangeStep::Update(id(1), old)]));
    }),
    (Rule::LevelsKnown, |history| {
        let features = PROGRAM.features + 1;
        let unknown = MemberInfo { feature_level: features, ..info(0) };
        history.change(Change::Steps(vec![ChangeStep::Update(id(0), unknown)]));
    }),
    (Rule::LevelsKnown, |history| {
        let application_level = PROGRAM.application + 1;
        let settings = zraft_session::Settings { application_level, ..Default::default() };
        history.run(Operation::Settings(settings.check().expect("valid")));
    }),
    (Rule::LevelsKnown, |history| {
        let application_level = PROGRAM.application;
        let settings = zraft_session::Settings { application_level, ..Default::default() };
        history.run(Operation::Settings(settings.check().expect("valid")));
        history.change(Change::Steps(vec![ChangeStep::AddLearner(id(3), info(3))]));
        history.judge.programs.insert(id(3), Program { application: 0, ..PROGRAM });
        history.change(Change::Steps(vec![ChangeStep::Promote(id(3))]));
    }),
    (Rule::CopyApart, |history| {
        history.copy(3, 1);
        let leads = super::super::Standing {
            term: history.term + 1,
            role: Role::Leader,
            ..*history.standing(1)
        };
        history.judge.standing(history.at(), 3, leads);
    }),
    (Rule::CopyApart, |history| {
        history.copy(3, 1);
        let (term, index, commit) = (history.term, history.last(), 0);
        let stored = PeerMessage::AppendResponse { term, index, commit, rejected: None };
        history.judge.heard_copy(history.at(), 0, id(1), &stored);
    }),
    (Rule::RefusedStays, |history| {
        history.copy(3, 1);
        history.judge.refused(3, 0);
        history.judge.acquainted(0, 3);
    }),
    (Rule::SnapshotNames, |history| {
        let meta = history.snapshot();
        let stranger = Configuration::of_voters([(id(0), info(0))]);
        history.offer_snapshot(&SnapshotMeta { configuration: stranger, ..meta });
    }),
    (Rule::SnapshotCovered, |history| {
        let record = Some(SnapshotMeta { index: history.last() + 1, ..history.snapshot() });
        let write = Write { record, ..history.write_of(1, &[]) };
        history.judge.writing(history.at(), 1, &write);
    }),
    (Rule::AppliesCommitted, |history| {
        // It passes over an entry.
        history.append_unapplied(Operation::Tick);
        let mut view = history.view(1);
        view.applied += 1;
        history.judge.reached(history.at(), 1, &view);
    }),
    (Rule::AppliesCommitted, |history| {
        // It applies another entry than the committed one.
        let entry = history.append_unapplied(Operation::Tick);
        let other = Operation::EndSession { session: session("s9"), reason: EndReason::Closed };
        let other = LogEntry { index: entry.index, ..history.entry(other) };
        history.apply_entry(1, &other, |_, _| {});
    }),
    (Rule::AppliesCommitted, |history| {
        // It applies an entry twice.
        let entry = history.append_unapplied(Operation::Tick);
        history.apply_entry(1, &entry, |_, _| {});
        let (view, executed, effects) = (&history.view(1), &[], &[]);
        let applied = Applied { entry: &entry, executed, effects, view };
        history.judge.applied(history.at(), 1, applied);
    }),
    (Rule::StatesEqual, |history| {
        let meta = history.snapshot();
        history.judge.snapshot(history.at(), 2, meta.index, [9; 16]);
    }),
    (Rule::StatesEqual, |history| {
        let entry = history.append_unapplied(Operation::Tick);
        history.apply_entry(0, &entry, |_, _| {});
        let other = history.view(2).history;
        history.apply_entry(1, &entry, |view, _| view.history = other);
    }),
    (Rule::StatesEqual, |history| {
        let mut view = history.view(1);
        view.sessions = Sessions::default();
        history.judge.reached(history.at(), 1, &view);
    }),
    (Rule::TimeRises, |history| {
        history.run(Operation::Tick);
        history.now -= Duration::from_millis(10);
        history.run(Operation::Tick);
    }),
    (Rule::TimeRises, |history| {
        history.now += Duration::from_millis(10);
        let entry = history.append_unapplied(Operation::Tick);
        let before = history.view(0).time;
        history.apply_entry(0, &entry, |view, _| view.time = before);
    }),
    (Rule::TimeHeld, |history| {
        let entry = history.entry_ahead(Operation::Tick, Duration::from_secs(60));
        history.propose(&entry);
    }),
    (Rule::TimeFollows, |history| {
        // It starts a minute after the last time of its log, which says nothing of the time now.
        history.rest_until(history.now + Duration::from_secs(60));
        history.restart(1);
        history.elect(1);
        let entry = history.entry_behind(Operation::Tick, Duration::from_secs(50));
        history.propose(&entry);
    }),
    (Rule::SettingsFirst, |history| {
        *history = History::without_settings();
        history.open(1, "s1");
    }),
    (Rule::SettingsFollow, |history| {
        let settings = zraft_session::Settings { sessions: 10, ..Default::default() };
        let settings = Operation::Settings(settings.check().expect("valid"));
        let entry = history.append_unapplied(settings);
        history.apply_entry(0, &entry, |view, _| view.settings = Default::default());
    }),
    (Rule::OneEntry, |history| {
        history.command(1, 1, "a");
        history.run_command(1, 1, "a");
    }),
    (Rule::OneEntry, |history| {
        history.say_close(1);
        history.run(Operation::EndSession { session: session("s1"), reason: EndReason::Closed });
        history.run_command(1, 1, "a");
    }),
    (Rule::RunsOnce, |history| {
        history.say_command(1, 1, "a");
        let entry = history.append_unapplied(history.command_of(1, 1, "a"));
        let (session, request, payload) = (session("s1"), request(1), payload("a"));
        let run = Executed { session, request, payload };
        let mut effects = Vec::new();
        let mut view = history.view(0);
        let twin = &mut History::serving();
        twin.say_command(1, 1, "a");
        let same = twin.append_unapplied(twin.command_of(1, 1, "a"));
        twin.apply_entry(0, &same, |after, caused| {
            (view, effects) = (after.clone(), caused.clone());
        });
        let executed = &[run.clone(), run];
        let applied = Applied { entry: &entry, executed, effects: &effects, view: &view };
        history.judge.applied(history.at(), 0, applied);
    }),
    (Rule::RunsOnce, |history| {
        history.say_command(1, 1, "a");
        let entry = history.append_unapplied(history.command_of(1, 1, "a"));
        history.apply_entry(0, &entry, |_, effects| effects.clear());
    }),
    (Rule::OnlyAsked, |history| history.run_command(1, 1, "a")),
    (Rule::OnlyAsked, |history| {
        history.say_command(1, 1, "a");
        history.run_command(1, 1, "b");
    }),
    (Rule::SessionsKept, |history| {
        let entry = history.append_unapplied(Operation::Tick);
        history.apply_entry(0, &entry, |view, _| view.sessions = Sessions::default());
    }),
    (Rule::EndsForReason, |history| {
        history.run(Operation::EndSession { session: session("s1"), reason: EndReason::Closed });
    }),
    (Rule::EndsForReason, |history| {
        history.run(Operation::EndSession { session: session("s1"), reason: EndReason::Abandoned });
    }),
    (Rule::EndsForReason, |history| {
        history.run(Operation::EndSession { session: session("s1"), reason: EndReason::Removed });
    }),
    (Rule::NoFalseExpiry, |history| {
        history.rest_until(history.now + Duration::from_secs(60));
        history.say_keep_alive(1);
        history.rest_until(history.now + Duration::from_secs(60));
        history.run(Operation::EndSession { session: session("s1"), reason: EndReason::Expired });
    }),
    (Rule::NoFalseExpiry, |history| {
        // A new leader has never heard the client.
        history.rest_until(history.now + Duration::from_secs(60));
        history.elect(1);
        history.serve();
        history.rest_until(history.now + Duration::from_secs(60));
        history.run(Operation::EndSession { session: session("s1"), reason: EndReason::Expired });
    }),
    (Rule::AcksBounded, |history| {
        history.command(1, 1, "push");
        history.say_ack(1, 1);
        let ack = Acknowledgement { session: session("s1"), up_to: request(1) };
        history.run(Operation::Acknowledge(vec![ack]));
    }),
    (Rule::AcksBounded, |history| {
        history.command(1, 1, "push");
        history.tell_push(1, 1);
        let ack = Acknowledgement { session: session("s1"), up_to: request(1) };
        history.run(Operation::Acknowledge(vec![ack]));
    }),
    (Rule::AcksBatched, |history| {
        for _ in 0..3 {
            history.run(Operation::Acknowledge(Vec::new()));
        }
    }),
    (Rule::AcksBatched, |history| {
        // Long quiet, and then all at once.
        history.rest_until(history.now + Duration::from_secs(10));
        for _ in 0..40 {
            history.run(Operation::Acknowledge(Vec::new()));
        }
    }),
    (Rule::CommandsInOrder, |history| {
        history.say_command(1, 1, "a");
        history.say_command(1, 2, "b");
        history.run_command(1, 2, "b");
    }),
    (Rule::CommandsInOrder, |history| {
        // Both come again on another connection of the same leader, and a third one with them.
        history.say_command(1, 1, "a");
        history.resume(2, 1);
        history.say_command(2, 2, "b");
        history.say_command(2, 3, "c");
        history.run_command(2, 3, "c");
    }),
    (Rule::PushesNumbered, |history| {
        let entry = history.append_unapplied(Operation::Tick);
        history.apply_entry(0, &entry, |_, effects| {
            let (session, payload) = (session("s1"), payload("pushed"));
            effects.push(Effect::Pushed {
                session,
                request: ServerRequest { id: request(2), payload },
            });
        });
    }),
    (Rule::HeldInTime, |history| {
        history.elect(1);
        history.connect(2);
        history.say_create(2);
        history.rest_until(history.now + Duration::from_millis(1_200));
    }),
    (Rule::HeldServed, |history| {
        history.elect(1);
        history.say_continue(2, 1);
        history.serve();
        history.rest(Duration::from_millis(1));
    }),
    (Rule::ServesLeading, |history| {
        // A follower answers.
        history.judge.connected(history.at(), 1, ConnectionId(9));
        let nonce = Nonce::new(9).expect("not 0");
        let ask = ClientMessage::ContinueSession { session_id: session("s1"), nonce };
        history.judge.client_said(history.at(), 1, ConnectionId(9), &ask);
        let told = ServerMessage::SessionContinued { nonce };
        history.judge.told_client(history.at(), 1, ConnectionId(9), &told);
    }),
    (Rule::ServesLeading, |history| {
        // It leads and serves before it has applied the first entry of its term.
        history.elect(1);
        let index = history.last() - 1;
        *history.standing(1) =
            super::super::Standing { serving: true, known: index, ..*history.standing(1) };
        let standing = *history.standing(1);
        history.judge.standing(history.at(), 1, standing);
        history.connect(2);
        history.say_create(2);
        history.tell_rejected(2, RejectionReason::Other);
    }),
    (Rule::CutOffSilent, |history| {
        for _ in 0..8 {
            history.now += Duration::from_millis(100);
            history.stand(0);
        }
        history.say_keep_alive(1);
        history.tell_keep_alive(1);
    }),
    (Rule::ProofFirst, |history| {
        history.rest(Duration::from_millis(100));
        history.now += Duration::from_millis(301);
        history.say_keep_alive(1);
        history.tell_keep_alive(1);
    }),
    (Rule::FarewellTold, |history| {
        history.standing(0).serving = false;
        history.stand(0);
        history.rest(Duration::from_millis(1));
    }),
    (Rule::AnswersCommitted, |history| {
        history.say_command(1, 1, "a");
        history.tell_length(1, 1, 0);
    }),
    (Rule::AnswersCommitted, |history| {
        history.command(1, 1, "a");
        history.tell_length(1, 1, 7);
    }),
    (Rule::UnknownOnly, |history| {
        history.command(1, 1, "a");
        history.tell_evicted(1, 1);
    }),
    (Rule::SessionsConfirmed, |history| history.tell_created(1, "s1")),
    (Rule::SessionsConfirmed, |history| {
        history.connect(2);
        history.say_create(2);
        history.tell_created(2, "s1");
    }),
    (Rule::SessionsConfirmed, |history| {
        history.connect(2);
        history.tell_keep_alive(2);
    }),
    (Rule::SessionsConfirmed, |history| {
        history.say_close(1);
        history.run(Operation::EndSession { session: session("s1"), reason: EndReason::Closed });
        history.resume(2, 1);
    }),
    (Rule::ExpiryCommitted, |history| {
        history.tell_closed(1, SessionCloseReason::SessionExpired);
    }),
    (Rule::ExpiryCommitted, |history| {
        let nonce = Nonce::new(102).expect("not 0");
        history.connect(2);
        history.say(2, &ClientMessage::ContinueSession { session_id: session("s1"), nonce });
        history.tell_rejected(2, RejectionReason::SessionExpired);
    }),
    (Rule::ReadsFresh, |history| {
        history.command(1, 1, "a");
        history.say_query(1, "q");
        history.round(1);
        history.tell_query(1, "q", 0);
    }),
    (Rule::ReadsFresh, |history| history.tell_query(1, "q", 0)),
    (Rule::ReadsProven, |history| {
        history.round(1);
        history.rest(Duration::from_millis(1));
        history.say_query(1, "q");
        history.tell_query(1, "q", 0);
    }),
    (Rule::ReadsProven, |history| {
        // Its round has the number of an earlier one.
        history.round(1);
        history.rest(Duration::from_millis(1));
        history.say_query(1, "q");
        history.round(1);
        history.tell_query(1, "q", 0);
    }),
    (Rule::ReadsProven, |history| {
        history.connect(2);
        let nonce = Nonce::new(102).expect("not 0");
        history.say(2, &ClientMessage::ContinueSession { session_id: session("s9"), nonce });
        history.tell_rejected(2, RejectionReason::SessionExpired);
    }),
    (Rule::ReadsOwn, |history| {
        history.say_command(1, 1, "a");
        history.say_query(1, "q");
        history.tell_query(1, "q", 0);
    }),
    (Rule::ReadsOwn, |history| {
        history.say_command(1, 1, "a");
        history.say_query(1, "q");
        history.run_command(1, 1, "a");
        history.round(1);
        history.tell_query(1, "q", 0);
    }),
    (Rule::ReadsCommitted, |history| {
        history.say_query(1, "q");
        history.round(1);
        history.tell_query(1, "q", 1);
    }),
    (Rule::ReadsNotOvertaken, |history| {
        history.say_query(1, "q");
        history.rest(Duration::from_millis(1));
        history.round(1);
        history.command(1, 1, "a");
        history.command(1, 2, "b");
    }),
    (Rule::RequestsInOrder, |history| {
        history.command(1, 1, "push");
        history.command(1, 2, "push");
        history.tell_push(1, 2);
    }),
    (Rule::RequestsInOrder, |history| history.tell_push(1, 1)),
    (Rule::ListsAsked, |history| history.tell_members(1, reserved::MEMBERS_CHANGED, &[0, 1, 2])),
    (Rule::AnswerFirst, |history| {
        history.say_command(1, 1, "push");
        history.run_command(1, 1, "push");
        history.tell_push(1, 1);
    }),
    (Rule::NoEnd, |history| history.tell_closed(1, SessionCloseReason::Shutdown)),
    (Rule::NothingWaits, |history| {
        history.say_command(1, 1, "a");
        history.end();
    }),
    (Rule::NothingWaits, |history| {
        history.say_query(1, "q");
        history.end();
    }),
    (Rule::NothingWaits, |history| {
        history.connect(2);
        history.say_create(2);
        history.end();
    }),
    (Rule::RequestsReach, |history| {
        history.command(1, 1, "push");
        history.end();
    }),
    (Rule::ListsReach, |history| {
        history.say_members(1, "m");
        history.rest(Duration::from_millis(1));
        history.round(1);
        history.tell_members(1, "m", &[0, 1]);
        history.end();
    }),
    (Rule::Settles, |history| {
        history.standing(0).last_index += 1;
        history.end();
    }),
    (Rule::Settles, |history| {
        history.standing(0).serving = false;
        history.end();
    }),
    (Rule::RestsEqual, |history| {
        history.finish(|member, (state, _)| state[0] ^= u8::from(member == 2));
    }),
    (Rule::RestsEqual, |history| {
        history.finish(|member, (_, entries)| {
            if member == 1 {
                entries[0].data = Bytes::from_static(b"other").into();
            }
        });
    }),
    (Rule::RestsEqual, |history| {
        history.finish(|member, (_, entries)| {
            entries.truncate(entries.len() - usize::from(member == 1));
        });
    }),
];
