//! Contexts: named settings of clusters in a file of the user.
//!
//! ```toml
//! current = "prod"
//!
//! [contexts.prod]
//! endpoints = ["node-1=tls://db-1.example.com:7001", "node-2=tls://db-2.example.com:7001"]
//! tls_ca = "prod/ca.pem"
//! token_file = "prod/client.token"
//! ```
//!
//! The file holds no secret, only the paths of the files that do. A relative path begins at the folder of the file.

use std::{
    fmt,
    fs::{self, File},
    io::{self, Read, Write},
    ops::Range,
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;
use toml_edit::{Array, Document, DocumentMut, InlineTable, Item, Table, TableLike, value};

use super::{Layer, Setting};

/// The longest file: thousands of contexts.
const MAX_FILE: u64 = 1 << 20;
/// The longest name of a context: it stands in messages and on command lines.
const MAX_NAME: usize = 64;

/// What is wrong with the file, or with a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem(String);

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Problem {
    fn new(place: impl fmt::Display, problem: impl fmt::Display) -> Self {
        Self(format!("{place}: {problem}"))
    }
}

/// A context: its name, its file and its settings.
pub type Context = (String, PathBuf, Layer);

/// Returns the file with the contexts: `ZRAFT_CONFIG`, else `zraft/config.toml` in the user's folder of configurations.
pub(super) fn place(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    if let Some(file) = variable("ZRAFT_CONFIG") {
        return Some(file);
    }
    // The specification of XDG says to ignore a relative path.
    let xdg = variable("XDG_CONFIG_HOME").filter(|folder| folder.is_absolute());
    let folder = xdg.or_else(|| match cfg!(windows) {
        true => variable("APPDATA"),
        false => variable("HOME").map(|home| home.join(".config")),
    });
    Some(folder?.join("zraft").join("config.toml"))
}

/// Returns the context with this name.
///
/// # Errors
/// [`Problem`], also if there is none.
pub fn named(file: Option<&Path>, name: &str) -> Result<Context, Problem> {
    let contexts = Contexts::open(file)?;
    contexts.context(name)
}

/// Returns the current context, if there is one.
///
/// # Errors
/// [`Problem`], also if the file names one that it does not have.
pub(super) fn current(file: Option<&Path>) -> Result<Option<Context>, Problem> {
    if file.is_none() {
        return Ok(None);
    }
    let contexts = Contexts::open(file)?;
    let current = contexts.current.as_ref().map(|name| contexts.context(name));
    current.transpose()
}

/// The contexts of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contexts {
    /// The file. It need not exist.
    pub file: PathBuf,
    /// The context that commands use if they name no other.
    pub current: Option<String>,
    /// All contexts, in the order of the file.
    pub all: Vec<(String, Layer)>,
}

impl Contexts {
    /// Reads a file. One that does not exist has no contexts.
    ///
    /// # Errors
    /// [`Problem`] names the file, the line and the key.
    pub fn open(file: Option<&Path>) -> Result<Self, Problem> {
        let file = existing(file)?;
        let text = read(file)?;
        let reader = Reader { file, text: &text };
        let document = Document::parse(text.as_str()).map_err(|error| {
            reader.problem(error.span().unwrap_or(0..0), error.message().replace('\n', ", "))
        })?;
        let mut contexts = Self { file: file.to_owned(), current: None, all: Vec::new() };
        for (key, item) in document.as_table() {
            let span = document.as_table().key(key).and_then(toml_edit::Key::span);
            let span = span.or(item.span()).unwrap_or(0..0);
            match (key, item.as_str(), item.as_table_like()) {
                ("current", Some(name), _) => contexts.current = Some(name.to_owned()),
                ("current", None, _) => {
                    return Err(reader.problem(span, "current: the name of a context is expected"));
                }
                ("contexts", _, Some(table)) => contexts.all = reader.contexts(table)?,
                ("contexts", _, None) => {
                    return Err(reader
                        .problem(span, "contexts: tables such as [contexts.prod] are expected"));
                }
                _ => {
                    return Err(reader.problem(
                        span,
                        format!("unknown key {}: the keys are current and contexts", shown(key)),
                    ));
                }
            }
        }
        Ok(contexts)
    }

    /// Returns a context.
    ///
    /// # Errors
    /// [`Problem`] if there is none with this name.
    pub fn context(&self, name: &str) -> Result<Context, Problem> {
        if let Some((name, layer)) = self.all.iter().find(|(known, _)| known == name) {
            return Ok((name.clone(), self.file.clone(), layer.clone()));
        }
        let known: Vec<_> = self.all.iter().map(|(name, _)| name.as_str()).collect();
        let known = match known.is_empty() {
            true => "has none".to_owned(),
            false => format!("has {}", known.join(", ")),
        };
        let name = shown(name);
        Err(Problem(format!(
            "there is no context {name}: {} {known}; zraft context set {name} makes it",
            self.file.display()
        )))
    }
}

/// Reads the items of a file, and names the line in errors.
struct Reader<'t> {
    file: &'t Path,
    text: &'t str,
}

impl Reader<'_> {
    fn problem(&self, span: Range<usize>, problem: impl fmt::Display) -> Problem {
        let line = 1 + self.text.bytes().take(span.start).filter(|byte| *byte == b'\n').count();
        Problem::new(format!("{}:{line}", self.file.display()), problem)
    }

    fn contexts(&self, table: &dyn TableLike) -> Result<Vec<(String, Layer)>, Problem> {
        let contexts = table.iter().map(|(name, item)| {
            let span =
                table.key(name).and_then(toml_edit::Key::span).or(item.span()).unwrap_or(0..0);
            check_name(name).map_err(|problem| self.problem(span.clone(), problem))?;
            let Some(keys) = item.as_table_like() else {
                return Err(self.problem(span, format!("contexts.{name}: a table is expected")));
            };
            Ok((name.to_owned(), self.layer(name, keys)?))
        });
        contexts.collect()
    }

    fn layer(&self, context: &str, table: &dyn TableLike) -> Result<Layer, Problem> {
        let mut layer = Layer::default();
        for (key, item) in table.iter() {
            let span =
                table.key(key).and_then(toml_edit::Key::span).or(item.span()).unwrap_or(0..0);
            let setting = Setting::ALL.into_iter().find(|setting| setting.key() == key);
            let Some(setting) = setting else {
                let known: Vec<_> = Setting::ALL.into_iter().map(Setting::key).collect();
                let problem = format!(
                    "unknown key {} in [contexts.{context}]: the keys are {}",
                    shown(key),
                    known.join(", ")
                );
                return Err(self.problem(span, problem));
            };
            self.set(&mut layer, setting, item)
                .map_err(|expected| self.problem(span, format!("{key}: {expected} is expected")))?;
        }
        Ok(layer)
    }

    /// Sets a setting. The error says what is expected.
    fn set(&self, layer: &mut Layer, setting: Setting, item: &Item) -> Result<(), &'static str> {
        let text = || item.as_str().map(str::to_owned).ok_or("text in quotation marks");
        let path = || text().map(|path| Some(self.folder().join(path)));
        match setting {
            Setting::Endpoints => {
                let entries = "a list of addresses, such as [\"node-1=tcp://127.0.0.1:7001\"],";
                let array = item.as_array().ok_or(entries)?;
                let all: Option<_> =
                    array.iter().map(|entry| entry.as_str().map(str::to_owned)).collect();
                layer.endpoints = Some(all.ok_or(entries)?);
            }
            Setting::Timeout => {
                let number = item.as_integer().map(|number| number.to_string());
                let number = number.or(item.as_float().map(|number| number.to_string()));
                layer.timeout = Some(number.ok_or("a number of seconds")?);
            }
            Setting::TokenFile => layer.token_file = path()?,
            Setting::TlsCa => layer.tls_ca = path()?,
            Setting::TlsCert => layer.tls_cert = path()?,
            Setting::TlsKey => layer.tls_key = path()?,
            Setting::TlsServerName => layer.tls_server_name = Some(text()?),
            Setting::Capabilities => {
                let pairs = "a table of text, such as { protocol = \"kvstore\" },";
                let table = item.as_table_like().ok_or(pairs)?;
                let all: Option<_> = table
                    .iter()
                    .map(|(name, value)| Some(format!("{name}={}", value.as_str()?)))
                    .collect();
                layer.capabilities = Some(all.ok_or(pairs)?);
            }
        }
        Ok(())
    }

    fn folder(&self) -> &Path {
        self.file.parent().unwrap_or(Path::new(""))
    }
}

/// Makes a context, or replaces the one with this name. Paths must be absolute. The first context becomes the current one.
///
/// # Errors
/// [`Problem`] if the name, the present file or the folder cannot be used.
pub fn set(file: Option<&Path>, name: &str, layer: &Layer) -> Result<Contexts, Problem> {
    check_name(name).map_err(Problem)?;
    edit(file, |contexts, document| {
        let first = contexts.all.is_empty();
        let parent = document.entry("contexts").or_insert_with(|| {
            let mut table = Table::new();
            table.set_implicit(true);
            Item::Table(table)
        });
        if let Some(parent) = parent.as_table_like_mut() {
            parent.insert(name, Item::Table(table_of(layer)?));
        }
        if first {
            make_current(document, name);
        }
        Ok(())
    })
}

/// Removes a context.
///
/// # Errors
/// [`Problem`] if there is none, or the file cannot be used.
pub fn remove(file: Option<&Path>, name: &str) -> Result<Contexts, Problem> {
    edit(file, |contexts, document| {
        contexts.context(name)?;
        if let Some(parent) = document.get_mut("contexts").and_then(Item::as_table_like_mut) {
            parent.remove(name);
        }
        if contexts.current.as_deref() == Some(name) {
            document.remove("current");
        }
        Ok(())
    })
}

/// Makes a context the current one; none if no name is given.
///
/// # Errors
/// [`Problem`] if there is none with this name, or the file cannot be used.
pub fn choose(file: Option<&Path>, name: Option<&str>) -> Result<Contexts, Problem> {
    edit(file, |contexts, document| {
        match name {
            Some(name) => {
                contexts.context(name)?;
                make_current(document, name);
            }
            None => {
                document.remove("current");
            }
        }
        Ok(())
    })
}

fn make_current(document: &mut DocumentMut, name: &str) {
    match document.get_mut("current").and_then(Item::as_value_mut) {
        // The comments around it stay.
        Some(current) => {
            let decor = current.decor().clone();
            *current = name.into();
            *current.decor_mut() = decor;
        }
        None => {
            document.insert("current", value(name));
        }
    }
}

/// Changes the file, and keeps its comments and its order, but for the comments of what is removed.
fn edit(
    file: Option<&Path>,
    change: impl FnOnce(&Contexts, &mut DocumentMut) -> Result<(), Problem>,
) -> Result<Contexts, Problem> {
    let contexts = Contexts::open(file)?;
    let text = read(&contexts.file)?;
    let mut document: DocumentMut =
        text.parse().map_err(|error| Problem::new(contexts.file.display(), error))?;
    change(&contexts, &mut document)?;
    write(&contexts.file, &document.to_string())
        .map_err(|error| Problem::new(contexts.file.display(), error))?;
    Contexts::open(Some(&contexts.file))
}

fn table_of(layer: &Layer) -> Result<Table, Problem> {
    let mut table = Table::new();
    let path = |path: &PathBuf| {
        let text = path.to_str().map(value);
        text.ok_or_else(|| Problem::new(path.display(), "a path in a context must be UTF-8"))
    };
    if let Some(entries) = &layer.endpoints {
        table.insert(Setting::Endpoints.key(), value(entries.iter().collect::<Array>()));
    }
    if let Some(text) = &layer.timeout {
        let whole = text.parse::<i64>().map(value);
        let number = whole.ok().or(text.parse::<f64>().map(value).ok());
        table.insert(Setting::Timeout.key(), number.unwrap_or_else(|| value(text)));
    }
    for (setting, file) in [
        (Setting::TokenFile, &layer.token_file),
        (Setting::TlsCa, &layer.tls_ca),
        (Setting::TlsCert, &layer.tls_cert),
        (Setting::TlsKey, &layer.tls_key),
    ] {
        if let Some(file) = file {
            table.insert(setting.key(), path(file)?);
        }
    }
    if let Some(name) = &layer.tls_server_name {
        table.insert(Setting::TlsServerName.key(), value(name));
    }
    if let Some(entries) = &layer.capabilities {
        let pairs = entries.iter().filter_map(|entry| entry.split_once('='));
        table.insert(Setting::Capabilities.key(), value(pairs.collect::<InlineTable>()));
    }
    Ok(table)
}

fn check_name(name: &str) -> Result<(), String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    match (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(allowed) {
        true => Ok(()),
        false => Err(format!(
            "the name of a context has 1 to {MAX_NAME} letters, digits, dots, dashes and underscores"
        )),
    }
}

/// Returns a key of the file as it fits into a message of one line.
fn shown(key: &str) -> String {
    key.chars().take(MAX_NAME).flat_map(char::escape_debug).collect()
}

fn existing(file: Option<&Path>) -> Result<&Path, Problem> {
    file.ok_or_else(|| {
        Problem(
            "there is no folder for contexts: set HOME, or name their file in ZRAFT_CONFIG"
                .to_owned(),
        )
    })
}

fn read(file: &Path) -> Result<String, Problem> {
    let failed = |error: io::Error| Problem::new(file.display(), error);
    let mut text = String::new();
    let opened = match File::open(file) {
        Ok(opened) => opened,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(text),
        Err(error) => return Err(failed(error)),
    };
    // One byte more than the limit tells a file that is too long from one that just fits.
    opened.take(MAX_FILE + 1).read_to_string(&mut text).map_err(failed)?;
    match text.len() as u64 > MAX_FILE {
        true => Err(Problem::new(file.display(), format!("longer than {MAX_FILE} bytes"))),
        false => Ok(text),
    }
}

/// Replaces the file at once, so that no reader sees half of it. Only its owner may read it.
fn write(file: &Path, text: &str) -> io::Result<()> {
    // A link, as managers of dotfiles make them, stays a link.
    let file = file.canonicalize().unwrap_or_else(|_| file.to_owned());
    let folder = match file.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let mut folders = fs::DirBuilder::new();
    folders.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut folders, 0o700);
    folders.create(folder)?;
    // It is made with mode 0600.
    let mut new = NamedTempFile::new_in(folder)?;
    new.write_all(text.as_bytes())?;
    new.as_file().sync_all()?;
    new.persist(&file).map_err(|error| error.error)?;
    Ok(())
}
