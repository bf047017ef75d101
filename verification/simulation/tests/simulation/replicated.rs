//! The replicated system in the simulated world.

#![allow(clippy::unwrap_used)]

use zraft_simulation::{SystemKind, run_seed};

#[test]
fn replicated_seeds_keep_every_promise_and_repeat_themselves_byte_for_byte() {
    for seed in 0..12 {
        let first = run_seed(SystemKind::Replicated, seed, false);
        assert!(first.violation.is_none(), "seed {seed}: {:?}", first.violation);
        // The history in words changes nothing.
        let second = run_seed(SystemKind::Replicated, seed, true);
        assert_eq!(first.hash, second.hash, "seed {seed}");
    }
}

#[test]
fn history_of_a_replicated_run_names_leaders_writes_and_faults() {
    let outcome = run_seed(SystemKind::Replicated, 3, true);
    for words in ["is Leader of term", "has on disk: term", "fault: ", "says ClientResponse"] {
        let found = outcome.lines.iter().any(|line| line.contains(words));
        assert!(found, "{words} is not in the history");
    }
}
