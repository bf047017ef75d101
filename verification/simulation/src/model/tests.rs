//! Explores the whole state space and checks every property.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use super::course::{Budget, Course, State};
use stateright::{Checker, Model};

const BUDGET: Budget = Budget { commands: 2, crashes: 1, duplicates: 1, expiries: 1, give_ups: 1 };

#[test]
fn all_orders_of_two_commands_a_crash_a_duplicate_an_expiry_and_a_cancellation_hold() {
    for renew in [false, true] {
        let checker = Course { budget: BUDGET, renew }.checker().threads(2).spawn_bfs().join();
        // Each `always` property holds in every state, and each `sometimes` property in at least one.
        checker.assert_properties();
        assert!(checker.is_done(), "the search must visit the whole state space");
        assert!(
            checker.unique_state_count() > 1500,
            "only {} states",
            checker.unique_state_count()
        );
    }
}

/// The search merges states with equal sights. That is valid only if the same steps lead from them to equal sights
/// again. If this test fails, the client remembers something that [`super::sight::Sight`] must include.
#[test]
fn equal_sights_lead_to_equal_sights_by_the_same_steps() {
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
    assert!(compared > 1000, "only {compared} pairs of states were compared");
}

fn look(state: &State) -> u64 {
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    hasher.finish()
}
