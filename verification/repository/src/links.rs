//! Checks that documents point at files and headings that exist.

use std::collections::{BTreeMap, BTreeSet};

/// The folders with which a path in backticks begins.
const FOLDERS: [&str; 6] =
    ["bench/", "crates/", "docs/", "packages/", "testdata/", "verification/"];

/// Folders that git does not track: builds, fuzzing and releases make them.
const MADE: [&str; 6] = [
    "packages/node/dist",
    "packages/node/docs",
    "packages/node/release",
    "verification/fuzz/artifacts",
    "verification/fuzz/found",
    "verification/interop/jeromq/target",
];

/// The documents and the other files of a repository.
#[derive(Debug)]
pub struct Documents {
    /// Every file, and every folder that holds one.
    paths: BTreeSet<String>,
    /// The text of each Markdown file, by its path.
    texts: BTreeMap<String, String>,
}

impl Documents {
    /// Takes the paths of all files, and the texts of the Markdown files among them.
    #[must_use]
    pub fn new(files: &[String], texts: BTreeMap<String, String>) -> Self {
        let mut paths = BTreeSet::new();
        for file in files {
            let mut path = file.as_str();
            while paths.insert(path.to_owned()) {
                match path.rsplit_once('/') {
                    Some((folder, _)) => path = folder,
                    None => break,
                }
            }
        }
        Self { paths, texts }
    }

    /// Returns the links and paths that lead nowhere, one line each.
    #[must_use]
    pub fn findings(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (file, text) in &self.texts {
            for (at, line) in prose(text) {
                for target in links(line) {
                    if let Some(fault) = self.fault(file, target) {
                        found.push(format!("{file}:{at}: {fault}"));
                    }
                }
                for path in in_backticks(line).flat_map(alternatives) {
                    if !self.exists(&path) {
                        found.push(format!("{file}:{at}: {path} does not exist"));
                    }
                }
            }
        }
        found
    }

    fn fault(&self, file: &str, target: &str) -> Option<String> {
        if target.contains("://") || target.starts_with("mailto:") {
            return None;
        }
        let (path, heading) = target.split_once('#').unwrap_or((target, ""));
        let path = if path.is_empty() { file.to_owned() } else { join(file, path) };
        if !self.exists(&path) {
            return Some(format!("the link to {target} leads to no file"));
        }
        let text = self.texts.get(&path)?;
        let is_known = heading.is_empty() || headings(text).contains(heading);
        (!is_known).then(|| format!("the link to {target} leads to no heading"))
    }

    fn exists(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        self.paths.contains(path) || MADE.iter().any(|made| path.starts_with(made))
    }
}

/// The lines outside code blocks, with their numbers.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_code = false;
    text.lines().enumerate().filter_map(move |(at, line)| {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
            return None;
        }
        (!is_code).then_some((at + 1, line))
    })
}

/// The targets of the Markdown links of a line.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target)
}

/// The words in backticks of a line that are paths below the root. Words with capitals only or wildcards stand for a choice.
fn in_backticks(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2).flat_map(str::split_whitespace).filter(|word| {
        let is_choice = word.contains('*') || word.contains('…') || word.contains('<');
        let is_placeholder = word.split('/').any(|part| {
            part.len() > 1 && part.chars().all(|character| character.is_ascii_uppercase())
        });
        FOLDERS.iter().any(|folder| word.starts_with(folder)) && !is_choice && !is_placeholder
    })
}

/// The paths that `a/{b,c}.rs` stands for.
fn alternatives(path: &str) -> Vec<String> {
    let path = path.trim_end_matches([',', ':', ';']);
    match path.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?))) {
        Some((before, (choices, after))) => {
            choices.split(',').map(|choice| format!("{before}{choice}{after}")).collect()
        }
        None => vec![path.to_owned()],
    }
}

/// The path that a link of a file leads to, relative to the root.
fn join(file: &str, target: &str) -> String {
    let mut parts: Vec<&str> = file.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "." | "" => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// The names by which links address the headings of a text. The second of two equal names gets `-1`, the third `-2`.
fn headings(text: &str) -> BTreeSet<String> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut names = BTreeSet::new();
    for name in prose(text).filter_map(|(_, line)| slug(line)) {
        let count = counts.entry(name.clone()).or_default();
        names.insert(if *count == 0 { name } else { format!("{name}-{count}") });
        *count += 1;
    }
    names
}

/// The name by which links address a heading, or `None` if the line is not a heading.
fn slug(line: &str) -> Option<String> {
    let title = line.strip_prefix('#')?.trim_start_matches('#').strip_prefix(' ')?;
    let kept = title.trim().to_lowercase();
    let kept =
        kept.chars().filter(|character| character.is_alphanumeric() || " -_".contains(*character));
    Some(kept.map(|character| if character == ' ' { '-' } else { character }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(text: &str) -> Vec<String> {
        let files = ["README.md", "docs/guide/a.md", "docs/b.md", "crates/core/src/lib.rs"];
        let texts = [
            ("docs/guide/a.md".to_owned(), text.to_owned()),
            (
                "docs/b.md".to_owned(),
                "# The title: one\n```\n# no heading\n```\n## Again\n## Again\n".to_owned(),
            ),
        ];
        Documents::new(&files.map(str::to_owned), texts.into()).findings()
    }

    #[test]
    fn links_to_files_folders_and_headings_pass() {
        let text = "[a](../b.md) [b](../b.md#the-title-one) [b2](../b.md#again-1) [c](../../README.md) [d](https://example.org/x) [e](../)\n";
        assert_eq!(findings(text), [""; 0]);
    }

    #[test]
    fn a_link_to_a_missing_file_or_heading_is_found() {
        assert_eq!(
            findings(
                "# T\n[a](b.md)\n[b](../b.md#no-heading)\n[c](#u) [d](#t) [e](../b.md#again-2)\n"
            ),
            [
                "docs/guide/a.md:2: the link to b.md leads to no file",
                "docs/guide/a.md:3: the link to ../b.md#no-heading leads to no heading",
                "docs/guide/a.md:4: the link to #u leads to no heading",
                "docs/guide/a.md:4: the link to ../b.md#again-2 leads to no heading",
            ]
        );
    }

    #[test]
    fn a_path_in_backticks_must_exist() {
        assert_eq!(
            findings(
                "`crates/core/src/`, `crates/*/tests`, `docs/TARGET/x`, `cargo run docs/b.md`\n"
            ),
            [""; 0]
        );
        assert_eq!(
            findings("`crates/core/src/{lib,other}.rs`\n"),
            ["docs/guide/a.md:1: crates/core/src/other.rs does not exist"]
        );
    }
}
