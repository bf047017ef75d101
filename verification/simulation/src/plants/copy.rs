//! The copy of the sources with every bug in it, each behind a switch: a separate workspace below `target/planted`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs, io,
    path::{Path, PathBuf},
};

use super::patch::{Edits, Patch, edited};

/// The folders of the crates that are copied: this one, and those that it depends on.
const CRATES: [&str; 12] = [
    "crates/client",
    "crates/core",
    "crates/kv",
    "crates/protocol",
    "crates/replica",
    "crates/session",
    "crates/store",
    "crates/test-server",
    "crates/zmtp",
    "verification/disk",
    "verification/rig",
    "verification/simulation",
];

/// Where things come from and go to.
#[derive(Debug)]
struct Copy<'a> {
    root: &'a Path,
    to: PathBuf,
    written: BTreeSet<PathBuf>,
}

/// Writes the copy below `target/planted` of the repository at `root`, and returns its folder. A file that is there already with the
/// same content is left alone, so cargo builds again only what has changed.
///
/// # Errors
/// A patch does not apply, or a file cannot be read or written.
pub fn write_planted_copy(root: &Path, patches: &[Patch]) -> Result<PathBuf, String> {
    let to = root.join("target/planted");
    let mut copy = Copy { root, to, written: BTreeSet::new() };
    let sources = patched_sources(root, patches)?;
    let told = |error: io::Error| format!("{}: {error}", copy_name());
    for folder in CRATES {
        copy.folder(Path::new(folder), &sources).map_err(told)?;
        if sources.keys().any(|file| Path::new(file).starts_with(folder)) {
            copy.depend_on_switches(folder).map_err(told)?;
        }
    }
    copy.workspace(patches).map_err(told)?;
    copy.remove_others(&copy.to.clone()).map_err(told)?;
    Ok(copy.to)
}

fn copy_name() -> &'static str {
    "target/planted cannot be written"
}

/// The number of a bug, by its name.
fn number(patches: &[Patch], name: &str) -> Option<usize> {
    patches.iter().filter(|patch| patch.is_bug).position(|patch| patch.name == name)
}

/// Every file that some patch changes, with all patches applied.
pub(super) fn patched_sources(
    root: &Path,
    patches: &[Patch],
) -> Result<BTreeMap<String, String>, String> {
    let mut texts: BTreeMap<String, (String, Edits)> = BTreeMap::new();
    let used = std::cell::RefCell::new(BTreeSet::new());
    for patch in patches {
        for hunk in &patch.hunks {
            let (text, edits) = match texts.entry(hunk.file.clone()) {
                std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
                std::collections::btree_map::Entry::Vacant(place) => {
                    let text = fs::read_to_string(root.join(&hunk.file)).map_err(|error| {
                        format!("plants/{}.patch: {}: {error}", patch.name, hunk.file)
                    })?;
                    place.insert((text, Edits::new()))
                }
            };
            let lines: Vec<&str> = text.lines().collect();
            patch.note(hunk, &lines, edits, |name| {
                let number = number(patches, name)?;
                used.borrow_mut().insert(name.to_owned());
                Some(format!("::museum::is({number})"))
            })?;
        }
    }
    let used = used.into_inner();
    if let Some(idle) = patches.iter().find(|patch| patch.is_bug && !used.contains(&patch.name)) {
        return Err(format!("no patch asks whether {} is planted", idle.name));
    }
    let apply = |(file, (text, edits)): (String, (String, Edits))| {
        let lines: Vec<&str> = text.lines().collect();
        (file, edited(&lines, &edits))
    };
    Ok(texts.into_iter().map(apply).collect())
}

impl Copy<'_> {
    fn folder(&mut self, path: &Path, sources: &BTreeMap<String, String>) -> io::Result<()> {
        for entry in fs::read_dir(self.root.join(path))? {
            let entry = entry?;
            let path = path.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                self.folder(&path, sources)?;
                continue;
            }
            match path.to_str().and_then(|path| sources.get(path)) {
                Some(patched) => self.write(&path, patched.as_bytes())?,
                None => {
                    let content = fs::read(self.root.join(&path))?;
                    self.write(&path, &content)?;
                }
            }
        }
        Ok(())
    }

    fn write(&mut self, path: &Path, content: &[u8]) -> io::Result<()> {
        let file = self.to.join(path);
        if !fs::read(&file).is_ok_and(|present| present == content) {
            fs::create_dir_all(file.parent().unwrap_or(&file))?;
            fs::write(&file, content)?;
        }
        self.written.insert(file);
        Ok(())
    }

    fn depend_on_switches(&mut self, folder: &str) -> io::Result<()> {
        let path = Path::new(folder).join("Cargo.toml");
        let manifest = fs::read_to_string(self.root.join(&path))?;
        let line = "[dependencies]\n";
        let more = format!("{line}museum = {{ path = \"../../museum\" }}\n");
        self.write(&path, manifest.replacen(line, &more, 1).as_bytes())
    }

    /// The manifests, the switches and the program that visits the bugs.
    fn workspace(&mut self, patches: &[Patch]) -> io::Result<()> {
        let mut manifest = String::new();
        let text = fs::read_to_string(self.root.join("Cargo.toml"))?;
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            let key = line.split(' ').next().unwrap_or_default();
            if !matches!(key, "members" | "exclude" | "default-members") {
                manifest.push_str(line);
                manifest.push('\n');
                continue;
            }
            // These lists may have a line for each entry.
            let mut last = line;
            while !last.ends_with(']') {
                let Some(next) = lines.next() else { break };
                last = next;
            }
            if key == "members" {
                manifest.push_str(
                    "members = [\"crates/*\", \"verification/*\", \"museum\", \"visit\"]\n",
                );
            }
        }
        self.write(Path::new("Cargo.toml"), manifest.as_bytes())?;
        // Cargo takes the switches and the program into it.
        let lock = self.to.join("Cargo.lock");
        let root_lock = fs::read(self.root.join("Cargo.lock"))?;
        let seen = Path::new("Cargo.lock.root");
        if !fs::read(self.to.join(seen)).is_ok_and(|seen| seen == root_lock) {
            fs::write(&lock, &root_lock)?;
        }
        self.write(seen, &root_lock)?;
        self.written.insert(lock);

        let scaffold = self.root.join("verification/simulation/plants/scaffold");
        let mut switches = fs::read_to_string(scaffold.join("switches.rs"))?;
        let _ = writeln!(switches, "\n/// Every bug, by its number.\npub const BUGS: &[Bug] = &[");
        for patch in patches.iter().filter(|patch| patch.is_bug) {
            let Patch { name, title, by_simulation, by_corpus, by_cluster, from, .. } = patch;
            let _ = writeln!(
                switches,
                "    Bug {{ name: {name:?}, title: {title:?}, by_simulation: {by_simulation}, by_corpus: {by_corpus}, by_cluster: {by_cluster}, from: {from} }},"
            );
        }
        switches.push_str("];\n");
        self.write(Path::new("museum/src/lib.rs"), switches.as_bytes())?;
        self.write(Path::new("museum/Cargo.toml"), package("museum", "").as_bytes())?;
        let program = fs::read(scaffold.join("visit.rs"))?;
        self.write(Path::new("visit/src/main.rs"), &program)?;
        let dependencies = "\n[dependencies]\nmuseum = { path = \"../museum\" }\n\
            zraft-simulation = { path = \"../verification/simulation\", default-features = false }\n";
        self.write(Path::new("visit/Cargo.toml"), package("zraft-museum", dependencies).as_bytes())
    }

    /// Files of an earlier copy that are no longer among the sources.
    fn remove_others(&self, folder: &Path) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                self.remove_others(&entry.path())?;
            } else if !self.written.contains(&entry.path()) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

fn package(name: &str, dependencies: &str) -> String {
    format!(
        "[package]\nname = \"{name}\"\nversion = \"0.0.0\"\nedition.workspace = true\npublish = false\n{dependencies}"
    )
}
