//! The page "Write your own state machine" against the program that it shows.

use std::{fs, path::Path};

const PAGE: &str = "docs/guide/state-machine.md";
/// The page shows these files from their first line to their last.
const WHOLE: [&str; 2] =
    ["crates/session/examples/raffle/application.rs", "crates/server/examples/raffle/main.rs"];

fn read(file: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    fs::read_to_string(root.join(file)).unwrap()
}

/// The blocks of code on the page, each with the file that it names.
fn blocks(page: &str) -> Vec<(String, String)> {
    let parts = page.split("<!-- file: ").skip(1);
    let blocks = parts.map(|part| {
        let (file, rest) = part.split_once(" -->\n```rust\n").unwrap();
        let (code, _) = rest.split_once("\n```\n").unwrap();
        (file.to_owned(), code.to_owned())
    });
    blocks.collect()
}

#[test]
fn page_shows_the_program_as_it_is() {
    let page = read(PAGE);
    let blocks = blocks(&page);
    let rust = page.matches("```rust\n").count();
    assert_eq!(blocks.len(), rust, "each block of Rust names its file");
    for (file, code) in &blocks {
        assert!(read(file).contains(code.as_str()), "{file} differs from {PAGE} in:\n{code}");
    }
    for file in WHOLE {
        let parts = blocks.iter().filter(|(named, _)| named == file);
        let parts: Vec<&str> = parts.map(|(_, code)| code.as_str()).collect();
        assert_eq!(parts.join("\n\n") + "\n", read(file), "{PAGE} leaves something out of {file}");
    }
}
