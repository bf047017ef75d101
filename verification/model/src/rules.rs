//! The properties: what must hold in every state, and what must be reached so that the search means something.

use stateright::Property;
use zraft_replica::Role;

use crate::{
    clients::Reader,
    course::{Budget, Course, State},
    ledger::Broken,
    member::Plan,
};

type Rule = Property<Course>;

fn is(state: &State, broken: &[Broken]) -> bool {
    state.broken.is_some_and(|found| broken.contains(&found))
}

/// What must hold in every state.
pub(crate) fn always() -> Vec<Rule> {
    vec![
        Rule::always("no term has two leaders", |_, state| !is(state, &[Broken::TwoLeaders])),
        Rule::always("no member votes for two candidates in one term", |_, state| {
            !is(state, &[Broken::TwoVotes])
        }),
        Rule::always("committed entries and what they did are equal on all members", |_, state| {
            !is(state, &[Broken::CommittedDiffers])
        }),
        Rule::always(
            "committed entries are durable on a majority, and no leader lacks one",
            |_, state| !is(state, &[Broken::NotDurable, Broken::LeaderIncomplete]),
        ),
        Rule::always(
            "a command runs at most once, and its answer is that of its run",
            |_, state| !is(state, &[Broken::RanTwice, Broken::WrongAnswer, Broken::Evicted]),
        ),
        Rule::always("a query sees every command that was answered before", |_, state| {
            !is(state, &[Broken::StaleRead])
        }),
        Rule::always("no member stops, or promises what is not durable", |_, state| {
            !is(state, &[Broken::Member])
        }),
    ]
}

/// What must be reached, as far as the budget allows it.
pub(crate) fn sometimes(budget: &Budget, plan: Plan) -> Vec<Rule> {
    let mut rules = Vec::new();
    let moves = budget.timeouts + budget.hand_overs > 0;
    // Of two members no one leads without the other, and a leader that hears the other one gives no vote away.
    let splits = plan.members > 2;
    if budget.commands > 0 {
        rules.push(Rule::sometimes("every command is answered", |model, state| {
            all_answered(model, state)
        }));
    }
    if budget.commands > 0 && moves {
        rules.push(Rule::sometimes("a later leader answers every command", |model, state| {
            all_answered(model, state)
                && state.writer.bound
                && state.writer.term > model.first.writer.term
        }));
    }
    if budget.commands > 0 && budget.timeouts > 0 {
        rules.push(Rule::sometimes("a command has run and its client was not told", |_, state| {
            let untold = |line: &u8| !state.writer.has_answer(u64::from(*line));
            !state.writer.bound && state.ledger.lines.iter().any(untold)
        }));
    }
    if budget.commands > 0 && budget.timeouts > 0 && splits {
        rules.push(Rule::sometimes("two logs differ at one index", |model, state| {
            model.see(state, |facts| {
                facts.iter().any(|one| {
                    facts.iter().any(|other| one.log.iter().zip(&other.log).any(|(a, b)| a != b))
                })
            })
        }));
    }
    if moves && splits {
        rules.push(Rule::sometimes("a deposed leader believes that it leads", deposed));
    }
    if budget.queries > 0 {
        rules.push(Rule::sometimes("a query is answered", |_, state| {
            state.reader == Reader::Answered
        }));
    }
    if budget.queries > 0 && moves && splits {
        rules.push(Rule::sometimes("a deposed leader is asked a query", |model, state| {
            matches!(state.reader, Reader::Asked(_)) && deposed(model, state)
        }));
    }
    if budget.hand_overs > 0 {
        rules.push(Rule::sometimes("a hand-over makes another member serve", |model, state| {
            let (left, first) = (&state.budget, &model.first);
            (left.timeouts, left.crashes) == (first.budget.timeouts, first.budget.crashes)
                && serves_later(model, state)
        }));
    }
    if budget.timeouts > 0 && splits {
        rules.push(Rule::sometimes("a timeout makes another member serve", |model, state| {
            let (left, first) = (&state.budget, &model.first);
            (left.hand_overs, left.crashes) == (first.budget.hand_overs, first.budget.crashes)
                && serves_later(model, state)
        }));
    }
    if budget.crashes > 0 && moves {
        rules.push(Rule::sometimes("a member serves after a crash", |model, state| {
            state.budget.crashes < model.first.budget.crashes && serves_later(model, state)
        }));
    }
    rules
}

fn all_answered(model: &Course, state: &State) -> bool {
    let answers = &state.writer.answers;
    answers.len() == usize::from(model.first.budget.commands) && answers.iter().all(Option::is_some)
}

/// Returns true if the first leader leads, and another member does in a later term.
fn deposed(model: &Course, state: &State) -> bool {
    model.see(state, |facts| {
        let leads = |role| role == Role::Leader;
        leads(facts[0].role)
            && facts.iter().any(|other| leads(other.role) && other.term > facts[0].term)
    })
}

fn serves_later(model: &Course, state: &State) -> bool {
    let first = model.first.writer.term;
    model.see(state, |facts| facts.iter().any(|facts| facts.serving && facts.term > first))
}
