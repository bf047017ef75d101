//! The state space: every order of steps that the budget allows, and the properties to check.

use std::hash::{Hash, Hasher};

use stateright::{Model, Property};
use zraft_test_server::{Audit, Findings};

use super::{
    fate::Fate,
    sight::{Seen, Sight},
    world::{Step, World},
};

/// How often each chosen step may occur. The budget keeps the state space finite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Budget {
    /// The number of commands submitted.
    pub(crate) commands: u8,
    /// The number of leaders that crash.
    pub(crate) crashes: u8,
    /// The number of resends for lack of an answer.
    pub(crate) duplicates: u8,
    /// The number of sessions that expire.
    pub(crate) expiries: u8,
    /// The number of callers that give up.
    pub(crate) give_ups: u8,
}

impl Budget {
    fn left(&mut self, step: Step) -> Option<&mut u8> {
        match step {
            Step::Submit => Some(&mut self.commands),
            Step::Crash => Some(&mut self.crashes),
            Step::Duplicate => Some(&mut self.duplicates),
            Step::Expire => Some(&mut self.expiries),
            Step::GiveUp => Some(&mut self.give_ups),
            Step::ToServer | Step::ToClient => None,
        }
    }

    fn allows(mut self, step: Step) -> bool {
        self.left(step).is_none_or(|left| *left > 0)
    }

    fn after(mut self, step: Step) -> Self {
        if let Some(left) = self.left(step) {
            *left -= 1;
        }
        self
    }
}

/// The model: all sequences of steps within a budget.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Course {
    /// How often each chosen step may occur.
    pub(crate) budget: Budget,
    /// Whether the client opens a new session when its session has expired.
    pub(crate) renew: bool,
}

/// A state of the model.
#[derive(Debug, Clone)]
pub(crate) struct State {
    /// The steps that led to this state.
    pub(crate) path: Vec<Step>,
    /// The remaining budget.
    pub(crate) budget: Budget,
    /// The observable part of the state.
    pub(crate) sight: Sight,
    /// The steps that are possible next.
    pub(crate) next: Vec<Step>,
}

/// Two states are equal if their observable parts are. The paths that led to them do not matter.
impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        (&self.budget, &self.sight, &self.next) == (&other.budget, &other.sight, &other.next)
    }
}

impl Eq for State {}

impl Hash for State {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        (&self.budget, &self.sight, &self.next).hash(hasher);
    }
}

/// All steps. The order decides only the order of the search.
const STEPS: [Step; 7] = [
    Step::Submit,
    Step::ToServer,
    Step::ToClient,
    Step::Crash,
    Step::Duplicate,
    Step::Expire,
    Step::GiveUp,
];

impl Course {
    /// Replays these steps with a new client and new servers, and returns the state they lead to.
    pub(crate) fn follow(&self, path: Vec<Step>) -> State {
        let mut world = World::new(self.renew);
        let mut budget = self.budget;
        for step in &path {
            world.take(*step);
            budget = budget.after(*step);
        }
        let next =
            STEPS.into_iter().filter(|step| budget.allows(*step) && world.can(*step)).collect();
        State { path, budget, sight: Sight::of(&world), next }
    }

    /// Returns the state that one more step leads to.
    pub(crate) fn step(&self, state: &State, step: Step) -> State {
        let mut path = state.path.clone();
        path.push(step);
        self.follow(path)
    }
}

impl Model for Course {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![self.follow(Vec::new())]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Step>) {
        actions.extend_from_slice(&state.next);
    }

    fn next_state(&self, state: &State, step: Step) -> Option<State> {
        Some(self.step(state, step))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("no contract of the state machine is violated", |_, state: &State| {
                state.sight.broken.is_none()
            }),
            Property::always("no command is executed twice", |_, state: &State| {
                audited(state).doubled == 0
            }),
            Property::always(
                "each answer belongs to the execution of its command",
                |_, state: &State| audited(state).lost == 0,
            ),
            Property::always(
                "a command reported as not executed is never executed",
                |_, state: &State| {
                    let in_flight = |command| {
                        let is =
                            |seen: &Seen| matches!(seen, Seen::Command(.., one) if *one == command);
                        state.sight.to_server.iter().any(is)
                    };
                    let sent_again = !each_fate(state, |command, fate| {
                        fate != Fate::NotExecuted || !in_flight(command)
                    });
                    audited(state).denied == 0 && !sent_again
                },
            ),
            Property::always(
                "L is never above the id of the command that carries it",
                |_, state: &State| {
                    let sight = &state.sight;
                    sight.to_server.iter().all(|seen| match seen {
                        Seen::Command(id, lowest, _) => lowest <= id && *id >= 1,
                        _ => true,
                    })
                },
            ),
            Property::always(
                "outcomes unknown and evicted are reported only with a reason",
                |model: &Self, state: &State| {
                    // The valid reasons are that the session expired or that the caller gave up.
                    let gave_up = state.budget.give_ups < model.budget.give_ups;
                    let expired = state.budget.expiries < model.budget.expiries;
                    each_fate(state, |command, fate| match fate {
                        Fate::Unknown => expired || (gave_up && command == 0),
                        Fate::Evicted => gave_up && command == 0,
                        _ => true,
                    })
                },
            ),
            Property::always(
                "every command has an outcome in every final state",
                |_, state: &State| {
                    let ended = state.sight.fates.iter().all(|(_, resolved)| resolved.is_some());
                    !state.next.is_empty() || ended
                },
            ),
            Property::sometimes("both commands are answered", |_, state: &State| {
                let answered = |fate: &(_, Option<Fate>)| matches!(fate.1, Some(Fate::Answered(_)));
                state.sight.fates.len() == 2 && state.sight.fates.iter().all(answered)
            }),
            Property::sometimes("a copy is answered from the cache", |_, state: &State| {
                let answers = |id| {
                    let is = |seen: &Seen| matches!(seen, Seen::Answer(one, _) if *one == id);
                    state.sight.to_client.iter().filter(|seen| is(seen)).count()
                };
                answers(1) == 2
            }),
            Property::sometimes(
                "a command runs after its caller was given outcome unknown",
                |_, state: &State| {
                    state.sight.fates.iter().enumerate().any(|(command, (reported, _))| {
                        *reported == Some(Fate::Unknown) && executed(state, command).is_some()
                    })
                },
            ),
            Property::sometimes("a command is reported as not executed", |_, state: &State| {
                state.sight.fates.iter().any(|(reported, _)| *reported == Some(Fate::NotExecuted))
            }),
            Property::sometimes("the second command runs before the first", |_, state: &State| {
                matches!((executed(state, 0), executed(state, 1)), (None, Some(_)))
            }),
        ]
    }
}

/// Compares the journal with the outcomes so far.
fn audited(state: &State) -> Findings {
    let mut audit = Audit::default();
    for (position, (.., command)) in (0..).zip(&state.sight.journal) {
        audit.executed(*command as u64, position);
    }
    for (command, (reported, resolved)) in (0..).zip(&state.sight.fates) {
        // A fate that is final is both reported and resolved.
        let late = resolved.filter(|_| reported != resolved);
        for fate in reported.iter().chain(&late) {
            match fate {
                Fate::Answered(position) => audit.answered(command, *position),
                Fate::NotExecuted => audit.failed(command, false),
                Fate::Unknown | Fate::Evicted => audit.failed(command, true),
            }
        }
    }
    audit.finish()
}

fn each_fate(state: &State, holds: impl Fn(usize, Fate) -> bool) -> bool {
    state.sight.fates.iter().enumerate().all(|(command, (reported, resolved))| {
        [reported, resolved].into_iter().flatten().all(|fate| holds(command, *fate))
    })
}

/// Returns the position of a command in the order of execution, or `None` if it was not executed.
fn executed(state: &State, command: usize) -> Option<u64> {
    let place = state.sight.journal.iter().position(|(.., one)| *one == command)?;
    u64::try_from(place).ok()
}
