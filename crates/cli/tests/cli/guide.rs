//! Checks that `zraft` accepts the commands in the README and the user guide.

use std::{fs, path::Path, process::Command};

const PAGES: [&str; 9] = [
    "README.md",
    "docs/guide/rust.md",
    "docs/guide/node.md",
    "docs/guide/testing.md",
    "docs/guide/tuning.md",
    "docs/guide/command-line.md",
    "docs/guide/operating.md",
    "docs/server/operations.md",
    "docs/server/running.md",
];
const PREFIX: &str = "cargo run --release -- ";

#[test]
fn each_command_of_the_readme_and_the_guide_is_accepted() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut commands = 0;
    for page in PAGES {
        let text = fs::read_to_string(root.join(page)).unwrap();
        for command in text.lines().filter_map(|line| line.strip_prefix(PREFIX)) {
            // With --help, the program runs nothing and still refuses an unknown command or option.
            let output = Command::new(env!("CARGO_BIN_EXE_zraft"))
                .args(command.split(' '))
                .arg("--help")
                .output()
                .unwrap();
            let problem = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{page}: {command}: {problem}");
            commands += 1;
        }
    }
    assert!(commands >= 5, "{commands} commands");
}
