//! What the committed log means: a second account of sessions and commands, kept entry by entry.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use zraft_core::Instant;
use zraft_protocol::{Payload, RequestId, SessionId};
use zraft_replica::{Boot, LogEntry, View};
use zraft_session::{
    Answer, CheckedSettings, Effect, EndReason, Entry, HistoryHash, Operation, SessionEnd, Time,
};

use super::{
    Applied, Executed,
    rules::{Rule, Verdict},
    session::{Ended, Outcome, Push, Session},
};

/// States that are remembered, one for each entry.
const MOST: usize = 1 << 17;

/// The state after an entry, as the first member that applied it had it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    history: HistoryHash,
    time: Time,
    settings: CheckedSettings,
    sessions: usize,
}

impl State {
    pub(super) fn of(view: &View) -> Self {
        Self {
            history: view.history,
            time: view.time,
            settings: view.settings.clone(),
            sessions: view.sessions.len(),
        }
    }
}

#[derive(Debug)]
pub(super) struct Ledger {
    /// The index of the first state.
    first: u64,
    states: VecDeque<State>,
    /// Commands that were executed and not rejected.
    pub(super) length: u64,
    pub(super) sessions: BTreeMap<SessionId, Session>,
    living: usize,
    time: Time,
    settings: CheckedSettings,
    /// Some entry has set them.
    set: bool,
    /// The number of executed commands that any client was told.
    pub(super) told_length: u64,
    pub(super) removals: BTreeSet<SessionId>,
}

/// What one entry must lead to, until an effect shows it.
enum Due<'a> {
    Nothing,
    Session(&'a SessionId),
    Command { session: &'a SessionId, request: RequestId, lowest: RequestId, payload: &'a Payload },
}

impl Ledger {
    pub(super) fn new() -> Self {
        Self {
            first: Boot::FIRST_SNAPSHOT,
            states: VecDeque::from([State::default()]),
            length: 0,
            sessions: BTreeMap::new(),
            living: 0,
            time: Time::ZERO,
            settings: CheckedSettings::default(),
            set: false,
            told_length: 0,
            removals: BTreeSet::new(),
        }
    }

    /// The last entry whose meaning is known.
    pub(super) fn index(&self) -> u64 {
        self.first + self.states.len() as u64 - 1
    }

    /// Returns the state after an entry, unless that is too old or unknown.
    pub(super) fn state(&self, index: u64) -> Option<&State> {
        self.states.get(usize::try_from(index.checked_sub(self.first)?).ok()?)
    }

    /// Returns true if an entry has set the settings.
    pub(super) fn is_set(&self) -> bool {
        self.set
    }

    pub(super) fn settings(&self) -> &CheckedSettings {
        &self.settings
    }

    /// Passes over an entry that has no part in the state machine.
    pub(super) fn pass_over(&mut self) {
        let state = self.states.back().cloned().unwrap_or_default();
        self.remember(state);
    }

    fn remember(&mut self, state: State) {
        self.states.push_back(state);
        if self.states.len() > MOST {
            self.states.pop_front();
            self.first += 1;
        }
    }

    /// Takes the next entry from the first member that applies it.
    pub(super) fn take(&mut self, verdict: &mut Verdict, now: Instant, applied: Applied<'_>) {
        let Applied { entry: log_entry, executed, effects, view } = applied;
        let index = log_entry.index;
        let Ok(entry) = Entry::decode_shared(&log_entry.data) else {
            verdict.demand(false, Rule::AppliesCommitted, || format!("entry {index} is none"));
            return;
        };
        verdict.demand(entry.time >= self.time, Rule::TimeRises, || {
            format!("entry {index} is of {}, after {}", entry.time, self.time)
        });
        self.time = self.time.max(entry.time);
        let mut due = match &entry.operation {
            Operation::CreateSession { session, .. } => Due::Session(session),
            Operation::Command { session, request_id, lowest_pending, payload } => {
                Due::Command { session, request: *request_id, lowest: *lowest_pending, payload }
            }
            _ => Due::Nothing,
        };
        let command = match &entry.operation {
            Operation::Command { session, request_id, .. } => Some((session, request_id.get())),
            _ => None,
        };
        let mut runs: &[Executed] = executed;
        for effect in effects {
            match (effect, &due) {
                (Effect::Pushed { session, request }, _) => {
                    let own = command.filter(|(own, _)| *own == session);
                    let by =
                        own.filter(|_| matches!(due, Due::Nothing)).map(|(_, request)| request);
                    let (payload, made) = (request.payload.clone(), now);
                    let push = Push { payload, index, by, made };
                    self.pushed(verdict, session, request.id.get(), push);
                }
                (Effect::SessionEnded { session, end }, _) => {
                    self.ended(verdict, log_entry, &entry.operation, session, *end);
                }
                (
                    Effect::SessionCreated { session } | Effect::SessionRefused { session, .. },
                    Due::Session(wanted),
                ) if session == *wanted => {
                    due = Due::Nothing;
                    verdict.demand(self.set, Rule::SettingsFirst, || {
                        format!("entry {index} creates a session")
                    });
                    if matches!(effect, Effect::SessionCreated { .. }) {
                        self.living += 1;
                        self.sessions.insert(session.clone(), Session::new(index));
                    }
                }
                (
                    Effect::Answered { session, request_id, answer },
                    Due::Command { session: wanted, request, lowest, payload },
                ) if session == *wanted && request_id == request => {
                    let place =
                        Place { entry: log_entry, request: request.get(), lowest: lowest.get() };
                    runs = self.answered(verdict, place, session, payload, answer, executed);
                    due = Due::Nothing;
                }
                _ => verdict
                    .demand(false, Rule::RunsOnce, || format!("entry {index} led to {effect:?}")),
            }
        }
        verdict.demand(matches!(due, Due::Nothing), Rule::RunsOnce, || {
            format!("entry {index} has no outcome")
        });
        verdict.demand(runs.is_empty(), Rule::RunsOnce, || {
            format!("entry {index} made the application run {runs:?}")
        });
        self.follow(verdict, index, &entry.operation);
        self.compare(verdict, index, view);
        self.remember(State::of(view));
    }

    /// Does what an entry says beside its effects.
    fn follow(&mut self, verdict: &mut Verdict, index: u64, operation: &Operation) {
        match operation {
            Operation::Acknowledge(all) => {
                for each in all {
                    let Some(session) = self.sessions.get_mut(&each.session) else { continue };
                    let up_to = each.up_to.get();
                    let most = session.sent.min(session.seen_acknowledged);
                    verdict.demand(up_to <= most, Rule::AcksBounded, || {
                        format!(
                            "entry {index} acknowledges {up_to}; {} were sent, {} acknowledged",
                            session.sent, session.seen_acknowledged
                        )
                    });
                    session.acknowledge(up_to);
                }
            }
            Operation::EndSession { session, .. } => {
                let living = self.sessions.get(session).is_some_and(|each| each.ended.is_none());
                verdict.demand(!living, Rule::EndsForReason, || {
                    format!("entry {index} ends a session, which goes on")
                });
            }
            Operation::Settings(settings) => {
                self.set = true;
                let level = self.settings.application_level.max(settings.application_level);
                let mut settings = settings.clone().into_inner();
                settings.application_level = level;
                // The entry was checked when it was decoded, and the level has no range.
                self.settings = settings.check().unwrap_or_default();
            }
            _ => {}
        }
    }

    /// Compares the member's state with this account.
    fn compare(&mut self, verdict: &mut Verdict, index: u64, view: &View) {
        verdict.demand(view.time == self.time, Rule::TimeRises, || {
            format!("after entry {index} it is {}, and should be {}", view.time, self.time)
        });
        verdict.demand(view.settings == self.settings, Rule::SettingsFollow, || {
            format!(
                "after entry {index} they are {:?}, and should be {:?}",
                view.settings, self.settings
            )
        });
        verdict.demand(view.sessions.len() == self.living, Rule::SessionsKept, || {
            format!("after entry {index}: {} instead of {}", view.sessions.len(), self.living)
        });
    }

    fn pushed(&mut self, verdict: &mut Verdict, id: &SessionId, number: u64, push: Push) {
        let session = self.sessions.get_mut(id).filter(|session| session.ended.is_none());
        let Some(session) = session else {
            verdict.demand(false, Rule::PushesNumbered, || {
                format!("entry {} makes a request of a session that does not live", push.index)
            });
            return;
        };
        let last = session.pushed();
        verdict.demand(number == last + 1, Rule::PushesNumbered, || {
            format!("entry {} makes request {number} after {last}", push.index)
        });
        session.pushes.push_back(push);
    }

    fn ended(
        &mut self,
        verdict: &mut Verdict,
        entry: &LogEntry,
        operation: &Operation,
        id: &SessionId,
        end: SessionEnd,
    ) {
        let Some(session) = self.sessions.get_mut(id).filter(|each| each.ended.is_none()) else {
            verdict.demand(false, Rule::EndsForReason, || {
                format!("entry {} ends a session that does not live: {end:?}", entry.index)
            });
            return;
        };
        let reason = match operation {
            Operation::EndSession { session: wanted, reason } if wanted == id => Some(*reason),
            _ => None,
        };
        let holds = match reason {
            Some(reason) if end == SessionEnd::from(reason) => match reason {
                EndReason::Closed => session.closed_by.is_some(),
                EndReason::Abandoned => !session.told,
                EndReason::Removed => self.removals.contains(id),
                // Expiry is judged when the leader decides on it.
                _ => true,
            },
            // The application ends sessions from within any entry.
            _ => matches!(end, SessionEnd::Application | SessionEnd::ServerRequestsFull),
        };
        verdict.demand(holds, Rule::EndsForReason, || {
            format!("entry {} with reason {reason:?} ends a session: {end:?}", entry.index)
        });
        let by_entry = reason.map(|_| entry.term);
        session.ended = Some(Ended { index: entry.index, end, by_entry });
        self.living -= 1;
    }

    /// Judges the outcome of a command. Returns what the application ran beside it.
    fn answered<'a>(
        &mut self,
        verdict: &mut Verdict,
        place: Place<'_>,
        id: &SessionId,
        payload: &Payload,
        answer: &Answer,
        executed: &'a [Executed],
    ) -> &'a [Executed] {
        let Place { entry, request, lowest } = place;
        let session = self.sessions.get_mut(id).filter(|session| session.ended.is_none());
        let Some(session) = session else {
            let ended = self.sessions.get(id).and_then(|session| session.ended);
            let late = ended.is_some_and(|ended| ended.by_entry == Some(entry.term));
            verdict.demand(!late, Rule::OneEntry, || {
                format!(
                    "entry {} is a command of a session whose end is in the log: {ended:?}",
                    entry.index
                )
            });
            verdict.demand(*answer == Answer::NoSession, Rule::RunsOnce, || {
                format!("entry {} ran for a session that does not live", entry.index)
            });
            return executed;
        };
        let again = session.outcomes.get(&request).map(|outcome| outcome.index);
        verdict.demand(again.is_none(), Rule::OneEntry, || {
            format!("entry {} is command {request}, as entry {again:?} was", entry.index)
        });
        let done = |id| session.outcomes.contains_key(&id);
        let overtaken = session.arrivals.overtaken(entry.term, request, session.lowest, done);
        verdict.demand(overtaken.is_none(), Rule::CommandsInOrder, || {
            format!("entry {} is command {request}; {overtaken:?} came before it", entry.index)
        });
        if let Some(asked) = session.asked.get(&request) {
            let sent = asked.as_ref().is_none_or(|first| first == payload);
            verdict.demand(
                sent && lowest.min(request) <= session.seen_lowest,
                Rule::OnlyAsked,
                || format!("entry {} is command {request} with lowest id {lowest}", entry.index),
            );
        } else {
            verdict.demand(false, Rule::OnlyAsked, || {
                format!("entry {} is command {request}, which no client sent", entry.index)
            });
        }
        let runs = request >= session.lowest && again.is_none();
        let allowed = payload.len() as u64 <= u64::from(self.settings.payload_bytes);
        let fits = match answer {
            Answer::Executed(_) | Answer::TooLong => runs && allowed,
            Answer::Rejected(_) => runs,
            Answer::Cached(_) => again.is_some(),
            Answer::Evicted => !runs,
            // The replicated server knows no other outcome.
            _ => false,
        };
        let reaches = runs && allowed;
        let first = executed.first().filter(|run| {
            run.session == *id && run.request.get() == request && run.payload == *payload
        });
        verdict.demand(fits && first.is_some() == reaches, Rule::RunsOnce, || {
            format!(
                "entry {}: command {request} with lowest id {} ended as {answer:?} and ran {executed:?}",
                entry.index, session.lowest
            )
        });
        let position =
            matches!(answer, Answer::Executed(_) | Answer::TooLong).then_some(self.length);
        self.length += u64::from(position.is_some());
        let kept = match answer {
            Answer::Executed(answer) => Some(answer.clone()),
            Answer::Rejected(rejected) => rejected.answer().cloned(),
            _ => None,
        };
        if again.is_none() {
            let outcome = Outcome { index: entry.index, position, answer: kept, told: false };
            // A command that did not run leaves the lowest id alone.
            let lowest = if runs { lowest } else { 0 };
            session.settle(request, lowest, outcome);
        }
        if reaches { executed.get(1..).unwrap_or_default() } else { executed }
    }
}

/// A command's entry.
struct Place<'a> {
    entry: &'a LogEntry,
    request: u64,
    lowest: u64,
}
