//! Every test of the client's suite that uses a cluster runs on replicated members too.

use std::collections::BTreeSet;
use std::path::Path;

/// The files whose tests run here.
const HERE: [&str; 7] =
    ["endpoints", "keep_alive", "leadership", "scenarios", "stress", "tls", "update_members"];

#[test]
fn all_tests_that_use_a_cluster_are_here() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crates/client/tests/client");
    let mut users = BTreeSet::new();
    let mut tests = [0, 0];
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let source = std::fs::read_to_string(&path).unwrap();
        let count = source.matches("#[test]").count() + source.matches("#[tokio::test").count();
        let is_user = source.contains("zraft_test_server") || source.contains("support::cluster");
        tests[usize::from(is_user)] += count;
        if is_user {
            users.insert(name);
        }
    }
    assert_eq!(users, HERE.map(str::to_owned).into());
    let [scripted, on_members] = tests;
    // Not captured, so that a run says it.
    use std::io::Write as _;
    let line = format!(
        "the client's suite: {on_members} tests are in files that use a cluster and run on replicated members too, {scripted} need none\n"
    );
    std::io::stdout().write_all(line.as_bytes()).unwrap();
}
