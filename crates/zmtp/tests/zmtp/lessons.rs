//! Checks that LESSONS.md names existing tests for every lesson.

use std::{fs, path::PathBuf};

fn read(path: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn each_lesson_names_existing_tests() {
    let text = read("LESSONS.md");
    let mut lessons = Vec::new();
    for row in text.lines() {
        let Some((number, rest)) = row.strip_prefix("| ").and_then(|row| row.split_once(" | "))
        else {
            continue;
        };
        let Ok(number) = number.parse::<u32>() else { continue };
        lessons.push(number);
        let (_, tests) = rest.split_once(" | ").unwrap();
        let tests: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        assert!(!tests.is_empty(), "lesson {number} names no test");
        for test in tests {
            let (file, name) = test.split_once("::").unwrap();
            let source = read(&format!("tests/zmtp/{file}.rs"));
            let mut before = "";
            let exists = source.lines().map(str::trim).any(|line| {
                let found = before == "#[test]" && line.starts_with(&format!("fn {name}("));
                before = line;
                found
            });
            assert!(exists, "lesson {number} names the test {test}, which does not exist");
        }
    }
    assert_eq!(lessons, (1..=17).collect::<Vec<_>>());
}
