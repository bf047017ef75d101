//! The configuration file.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    path::Path,
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use zraft_store::{Disk, Folder};

use super::{ConfigError, ConfigOption, OPTIONS, SECTIONS, ServerConfig, table::Kind};

/// The longest file: some hundred times all options with their comments.
const MAX_LEN: u64 = 1 << 20;

/// A key in the file.
struct Entry<'t> {
    line: usize,
    section: String,
    key: String,
    value: &'t DeValue<'t>,
}

impl Entry<'_> {
    /// Returns true for a known section without keys. It sets nothing.
    fn is_empty_section(&self) -> bool {
        let known = SECTIONS.iter().any(|(name, _)| *name == self.key);
        self.section.is_empty() && known && self.value.is_table()
    }
}

impl ServerConfig {
    /// Reads the file [`FILE`](Self::FILE) of a data directory. Does nothing if there is none.
    ///
    /// # Errors
    /// [`ConfigError`] names the line and the option.
    pub fn read_directory(&mut self, directory: &Path) -> Result<(), ConfigError> {
        let path = directory.join(Self::FILE);
        match path.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            _ => self.read_path(&path),
        }
    }

    /// Reads a file, which must exist.
    ///
    /// # Errors
    /// [`ConfigError`] names the line and the option.
    pub fn read_path(&mut self, path: &Path) -> Result<(), ConfigError> {
        let place = path.display().to_string();
        let failed = |error: io::Error| ConfigError::new(&place, error.to_string());
        let mut text = String::new();
        // One byte more than the limit tells a file that is too long from one that just fits.
        let file = File::open(path).map_err(failed)?;
        file.take(MAX_LEN + 1).read_to_string(&mut text).map_err(failed)?;
        if text.len() as u64 > MAX_LEN {
            return Err(ConfigError::new(place, format!("longer than {MAX_LEN} bytes")));
        }
        self.read_file(&place, &text)
    }

    /// Reads the text of a file. `place` names it in errors.
    ///
    /// # Errors
    /// [`ConfigError`] names the line and the option.
    pub fn read_file(&mut self, place: &str, text: &str) -> Result<(), ConfigError> {
        let line_of = |at: usize| 1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count();
        let parsed = DeTable::parse(text).map_err(|error| {
            let line = error.span().map_or(1, |span| line_of(span.start));
            ConfigError::new(format!("{place}:{line}"), error.message().replace('\n', ", "))
        })?;
        let mut entries = Vec::new();
        for (key, value) in parsed.get_ref() {
            collect(key, value, line_of, &mut entries);
        }
        entries.sort_by_key(|entry| entry.line);
        for entry in entries {
            if entry.is_empty_section() {
                continue;
            }
            let place = format!("{place}:{}", entry.line);
            let set = find(&entry).and_then(|option| {
                self.set_value(option, entry.value)?;
                Ok(option)
            });
            let option = set.map_err(|problem| ConfigError::new(&place, problem))?;
            self.origins.insert(option.flag, place);
        }
        Ok(())
    }

    fn set_value(&mut self, option: &ConfigOption, value: &DeValue<'_>) -> Result<(), String> {
        let set = match (&option.kind, value) {
            (Kind::Text { write, .. }, DeValue::String(text)) => write(self, text),
            (Kind::Switch { write, .. }, DeValue::Boolean(on)) => {
                write(self, *on);
                Ok(())
            }
            (Kind::Number { .. }, DeValue::Integer(number)) => {
                match u64::from_str_radix(number.as_str(), number.radix()) {
                    Ok(number) => option.set_number(self, number),
                    Err(_) => Err(option.wants_number(&number.to_string())),
                }
            }
            (Kind::Text { .. }, _) => Err("text in quotation marks is expected".to_owned()),
            (Kind::Switch { .. }, _) => Err("true or false is expected".to_owned()),
            (Kind::Number { .. }, _) => Err(option.wants_number(value.type_str())),
        };
        set.map_err(|problem| format!("{option}: {problem}"))
    }

    /// Writes the chosen options to the file [`FILE`](Self::FILE) of a directory, which is made if it does not exist. Only
    /// the owner may read the file, and a new directory.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] if the file exists; any other error of the file system.
    pub fn create_in(&self, directory: &Path) -> io::Result<()> {
        let folder = Folder::create(directory)?;
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(directory.join(Self::FILE))?;
        file.write_all(self.chosen().as_bytes())?;
        file.sync_all()?;
        folder.sync()
    }
}

/// Collects a key, or the keys of a section. A table within a section is left for [`find`], which knows no such key.
fn collect<'t>(
    key: &Spanned<std::borrow::Cow<'t, str>>,
    value: &'t Spanned<DeValue<'t>>,
    line_of: impl Fn(usize) -> usize,
    entries: &mut Vec<Entry<'t>>,
) {
    let entry = |section: &str, key: &Spanned<std::borrow::Cow<'t, str>>, value| Entry {
        line: line_of(key.span().start),
        section: section.to_owned(),
        key: key.get_ref().to_string(),
        value,
    };
    match value.get_ref().as_table() {
        Some(keys) if !keys.is_empty() => {
            for (inner, value) in keys {
                entries.push(entry(key.get_ref(), inner, value.get_ref()));
            }
        }
        _ => entries.push(entry("", key, value.get_ref())),
    }
}

/// Finds the option of a key, or says which ones there are.
fn find(entry: &Entry<'_>) -> Result<&'static ConfigOption, String> {
    let in_section = || OPTIONS.iter().filter(|option| option.section == entry.section);
    if let Some(option) = in_section().find(|option| option.key() == entry.key) {
        return Ok(option);
    }
    let known = |names: Vec<String>| names.join(", ");
    let is_section = entry.section.is_empty() && entry.value.is_table();
    if is_section || in_section().next().is_none() {
        let name = if is_section { &entry.key } else { &entry.section };
        let sections = SECTIONS.iter().filter(|(name, _)| !name.is_empty());
        let sections = known(sections.map(|(name, _)| format!("[{name}]")).collect());
        return Err(format!("unknown section [{name}]: the sections are {sections}"));
    }
    let (path, section) = match entry.section.as_str() {
        "" => (entry.key.clone(), "above the first section, the options".to_owned()),
        section => (format!("{section}.{}", entry.key), format!("the options of [{section}]")),
    };
    let keys = known(in_section().map(ConfigOption::key).collect());
    Err(format!("unknown option {path}: {section} are {keys}"))
}

/// Returns text as TOML writes it.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            control if control.is_control() => {
                quoted.push_str(&format!("\\u{:04X}", u32::from(control)));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}
