//! Prepares the README and the user guide for the documentation tests of this crate.
//!
//! The programs there connect to `tcp://127.0.0.1:7001`, where `zraft dev` listens. In the tests they connect to an
//! embedded cluster on free ports instead, so that they run anywhere and beside each other. Nothing else is changed, and
//! no line is added: a failure names the line of the page.

use std::{env, fs, path::Path};

/// Every page with Rust programs: its path below the repository, and the name of its copy.
const PAGES: [(&str, &str); 6] = [
    ("README.md", "readme.md"),
    ("docs/guide/rust.md", "rust.md"),
    ("docs/guide/testing.md", "testing.md"),
    ("docs/guide/errors.md", "errors.md"),
    ("docs/guide/tuning.md", "tuning.md"),
    ("docs/guide/operating.md", "operating.md"),
];

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let out = env::var_os("OUT_DIR").expect("cargo names the folder");
    for (page, copy) in PAGES {
        let path = root.join(page);
        println!("cargo::rerun-if-changed={}", path.display());
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{page}: {error}"));
        fs::write(Path::new(&out).join(copy), with_test_cluster(&text)).expect("the copy");
    }
}

/// In Rust blocks, replaces the endpoints of `zraft dev` by those of an embedded cluster.
fn with_test_cluster(page: &str) -> String {
    let mut rust = false;
    let mut copy = String::with_capacity(page.len());
    for line in page.lines() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            rust = language.starts_with("rust");
        }
        let mut line = line.to_owned();
        for number in (1..=3).filter(|_| rust) {
            line = line.replace(
                &format!("\"tcp://127.0.0.1:700{number}\""),
                &format!("zraft_chaos::guide::endpoint({number})"),
            );
        }
        copy.push_str(&line);
        copy.push('\n');
    }
    copy
}
