//! `zraft demo`.

use crate::support::{run, run_unread, stderr, stdout};
use serde_json::Value;

fn demo(more: &[&str]) -> (Option<i32>, Value) {
    let output = run(&[&["demo", "--json", "--commands", "6000"], more].concat());
    assert_eq!(stderr(&output), "", "no output but the object, and no progress bar");
    (output.status.code(), serde_json::from_str(&stdout(&output)).unwrap())
}

#[test]
fn each_command_is_executed_exactly_once_through_two_losses_of_the_leader() {
    for seed in ["1", "2", "3"] {
        let (code, report) = demo(&["--seed", seed]);
        assert_eq!(code, Some(0), "{report}");
        assert_eq!(report["holds"], true);
        assert_eq!(report["leaderChanges"], 2);
        let leaders = report["leaders"].as_array().unwrap();
        assert!(leaders.windows(2).all(|two| two[0] != two[1]), "{leaders:?}");
        for all in ["commands", "acknowledged", "appliedOnce"] {
            assert_eq!(report[all], 6000, "{all}");
        }
        assert_eq!(report["membersEqual"], true);
        for nothing in ["appliedTwice", "lost", "unacknowledged", "errors"] {
            assert_eq!(report[nothing], 0, "{nothing}");
        }
        assert!(report["resent"].as_u64().unwrap() > 0, "the losses cause resends");
        assert!(report["reconnects"].as_u64().unwrap() >= 3, "every session lost its leader");
        assert!(report["commandsPerSecond"].as_f64().unwrap() > 0.0);
        for point in ["p50", "p90", "p99", "p99.9", "max"] {
            assert!(report["latencyMs"][point].as_f64().unwrap() > 0.0, "{point}");
        }
    }
}

#[test]
fn demo_fails_if_commands_are_submitted_twice() {
    for seed in ["1", "2"] {
        let (code, report) = demo(&["--no-dedup", "--seed", seed]);
        assert_eq!(code, Some(1));
        assert_eq!(report["holds"], false);
        assert!(report["appliedTwice"].as_u64().unwrap() > 0);
    }
}

#[test]
fn exit_status_of_a_demo_does_not_depend_on_a_reader_of_its_report() {
    assert_eq!(run_unread(&["demo", "--commands", "3000", "--no-dedup"]).code(), Some(1));
    assert_eq!(run_unread(&["demo", "--commands", "3000"]).code(), Some(0));
}

#[test]
fn report_for_people_names_every_figure() {
    let output = run(&["demo", "--commands", "3000"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(stderr(&output), "", "no progress bar where there is no terminal");
    let text = stdout(&output);
    for word in [
        "sessions",
        "leader changes",
        "commands sent",
        "resent",
        "applied once",
        "applied twice",
        "lost",
        "errors",
        "members equal",
        "throughput",
        "p50",
        "p90",
        "p99",
        "p99.9",
        "max",
    ] {
        assert!(text.contains(word), "{word} in {text}");
    }
}

#[test]
fn numbers_of_commands_outside_the_range_are_refused() {
    for count in ["0", "999", "-5", "1000001", "many"] {
        assert_eq!(run(&["demo", &format!("--commands={count}")]).status.code(), Some(1));
    }
}
