//! Property tests record the seeds of their failures, and try these first.

#![allow(clippy::unwrap_used)]

use std::{cell::RefCell, fs, path::Path};

use proptest::{
    prelude::*,
    test_runner::{FileFailurePersistence, TestRunner},
};

#[test]
fn a_recorded_failure_is_the_first_case_of_the_next_run() {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("persistence.proptest-regressions");
    let _ = fs::remove_file(&file);
    let file: &'static str = Box::leak(file.to_str().unwrap().to_owned().into_boxed_str());
    let run = |limit: u64| {
        let tried = RefCell::new(Vec::new());
        let config = ProptestConfig {
            failure_persistence: Some(Box::new(FileFailurePersistence::Direct(file))),
            max_shrink_iters: 0,
            ..ProptestConfig::default()
        };
        let result = TestRunner::new(config).run(&any::<u64>(), |number| {
            tried.borrow_mut().push(number);
            prop_assert!(number < limit);
            Ok(())
        });
        (result.is_err(), tried.into_inner())
    };
    let (failed, tried) = run(1 << 32);
    assert!(failed);
    let recorded = *tried.last().unwrap();
    let (failed, tried) = run(u64::MAX);
    assert!(!failed);
    assert_eq!(tried[0], recorded);
}

#[test]
fn every_property_test_records_its_failures() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut seen = 0;
    let mut judge = |file: &Path, text: &str| {
        if text.contains("proptest! {") || text.contains("TestRunner::new(") {
            seen += 1;
            let records = text.contains("failure_persistence: Some(")
                || ["common", "crate::common", "crate::support"]
                    .iter()
                    .any(|module| text.contains(&format!("proptest_config({module}::cases(")));
            assert!(records, "{} keeps no seeds", file.display());
        }
        let off = concat!("failure_persistence: ", "None");
        assert!(!text.contains(off), "{} keeps no seeds", file.display());
    };
    for folder in ["crates", "verification", "bench"] {
        look(&root.join(folder), &mut judge);
    }
    assert!(seen >= 8, "{seen} files");
    let ignored = fs::read_to_string(root.join(".gitignore")).unwrap();
    assert!(!ignored.contains("regressions"), "recorded seeds are committed");
}

fn look(folder: &Path, judge: &mut impl FnMut(&Path, &str)) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            look(&path, judge);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            judge(&path, &fs::read_to_string(&path).unwrap());
        }
    }
}
