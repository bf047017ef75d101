//! Phrases that this project does not use, in prose, comments, messages and names alike.
//!
//! Most readers are in a hurry, and many are not native speakers: these phrases are archaic or must be decoded. CONTRIBUTING.md has the
//! rules; this list holds those that a program can check.

use std::fmt;

/// A phrase that is not used, and when it is allowed after all.
#[derive(Debug)]
struct Phrase {
    words: &'static [&'static str],
    /// Allowed after one of these words.
    unless_after: &'static [&'static str],
    /// Allowed before one of these words.
    unless_before: &'static [&'static str],
    instead: &'static str,
}

const fn phrase(words: &'static [&'static str], instead: &'static str) -> Phrase {
    Phrase { words, unless_after: &[], unless_before: &[], instead }
}

const PHRASES: &[Phrase] = &[
    phrase(&["so", "many"], "this many, or the number"),
    phrase(&["anew"], "again"),
    phrase(&["somebody"], "name who: a caller, a peer, someone"),
    phrase(&["nobody"], "no one, or name who: no caller, no peer"),
    phrase(&["told", "of"], "notified of"),
    phrase(&["befall"], "happen to"),
    phrase(&["befalls"], "happens to"),
    phrase(&["befell"], "happened to"),
    phrase(&["befallen"], "happened to"),
    phrase(&["lest"], "so that … not"),
    Phrase {
        words: &["for", "good"],
        unless_after: &[],
        unless_before: &["measure", "reason", "reasons"],
        instead: "permanently",
    },
    phrase(&["is", "to", "be"], "must be, or name who does it"),
    phrase(&["are", "to", "be"], "must be, or name who does it"),
    phrase(&["of", "its", "own"], "its own"),
    phrase(&["of", "their", "own"], "their own"),
    Phrase {
        words: &["is", "no"],
        unless_after: &["here", "there"],
        unless_before: &[
            "better",
            "different",
            "earlier",
            "fewer",
            "higher",
            "larger",
            "later",
            "less",
            "longer",
            "lower",
            "more",
            "one",
            "op",
            "shorter",
            "slower",
            "smaller",
            "such",
            "worse",
        ],
        instead: "is not a",
    },
    phrase(&["what", "is", "due"], "name it: the due requests"),
    phrase(&["those", "that", "wait"], "name them: the waiting requests"),
];

/// A phrase or comment to rewrite.
#[derive(Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file, relative to the root.
    pub file: String,
    /// The line, from 1 on.
    pub line: usize,
    /// The words found, and what to write instead.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}: {}", self.file, self.line, self.what)
    }
}

/// Returns true if people read this file as this project's own words. Captures, corpora, lock files, licences, measured results and
/// pictures are data or others' texts; this file names the phrases.
#[must_use]
pub fn is_read(file: &str) -> bool {
    const FOLDERS: [&str; 3] =
        ["testdata/captures/", "verification/fuzz/corpus/", "bench/results/"];
    const ENDINGS: [&str; 6] =
        [".lock", "package-lock.json", ".jsonl", ".svg", ".proptest-regressions", ".bin"];
    !FOLDERS.iter().any(|folder| file.starts_with(folder))
        && !ENDINGS.iter().any(|ending| file.ends_with(ending))
        && !file.contains("LICENSE-")
        && file != "verification/repository/src/words.rs"
}

/// Returns what must be rewritten in one file, in the order of its lines.
#[must_use]
pub fn findings(file: &str, text: &str) -> Vec<Finding> {
    let mut found = phrases(file, text);
    if file.ends_with(".rs") {
        found.extend(one_word_comments(file, text, rust_doc));
    } else if file.ends_with(".ts") || file.ends_with(".mts") || file.ends_with(".mjs") {
        found.extend(one_word_comments(file, text, typescript_doc));
    }
    found.sort_by_key(|finding| finding.line);
    found
}

/// A word of a text, in lower case, with its line and the characters between it and the word before.
#[derive(Debug)]
struct Word<'a> {
    text: String,
    line: usize,
    gap: &'a str,
}

/// Splits a text at everything that is not a letter or digit, so that names such as `test_of_something` are read as words.
fn words(text: &str) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let (mut line, mut gap_from, mut from) = (1, 0, None);
    for (at, character) in text.char_indices().chain([(text.len(), '\n')]) {
        match (character.is_alphanumeric(), from) {
            (true, None) => from = Some(at),
            (false, Some(start)) => {
                let gap = &text[gap_from..start];
                words.push(Word { text: text[start..at].to_lowercase(), line, gap });
                (gap_from, from) = (at, None);
            }
            _ => {}
        }
        if character == '\n' {
            line += 1;
        }
    }
    words
}

/// Returns true if a phrase may run over these characters: spaces, line ends and the marks that begin a comment's next line.
fn joins(gap: &str) -> bool {
    gap.chars().all(|character| character.is_whitespace() || "_/*!#>".contains(character))
}

fn phrases(file: &str, text: &str) -> Vec<Finding> {
    let words = words(text);
    let mut found = Vec::new();
    for at in 0..words.len() {
        for phrase in PHRASES {
            let Some(candidate) = words.get(at..at + phrase.words.len()) else { continue };
            let same =
                candidate.iter().zip(phrase.words).all(|(word, wanted)| word.text == *wanted)
                    && candidate.iter().skip(1).all(|word| joins(word.gap));
            if !same {
                continue;
            }
            let neighbour = |word: Option<&Word<'_>>, allowed: &[&str]| {
                word.is_some_and(|word| allowed.contains(&word.text.as_str()))
            };
            let before = at.checked_sub(1).and_then(|before| words.get(before));
            let after = words.get(at + phrase.words.len());
            if neighbour(before, phrase.unless_after) || neighbour(after, phrase.unless_before) {
                continue;
            }
            found.push(Finding {
                file: file.to_owned(),
                line: candidate[0].line,
                what: format!("“{}” → {}", phrase.words.join(" "), phrase.instead),
            });
        }
    }
    found
}

/// The text of a line that is a Rust doc comment.
fn rust_doc(line: &str) -> Option<&str> {
    line.strip_prefix("///").or_else(|| line.strip_prefix("//!"))
}

/// The text of a TypeScript doc comment that stands on one line.
fn typescript_doc(line: &str) -> Option<&str> {
    line.strip_prefix("/**").and_then(|rest| rest.strip_suffix("*/"))
}

/// Finds doc comments of one word. They say nothing that the name does not.
fn one_word_comments(file: &str, text: &str, doc: fn(&str) -> Option<&str>) -> Vec<Finding> {
    let lines: Vec<Option<&str>> = text.lines().map(|line| doc(line.trim())).collect();
    let is_doc = |at: Option<usize>| at.and_then(|at| lines.get(at)).is_some_and(Option::is_some);
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(comment) = line else { continue };
        let mut words = comment.split_whitespace();
        let (Some(word), None) = (words.next(), words.next()) else { continue };
        if !is_doc(at.checked_sub(1)) && !is_doc(Some(at + 1)) {
            found.push(Finding {
                file: file.to_owned(),
                line: at + 1,
                what: format!(
                    "doc comment of one word, “{word}”: say more than the name, or delete it"
                ),
            });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(file: &str, text: &str) -> Vec<usize> {
        findings(file, text).iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn a_phrase_is_found_in_prose_comments_and_names() {
        assert_eq!(lines("a.md", "It begins\nAnew.\n"), [2]);
        assert_eq!(lines("a.rs", "/// Not so many bytes.\nfn it_is_told_of_it() {}\n"), [1, 2]);
        assert_eq!(lines("verify", "# it is to be read\n"), [1]);
    }

    #[test]
    fn a_phrase_is_found_where_a_comment_is_wrapped() {
        assert_eq!(
            lines("a.rs", "// Requests that end for\n    // good, so\n    /// many of them.\n"),
            [1, 2]
        );
        assert_eq!(lines("a.ts", "/**\n * It is\n * no client.\n */\n"), [2]);
    }

    #[test]
    fn words_that_other_characters_part_are_not_a_phrase() {
        assert_eq!(lines("a.rs", "let (so, many) = (told.of(), 1);\n"), [0; 0]);
        assert_eq!(lines("a.md", "| is | no |\nlatest, Newest\n"), [0; 0]);
    }

    #[test]
    fn idioms_with_the_same_words_are_allowed() {
        let text = "There is no leader. It is no longer one, for good reasons. The file is no such file.\n";
        assert_eq!(lines("a.md", text), [0; 0]);
    }

    #[test]
    fn a_doc_comment_of_one_word_is_found() {
        let rust = "/// It.\nfn it() {}\n/// Returns it.\nfn other() {}\n/// One\n/// two.\nfn third() {}\n";
        assert_eq!(lines("a.rs", rust), [1]);
        assert_eq!(lines("a.ts", "/** Which. */\nlet a;\n/** Which one. */\nlet b;\n"), [1]);
    }
}
