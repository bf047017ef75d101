//! The committed corpora, through the functions that cargo-fuzz runs: what was ever found stays fixed.

#![allow(clippy::unwrap_used)]

use std::{
    fs,
    path::{Path, PathBuf},
};

use zraft_simulation::fuzz::{TARGETS, seeds};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn corpus(target: &str) -> Vec<PathBuf> {
    let folder = root().join("verification/fuzz/corpus").join(target);
    let mut files: Vec<_> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}

#[test]
fn every_input_of_every_corpus_keeps_the_rules() {
    for (name, body) in TARGETS {
        let files = corpus(name);
        assert!(files.len() >= 20, "{name}: {} files", files.len());
        for file in files {
            let input = fs::read(&file).unwrap();
            let told = std::panic::catch_unwind(|| body(&input));
            assert!(told.is_ok(), "{name} breaks a rule with {}", file.display());
        }
    }
}

#[test]
fn every_seed_is_in_its_corpus_as_the_test_data_gives_it() {
    for (target, name, bytes) in seeds(&root().join("testdata")).unwrap() {
        let file =
            root().join("verification/fuzz/corpus").join(target).join(format!("seed-{name}"));
        assert!(
            fs::read(&file).is_ok_and(|kept| kept == bytes),
            "{}: run `cargo run -p zraft-simulation --example seed_corpora`",
            file.display()
        );
    }
}

#[test]
fn every_target_has_its_entry_for_cargo_fuzz() {
    let manifest = fs::read_to_string(root().join("verification/fuzz/Cargo.toml")).unwrap();
    for (name, _) in TARGETS {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
        let target = root().join(format!("verification/fuzz/fuzz_targets/{name}.rs"));
        let target = fs::read_to_string(target).unwrap();
        assert!(target.contains(&format!("zraft_simulation::fuzz::{name}(")), "{name}");
    }
}
