//! One patch: how it is read, and where its hunks apply.

use std::{collections::BTreeMap, fs, path::Path};

/// The checks that find planted bugs.
const JUDGES: [&str; 3] = ["simulation", "corpus", "cluster"];

/// A planted bug, or code that several of them share.
#[derive(Debug)]
pub struct Patch {
    /// The file's name without its extension.
    pub name: String,
    /// What the bug does wrong.
    pub title: String,
    /// False for code that several bugs share.
    pub is_bug: bool,
    /// An invariant of the simulation must find it.
    pub by_simulation: bool,
    /// The corpus of the fuzz target `machine` must find it.
    pub by_corpus: bool,
    /// An invariant of the simulation of replicated clusters must find it.
    pub by_cluster: bool,
    /// The first seed to run. Above 0 only for a bug that needs a rare course.
    pub from: u64,
    pub(super) hunks: Vec<Hunk>,
}

/// A change to one block of one file.
#[derive(Debug)]
pub(super) struct Hunk {
    /// Relative to the root of the repository.
    pub(super) file: String,
    block: String,
    lines: Vec<Line>,
}

#[derive(Debug)]
enum Line {
    Context(String),
    Remove(String),
    Add(String),
}

/// What happens at one line of a file: lines added before it, and which patch removes it.
#[derive(Debug, Default)]
pub(super) struct Edit {
    added: Vec<String>,
    removed_by: Option<String>,
}

/// The edits of one file, by line.
pub(super) type Edits = BTreeMap<usize, Edit>;

impl Patch {
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        let text = fs::read_to_string(path).map_err(|error| format!("{shown}: {error}"))?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Self::parse(name, &text).map_err(|what| format!("{shown}: {what}"))
    }

    fn parse(name: String, text: &str) -> Result<Self, String> {
        let mut lines = text.lines();
        let title = lines.next().unwrap_or_default().to_owned();
        let is_bug = !title.starts_with("Support:");
        let found_by = lines.next().unwrap_or_default();
        let (found_by, from) = match found_by.split_once(", from seed ") {
            Some((found_by, from)) => {
                (found_by, from.parse().map_err(|_| format!("`{from}` is not a seed"))?)
            }
            None => (found_by, 0),
        };
        let judges: Vec<&str> = match found_by.strip_prefix("Found by: ") {
            Some(judges) => judges.split(", ").collect(),
            None if is_bug => return Err("line 2 must begin with `Found by: `".to_owned()),
            None => Vec::new(),
        };
        if let Some(other) = judges.iter().find(|judge| !JUDGES.contains(judge)) {
            return Err(format!("`{other}` finds no bugs: name some of {}", JUDGES.join(", ")));
        }
        let (mut file, mut hunks) = (None, Vec::<Hunk>::new());
        for line in lines.filter(|line| !line.is_empty()) {
            if let Some(path) = line.strip_prefix("--- ") {
                file = Some(path.to_owned());
            } else if let Some(block) = line.strip_prefix("@@ ") {
                let file = file.clone().ok_or("`@@` stands before any `---`")?;
                hunks.push(Hunk { file, block: block.trim().to_owned(), lines: Vec::new() });
            } else {
                let hunk = hunks.last_mut().ok_or("a line of code stands before any `@@`")?;
                hunk.lines.push(match line.split_at_checked(1) {
                    Some((" ", code)) => Line::Context(code.to_owned()),
                    Some(("-", code)) => Line::Remove(code.to_owned()),
                    Some(("+", code)) => Line::Add(code.to_owned()),
                    _ => return Err(format!("`{line}` begins with neither ` `, `-` nor `+`")),
                });
            }
        }
        let by = |judge| judges.contains(&judge);
        let (by_simulation, by_corpus) = (by("simulation"), by("corpus"));
        let by_cluster = by("cluster");
        Ok(Self { name, title, is_bug, by_simulation, by_corpus, by_cluster, from, hunks })
    }

    /// Notes what a hunk does to the source, whose lines have not been changed by any patch. `switch` gives the expression
    /// for `PLANTED`, and for `PLANTED("name")`.
    pub(super) fn note(
        &self,
        hunk: &Hunk,
        source: &[&str],
        edits: &mut Edits,
        switch: impl Fn(&str) -> Option<String>,
    ) -> Result<(), String> {
        let failed = |what: String| {
            format!(
                "verification/simulation/plants/{}.patch no longer applies to {}: {what}. Edit the patch until its `@@` line and \
                 the lines that begin with a space or `-` are those of the file again; a fixed bug's patch may have to \
                 plant it in another way.",
                self.name, hunk.file
            )
        };
        let start = hunk.place(source).map_err(&failed)?;
        let mut at = start;
        for line in &hunk.lines {
            match line {
                Line::Context(_) => at += 1,
                Line::Remove(code) => {
                    let edit = edits.entry(at).or_default();
                    if let Some(other) = edit.removed_by.replace(self.name.clone()) {
                        return Err(failed(format!(
                            "{other}.patch changes the same line, `{code}`"
                        )));
                    }
                    at += 1;
                }
                Line::Add(code) => {
                    let code = self.with_switches(code, &switch).map_err(&failed)?;
                    edits.entry(at).or_default().added.push(code);
                }
            }
        }
        Ok(())
    }

    fn with_switches(
        &self,
        code: &str,
        switch: &impl Fn(&str) -> Option<String>,
    ) -> Result<String, String> {
        let mut parts = code.split("PLANTED");
        let mut written = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let other = part.strip_prefix("(\"").and_then(|rest| rest.split_once("\")"));
            let (name, rest) = other.unwrap_or((&self.name, part));
            let known = switch(name).ok_or_else(|| format!("there is no bug called {name}"))?;
            written.push_str(&known);
            written.push_str(rest);
        }
        Ok(written)
    }
}

impl Hunk {
    /// The line of the source at which the hunk begins.
    fn place(&self, source: &[&str]) -> Result<usize, String> {
        let wanted: Vec<&str> = self.lines.iter().filter_map(Line::expected).collect();
        if wanted.is_empty() {
            return Err(format!("a hunk of `{}` names no line of the source", self.block));
        }
        let blocks: Vec<usize> =
            (0..source.len()).filter(|&at| source[at].contains(&self.block)).collect();
        let &[first] = blocks.as_slice() else {
            return Err(format!("`{}` occurs in {} lines, not in one", self.block, blocks.len()));
        };
        let last = end_of_block(source, first);
        let fits = |at: &usize| {
            let here = source[*at..].iter().map(|line| line.trim());
            wanted.iter().copied().eq(here.take(wanted.len()))
        };
        let places: Vec<usize> = (first + 1..=last).filter(fits).collect();
        match places.as_slice() {
            &[place] => Ok(place),
            [] => Err(format!("`{}` does not contain `{}`", self.block, wanted.join(" ⏎ "))),
            _ => Err(format!("`{}` contains `{}` more than once", self.block, wanted.join(" ⏎ "))),
        }
    }
}

impl Line {
    fn expected(&self) -> Option<&str> {
        match self {
            Self::Context(code) | Self::Remove(code) => Some(code.trim()),
            Self::Add(_) => None,
        }
    }
}

/// The last line of the block that begins at `first`: the first closing bracket as far to the left.
fn end_of_block(source: &[&str], first: usize) -> usize {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let left = indent(source[first]);
    let closes = |line: &str| line.trim_start().starts_with('}') && indent(line) == left;
    (first + 1..source.len()).find(|&at| closes(source[at])).unwrap_or(source.len() - 1)
}

/// The source with all edits made.
pub(super) fn edited(source: &[&str], edits: &Edits) -> String {
    let mut text = String::new();
    for at in 0..=source.len() {
        let edit = edits.get(&at);
        for line in edit.map(|edit| &edit.added).into_iter().flatten() {
            text.push_str(line);
            text.push('\n');
        }
        if let Some(line) = source.get(at)
            && edit.is_none_or(|edit| edit.removed_by.is_none())
        {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests;
