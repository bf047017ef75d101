//! Every course is gone through, to its end.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use stateright::{Checker, Model};
use zraft_model::{Budget, Course, State};

const BUDGET: Budget = Budget { commands: 2, crashes: 1, duplicates: 1, expiries: 1, give_ups: 1 };

#[test]
fn two_commands_with_a_crash_a_duplicate_an_expiry_and_a_caller_that_gives_up() {
    for renew in [false, true] {
        let checker = Course { budget: BUDGET, renew }.checker().threads(2).spawn_bfs().join();
        // Every rule holds in every state, and everything that was to come about did in one.
        checker.assert_properties();
        assert!(checker.is_done(), "all of it");
        assert!(checker.unique_state_count() > 1500, "{}", checker.unique_state_count());
    }
}

/// States that look the same are taken for one. That is right only if the same steps lead on from them to what looks the
/// same again. Where they do not, the client remembers something that [`zraft_model::Sight`] does not tell yet.
#[test]
fn from_states_that_look_the_same_the_same_steps_lead_to_what_looks_the_same() {
    let course = Course { budget: BUDGET, renew: true };
    let mut known: HashMap<u64, State> = HashMap::new();
    let mut states = course.init_states();
    let mut compared = 0;
    while let Some(state) = states.pop() {
        let Some(first) = known.get(&look(&state)) else {
            states.extend(state.next.iter().map(|step| course.step(&state, *step)));
            known.insert(look(&state), state);
            continue;
        };
        compared += 1;
        for step in &state.next {
            let (here, there) = (course.step(&state, *step), course.step(first, *step));
            assert_eq!(here.sight, there.sight, "{:?} and {:?}", here.path, there.path);
            assert_eq!(here.next, there.next, "{:?} and {:?}", here.path, there.path);
        }
    }
    assert!(compared > 1000, "{compared}");
}

fn look(state: &State) -> u64 {
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    hasher.finish()
}
