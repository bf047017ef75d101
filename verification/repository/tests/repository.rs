//! Holds this repository against its own rules.

use std::{collections::BTreeMap, fs};

use zraft_repository::{
    dependencies::Rules, links::Documents, metadata, picture::Picture, tree, words,
};

fn read(path: &str) -> String {
    fs::read_to_string(tree::root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn assert_none(findings: &[String]) {
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

#[test]
fn sources_and_documents_use_plain_words() {
    let mut found = Vec::new();
    let mut files = 0;
    for file in tree::files().expect("the files of the repository") {
        if !words::is_read(&file) {
            continue;
        }
        let Some(text) = tree::text(&file).expect("a readable file") else { continue };
        files += 1;
        found.extend(words::findings(&file, &text).iter().map(ToString::to_string));
    }
    assert!(files > 100, "only {files} files were read");
    assert_none(&found);
}

#[test]
fn documents_point_at_files_and_headings_that_exist() {
    let files = tree::files().expect("the files of the repository");
    let mut texts = BTreeMap::new();
    for file in files.iter().filter(|file| file.ends_with(".md")) {
        if let Some(text) = tree::text(file).expect("a readable file") {
            texts.insert(file.clone(), text);
        }
    }
    assert!(texts.len() > 20, "only {} documents were read", texts.len());
    assert_none(&Documents::new(&files, texts).findings());
}

#[test]
fn dependencies_keep_to_deny_toml() {
    let rules = Rules::read(&read("deny.toml")).expect("rules that this check knows");
    let mut packages = Vec::new();
    for manifest in ["Cargo.toml", "verification/fuzz/Cargo.toml"] {
        packages.extend(metadata::packages(&tree::root().join(manifest)).expect("metadata"));
    }
    assert_none(&rules.findings(&packages));
}

#[test]
fn the_picture_of_the_crates_is_drawn_from_their_dependencies() {
    let picture = Picture::read(&read("ARCHITECTURE.md")).expect("a picture");
    let packages = metadata::packages(&tree::root().join("Cargo.toml")).expect("metadata");
    assert_none(&picture.findings(&packages));
}

#[test]
fn the_workflow_runs_every_part_of_verify() {
    let (verify, workflow) = (read("verify"), read(".github/workflows/verify.yml"));
    let parts: Vec<&str> = verify
        .lines()
        .find_map(|line| line.strip_prefix("parts=("))
        .and_then(|rest| rest.strip_suffix(')'))
        .expect("verify has its parts in one line")
        .split_whitespace()
        .collect();
    assert!(!parts.is_empty());
    for part in parts {
        assert!(workflow.contains(&format!("./verify {part}\n")), "no job runs ./verify {part}");
    }
}
