//! The planted bugs, without building them.

#![allow(clippy::unwrap_used)]

use std::{fs, path::Path};

use zraft_simulation::plants::{patches, root};

#[test]
fn every_patch_applies_to_the_sources_together_with_all_others() {
    let patches = patches().unwrap();
    zraft_simulation::plants::check(&root(), &patches).unwrap();
    assert!(patches.iter().filter(|patch| patch.is_bug).count() >= 120);
}

#[test]
fn planted_copy_is_a_workspace() {
    let copy = zraft_simulation::plants::write_planted_copy(&root(), &patches().unwrap()).unwrap();
    let read = std::process::Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1", "--manifest-path"])
        .arg(copy.join("Cargo.toml"))
        .output()
        .unwrap();
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
}

#[test]
fn no_source_that_ships_names_a_planted_bug() {
    let mut files = Vec::new();
    let folders = fs::read_dir(root().join("crates")).unwrap().map(|entry| entry.unwrap().path());
    for folder in folders.chain([root().join("packages/node/native")]) {
        sources(&folder.join("src"), &mut files);
        files.push(folder.join("Cargo.toml"));
    }
    assert!(files.len() > 100, "{} files", files.len());
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        for word in ["museum", "PLANTED", "Plant::"] {
            assert!(!text.contains(word), "{} contains `{word}`", file.display());
        }
    }
}

fn sources(folder: &Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, files);
        } else {
            files.push(path);
        }
    }
}
