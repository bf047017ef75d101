//! Which cluster a command talks to, and how.
//!
//! A setting comes from a flag, else from a variable, else from a [context](contexts), else it has its default. Errors name
//! the source of the value that is wrong.

pub mod contexts;
mod members;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use zraft_client::{ClientBuilder, Endpoint, RaftClient, Tls};
use zraft_server::{ServerConfig, TokenFile};

use contexts::Problem;
pub use members::{DEFAULT_ENDPOINTS, Member};

use crate::patience;

/// The longest time that a command waits: a day.
const LONGEST: f64 = 86_400.0;

/// A setting that flags, variables and contexts can give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Setting {
    /// The members of the cluster.
    Endpoints,
    /// The time to wait.
    Timeout,
    /// The file with the token.
    TokenFile,
    /// The CAs of the members' certificates.
    TlsCa,
    /// The certificate of this client.
    TlsCert,
    /// Its private key.
    TlsKey,
    /// The name in the members' certificates.
    TlsServerName,
    /// How the client describes itself.
    Capabilities,
}

/// The variable that names the context.
pub const CONTEXT_VARIABLE: &str = "ZRAFT_CONTEXT";

impl Setting {
    /// All settings, in the order in which they are shown.
    pub const ALL: [Self; 8] = [
        Self::Endpoints,
        Self::Timeout,
        Self::TokenFile,
        Self::TlsCa,
        Self::TlsCert,
        Self::TlsKey,
        Self::TlsServerName,
        Self::Capabilities,
    ];

    /// Returns the key in a context, such as `tls_ca`.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Endpoints => "endpoints",
            Self::Timeout => "timeout",
            Self::TokenFile => "token_file",
            Self::TlsCa => "tls_ca",
            Self::TlsCert => "tls_cert",
            Self::TlsKey => "tls_key",
            Self::TlsServerName => "tls_server_name",
            Self::Capabilities => "capabilities",
        }
    }

    /// Returns the flag, such as `--tls-ca`.
    #[must_use]
    pub fn flag(self) -> String {
        match self {
            // It is given once for each capability.
            Self::Capabilities => "--capability".to_owned(),
            other => format!("--{}", other.key().replace('_', "-")),
        }
    }

    /// Returns the variable, such as `ZRAFT_TLS_CA`.
    #[must_use]
    pub fn variable(self) -> String {
        format!("ZRAFT_{}", self.key().to_uppercase())
    }
}

/// The settings that one source gives, as text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layer {
    /// Entries such as `node-1=tcp://127.0.0.1:7001` or `127.0.0.1:7001`.
    pub endpoints: Option<Vec<String>>,
    /// How long a command may take, in seconds.
    pub timeout: Option<String>,
    /// A file.
    pub token_file: Option<PathBuf>,
    /// A file.
    pub tls_ca: Option<PathBuf>,
    /// A file.
    pub tls_cert: Option<PathBuf>,
    /// A file.
    pub tls_key: Option<PathBuf>,
    /// A name.
    pub tls_server_name: Option<String>,
    /// Entries such as `protocol=kvstore`.
    pub capabilities: Option<Vec<String>>,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Arguments of the command.
    Flag,
    /// The environment.
    Variable,
    /// The context with this name, in this file.
    Context {
        /// The context.
        name: String,
        /// The file.
        file: PathBuf,
    },
    /// Nothing gives the setting.
    Default,
}

impl Source {
    /// Returns what an error calls the source of this setting.
    #[must_use]
    pub fn of(&self, setting: Setting) -> String {
        match self {
            Self::Flag => setting.flag(),
            Self::Variable => setting.variable(),
            Self::Context { .. } => format!("{} of {self}", setting.key()),
            Self::Default => format!("the default of {}", setting.flag()),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("flag"),
            Self::Variable => f.write_str("variable"),
            Self::Context { name, file } => write!(f, "context {name} in {}", file.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// The variables of the environment that say which cluster a command talks to.
#[derive(Clone, Debug, Default)]
pub struct Variables {
    layer: Layer,
    context: Option<String>,
    /// The file with the contexts; none if the environment names no folder for it.
    pub file: Option<PathBuf>,
}

impl Variables {
    /// Reads the variables. One that is empty counts as not set.
    ///
    /// # Errors
    /// A text that names a variable that begins with `ZRAFT_` and is unknown, or whose value is not UTF-8.
    pub fn read(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Self, String> {
        let named = variables.into_iter().filter_map(|(name, value)| {
            let name = name.into_string().ok()?;
            (!value.is_empty()).then_some((name, value))
        });
        // In the order of their names, so that the first error is always the same.
        let all: BTreeMap<String, OsString> = named.collect();
        for name in all.keys().filter(|name| name.starts_with("ZRAFT_")) {
            if !ServerConfig::is_known_variable(name) {
                return Err(format!(
                    "{name}: unknown variable: unset it, or see the list in zraft context --help"
                ));
            }
        }
        let path = |setting: Setting| all.get(&setting.variable()).map(PathBuf::from);
        let text = |name: &str| {
            let value = all.get(name).cloned().map(OsString::into_string);
            value.transpose().map_err(|_| format!("{name}: the value is not UTF-8"))
        };
        let list = |setting: Setting| {
            let text = text(&setting.variable())?;
            Ok::<_, String>(text.map(|text| split(&text)))
        };
        Ok(Self {
            layer: Layer {
                endpoints: list(Setting::Endpoints)?,
                timeout: text(&Setting::Timeout.variable())?,
                token_file: path(Setting::TokenFile),
                tls_ca: path(Setting::TlsCa),
                tls_cert: path(Setting::TlsCert),
                tls_key: path(Setting::TlsKey),
                tls_server_name: text(&Setting::TlsServerName.variable())?,
                capabilities: list(Setting::Capabilities)?,
            },
            context: text(CONTEXT_VARIABLE)?,
            file: contexts::place(|name| all.get(name).map(PathBuf::from)),
        })
    }
}

/// Splits entries at commas.
#[must_use]
pub fn split(text: &str) -> Vec<String> {
    text.split(',').map(|entry| entry.trim().to_owned()).collect()
}

/// Reads a time in seconds, up to one day.
///
/// # Errors
/// A text that says what is accepted.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| *seconds > 0.0 && *seconds <= LONGEST);
    seconds.map(Duration::from_secs_f64).ok_or("must be more than 0 and at most 86400".to_owned())
}

/// The settings of a command, checked, each with its source.
#[derive(Clone, Debug)]
pub struct Settings {
    members: Vec<Member>,
    timeout: Duration,
    token_file: Option<PathBuf>,
    tls_ca: Option<PathBuf>,
    tls_identity: Option<(PathBuf, PathBuf)>,
    tls_server_name: Option<String>,
    capabilities: Option<Vec<(String, String)>>,
    sources: BTreeMap<Setting, Source>,
}

impl Settings {
    /// Finds the value of each setting. `context` is the one that a flag names.
    ///
    /// The current context of the file counts only if neither flags nor variables name endpoints, so that the secrets of one
    /// cluster do not reach another. A context that is named always counts.
    ///
    /// # Errors
    /// A text that names the source of the value that cannot be used, and does not show it.
    pub fn find(flags: Layer, context: Option<&str>, variables: Variables) -> Result<Self, String> {
        let named = match context {
            Some(name) => Some((name.to_owned(), "--context")),
            None => variables.context.clone().map(|name| (name, CONTEXT_VARIABLE)),
        };
        let endpoints_given = flags.endpoints.is_some() || variables.layer.endpoints.is_some();
        let context = match named {
            Some((name, from)) => {
                let file = variables.file.as_deref();
                Some(contexts::named(file, &name).map_err(|problem| format!("{from}: {problem}"))?)
            }
            None if endpoints_given => None,
            None => contexts::current(variables.file.as_deref())?,
        };
        let mut layers = vec![(Source::Flag, flags), (Source::Variable, variables.layer)];
        if let Some((name, file, layer)) = context {
            layers.push((Source::Context { name, file }, layer));
        }
        Self::of_layers(&layers)
    }

    /// Checks the settings of one context.
    ///
    /// # Errors
    /// The same as those of [`find`](Self::find).
    pub fn of_context(name: &str, file: &Path, layer: Layer) -> Result<Self, String> {
        let source = Source::Context { name: name.to_owned(), file: file.to_owned() };
        Self::of_layers(&[(source, layer)])
    }

    /// Checks the settings that flags alone give.
    ///
    /// # Errors
    /// The same as those of [`find`](Self::find).
    pub fn of_flags(flags: Layer) -> Result<Self, String> {
        Self::of_layers(&[(Source::Flag, flags)])
    }

    fn of_layers(layers: &[(Source, Layer)]) -> Result<Self, String> {
        let mut sources = BTreeMap::new();
        let ca = pick(layers, &mut sources, Setting::TlsCa, |layer| layer.tls_ca.as_ref());
        let endpoints =
            pick(layers, &mut sources, Setting::Endpoints, |layer| layer.endpoints.as_ref());
        let place = |sources: &BTreeMap<Setting, Source>, setting: Setting, problem: &str| {
            let source = sources.get(&setting).unwrap_or(&Source::Default);
            format!("{}: {problem}", source.of(setting))
        };
        let members = match endpoints {
            Some(entries) => members::read(&entries, ca.is_some())
                .map_err(|problem| place(&sources, Setting::Endpoints, &problem))?,
            None => members::default(),
        };
        let timeout =
            match pick(layers, &mut sources, Setting::Timeout, |layer| layer.timeout.as_ref()) {
                Some(text) => {
                    seconds(&text).map_err(|problem| place(&sources, Setting::Timeout, &problem))?
                }
                None => patience::DEFAULT,
            };
        let capabilities =
            pick(layers, &mut sources, Setting::Capabilities, |layer| layer.capabilities.as_ref());
        let capabilities = capabilities
            .map(|entries| members::capabilities(&entries))
            .transpose()
            .map_err(|problem| place(&sources, Setting::Capabilities, &problem))?;
        let token_file =
            pick(layers, &mut sources, Setting::TokenFile, |layer| layer.token_file.as_ref());
        let cert = pick(layers, &mut sources, Setting::TlsCert, |layer| layer.tls_cert.as_ref());
        let key = pick(layers, &mut sources, Setting::TlsKey, |layer| layer.tls_key.as_ref());
        let tls_server_name = pick(layers, &mut sources, Setting::TlsServerName, |layer| {
            layer.tls_server_name.as_ref()
        });
        let without = |given: Setting, lacking: Setting| {
            let (flag, variable, key) = (lacking.flag(), lacking.variable(), lacking.key());
            let problem = format!("give {flag}, {variable} or {key} of the context too");
            place(&sources, given, &problem)
        };
        let tls_identity = match (cert, key) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (Some(_), None) => return Err(without(Setting::TlsCert, Setting::TlsKey)),
            (None, Some(_)) => return Err(without(Setting::TlsKey, Setting::TlsCert)),
            (None, None) => None,
        };
        for (setting, given) in [
            (Setting::TlsCert, tls_identity.is_some()),
            (Setting::TlsServerName, tls_server_name.is_some()),
        ] {
            if given && ca.is_none() {
                return Err(without(setting, Setting::TlsCa));
            }
        }
        let speaks_tls =
            members.iter().any(|member| matches!(member.endpoint, Endpoint::Tls { .. }));
        if ca.is_some() && !speaks_tls {
            return Err(format!(
                "{} is given, and no address of {} begins with tls://, so nothing would be encrypted: write tls:// in place of tcp://, or give no CA",
                sources.get(&Setting::TlsCa).unwrap_or(&Source::Default).of(Setting::TlsCa),
                sources.get(&Setting::Endpoints).unwrap_or(&Source::Default).of(Setting::Endpoints),
            ));
        }
        let (tls_ca, sources) = (ca, sources);
        Ok(Self {
            members,
            timeout,
            token_file,
            tls_ca,
            tls_identity,
            tls_server_name,
            capabilities,
            sources,
        })
    }

    /// Returns the members to ask.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Returns the time to wait.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Returns where the value of a setting comes from.
    #[must_use]
    pub fn source(&self, setting: Setting) -> &Source {
        self.sources.get(&setting).unwrap_or(&Source::Default)
    }

    /// Returns each setting that has a value, as text. It shows the paths of secrets, and no secret.
    #[must_use]
    pub fn shown(&self) -> Vec<(Setting, String)> {
        let path = |path: &Path| path.display().to_string();
        let (cert, key) = self.tls_identity.clone().unzip();
        let value = |setting| match setting {
            Setting::Endpoints => {
                let all: Vec<_> = self.members.iter().map(ToString::to_string).collect();
                Some(all.join(","))
            }
            Setting::Timeout => Some(self.timeout.as_secs_f64().to_string()),
            Setting::TokenFile => self.token_file.as_deref().map(path),
            Setting::TlsCa => self.tls_ca.as_deref().map(path),
            Setting::TlsCert => cert.as_deref().map(path),
            Setting::TlsKey => key.as_deref().map(path),
            Setting::TlsServerName => self.tls_server_name.clone(),
            Setting::Capabilities => self.capabilities.as_ref().map(|entries| {
                let all: Vec<_> =
                    entries.iter().map(|(name, value)| format!("{name}={value}")).collect();
                all.join(",")
            }),
        };
        Setting::ALL.into_iter().filter_map(|setting| Some((setting, value(setting)?))).collect()
    }

    /// Returns the settings of a client. It describes itself by `capabilities`, unless other ones are given.
    ///
    /// # Errors
    /// A text that names the source of the file that cannot be read.
    pub fn builder(&self, capabilities: &[(&str, &str)]) -> Result<ClientBuilder, String> {
        let mut builder = RaftClient::builder();
        for member in &self.members {
            builder = builder.member(&*member.id, member.endpoint.to_string());
        }
        match &self.capabilities {
            Some(given) => {
                for (name, value) in given {
                    builder = builder.capability(name, value);
                }
            }
            None => {
                for (name, value) in capabilities {
                    builder = builder.capability(*name, *value);
                }
            }
        }
        if let Some(token) = self.token()? {
            builder = builder.capability("token", token);
        }
        if let Some(tls) = self.tls() {
            builder = builder.tls(tls);
        }
        Ok(builder)
    }

    /// Returns the first token of the file. While tokens are exchanged, that is one that all members know.
    fn token(&self) -> Result<Option<String>, String> {
        let Some(file) = &self.token_file else { return Ok(None) };
        let tokens = TokenFile::new(file).read().map_err(|error| {
            let source = self.source(Setting::TokenFile).of(Setting::TokenFile);
            format!("{source}: {error}")
        })?;
        Ok(tokens.first().map(|token| token.as_str().to_owned()))
    }

    /// Returns how the client speaks TLS.
    #[must_use]
    pub fn tls(&self) -> Option<Tls> {
        let mut tls = Tls::new().ca_file(self.tls_ca.as_ref()?);
        if let Some((certificate, key)) = &self.tls_identity {
            tls = tls.certificate_files(certificate, key);
        }
        if let Some(name) = &self.tls_server_name {
            tls = tls.server_name(name);
        }
        Some(tls)
    }
}

/// Returns the value of the first layer that has one, and remembers which one that is.
fn pick<T: Clone>(
    layers: &[(Source, Layer)],
    sources: &mut BTreeMap<Setting, Source>,
    setting: Setting,
    value: impl Fn(&Layer) -> Option<&T>,
) -> Option<T> {
    let (source, value) =
        layers.iter().find_map(|(source, layer)| Some((source, value(layer)?)))?;
    sources.insert(setting, source.clone());
    Some(value.clone())
}

impl From<Problem> for String {
    fn from(problem: Problem) -> Self {
        problem.to_string()
    }
}

#[cfg(test)]
mod tests;
