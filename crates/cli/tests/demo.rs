//! `zraft demo`: the main job.

#![allow(clippy::unwrap_used)]

mod support;

use serde_json::Value;
use support::{run, stdout};

fn demo(more: &[&str]) -> (Option<i32>, Value) {
    let output = run(&[&["demo", "--json", "--commands", "6000"], more].concat());
    (output.status.code(), serde_json::from_str(&stdout(&output)).unwrap())
}

#[test]
fn every_command_is_applied_exactly_once_through_two_losses_of_the_leader() {
    for seed in ["1", "2", "3"] {
        let (code, report) = demo(&["--seed", seed]);
        assert_eq!(code, Some(0), "{report}");
        assert_eq!(report["leaderChanges"], 2);
        assert_eq!(report["appliedOnce"], 6000);
        for nothing in ["appliedTwice", "lost", "unacknowledged", "errors"] {
            assert_eq!(report[nothing], 0, "{nothing}");
        }
        assert!(report["resent"].as_u64().unwrap() > 0, "the losses cost something");
        assert!(report["reconnects"].as_u64().unwrap() >= 3, "every session lost its leader");
    }
}

#[test]
fn without_deduplication_in_the_servers_the_demo_fails() {
    let (code, report) = demo(&["--no-dedup"]);
    assert_eq!(code, Some(1));
    assert_eq!(report["holds"], false);
    assert!(report["appliedTwice"].as_u64().unwrap() > 0);
}

#[test]
fn the_report_for_people_tells_what_happened() {
    let output = run(&["demo", "--commands", "3000"]);
    assert!(output.status.success());
    let text = stdout(&output);
    for word in ["sessions", "leader changes", "resent", "applied once", "throughput", "p99"] {
        assert!(text.contains(word), "{word} in {text}");
    }
}
