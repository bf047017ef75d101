//! The options that say which cluster a command talks to, and the session with it.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use clap::Args;
use zraft_cli::{
    patience,
    reach::{NoSession, Reach},
    settings::{DEFAULT_ENDPOINTS, Layer, Setting, Settings, Source, Variables, split},
};
use zraft_client::{ClientBuilder, Error, RaftClient};

pub(crate) use zraft_cli::settings::seconds;

use crate::exit::{Exit, complain, run_then};

/// The shortest `connectionTimeout` of a long-running command, so that a member that is slow for a moment is not given up.
const LASTING: Duration = Duration::from_millis(2500);
/// How the commands of the key-value store describe themselves, as the live tools do.
const KV_STORE: [(&str, &str); 2] = [("protocol", "kvstore"), ("version", "1.0.0")];

/// How a command for any application describes itself: servers want at least one capability.
pub(crate) const ANY: [(&str, &str); 1] = [("client", "zraft")];

/// Where else the options come from, as a heading in the help.
const HEADING: &str =
    "Cluster (each value also as a variable, such as ZRAFT_ENDPOINTS, or from zraft context)";

/// The cluster to talk to.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = HEADING)]
pub(crate) struct Endpoints {
    /// Members of the cluster: id=address or host:port; several times, or with commas [default: node-1=tcp://127.0.0.1:7001]
    ///
    /// An address is tcp://host:port, tls://host:port or ipc://path. Without a scheme it means TLS if there is --tls-ca. With
    /// ids, the command goes to the leader that a member names; without, it asks each member.
    #[arg(short = 'e', long, value_name = "ENDPOINTS")]
    endpoints: Vec<String>,
    /// Named settings, as zraft context keeps them
    ///
    /// They count for what flags and variables do not give. Without this option, the current context counts, but only if
    /// neither -e nor ZRAFT_ENDPOINTS is given.
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// Seconds to wait for a session and for an answer [default: 15]
    ///
    /// The command asks every member in this time, so a member that hangs gets a part of it. Closing the session takes up to
    /// one second more.
    #[arg(long, value_name = "SECONDS", value_parser = seconds_as_given)]
    timeout: Option<String>,
    #[command(flatten)]
    access: Access,
}

/// What the members ask of a client, and how it trusts them.
#[derive(Debug, Clone, Args)]
pub(crate) struct Access {
    /// File with the token that the members ask for
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// CAs that sign the members' certificates, in PEM form; needed for TLS
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// Certificate of this client, in PEM form, if the members ask for one
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// Private key of that certificate
    #[arg(long, value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// Name that the members' certificates have, in place of the host in each address
    #[arg(long, value_name = "NAME")]
    tls_server_name: Option<String>,
    /// How the client describes itself to the cluster; may be given several times
    #[arg(long, value_name = "NAME=VALUE")]
    capability: Vec<String>,
}

/// Waiting for members that cannot be used.
#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = HEADING)]
pub(crate) struct Wait {
    /// Wait for the members until --timeout, even if all of them refuse the connection or cannot be used
    #[arg(long)]
    wait: bool,
}

/// Checks a time in seconds, and returns the text.
pub(crate) fn seconds_as_given(text: &str) -> Result<String, String> {
    seconds(text).map(|_| text.to_owned())
}

impl Access {
    /// Returns what the flags give, without endpoints and timeout.
    pub(crate) fn layer(self) -> Layer {
        Layer {
            token_file: self.token_file,
            tls_ca: self.tls_ca,
            tls_cert: self.tls_cert,
            tls_key: self.tls_key,
            tls_server_name: self.tls_server_name,
            capabilities: given(self.capability),
            ..Layer::default()
        }
    }
}

/// Returns the entries of an option that may be given several times.
pub(crate) fn given(options: Vec<String>) -> Option<Vec<String>> {
    (!options.is_empty()).then(|| options.iter().flat_map(|option| split(option)).collect())
}

impl Endpoints {
    /// Returns what the flags give.
    pub(crate) fn layer(&self) -> Layer {
        let access = self.access.clone().layer();
        Layer { endpoints: given(self.endpoints.clone()), timeout: self.timeout.clone(), ..access }
    }

    /// Returns the settings from flags, variables and contexts.
    pub(crate) fn settings(&self) -> Result<Settings, String> {
        let variables = Variables::read(std::env::vars_os())?;
        Settings::find(self.layer(), self.context.as_deref(), variables)
    }

    /// Runs a command in a session of a client for one operation, whose requests time out with the command. Closes the session
    /// afterwards, after Ctrl+C too.
    pub(crate) fn once(&self, wait: Wait, command: impl AsyncFnOnce(&mut Session) -> Exit) -> Exit {
        self.run(wait, &KV_STORE, once, command)
    }

    /// Does the same with a client that describes itself as no application's.
    pub(crate) fn any(&self, wait: Wait, command: impl AsyncFnOnce(&mut Session) -> Exit) -> Exit {
        self.run(wait, &ANY, once, command)
    }

    /// Does the same with a client for a long-running command, whose settings `change` completes.
    pub(crate) fn lasting(
        &self,
        wait: Wait,
        change: impl FnOnce(ClientBuilder) -> ClientBuilder,
        command: impl AsyncFnOnce(&mut Session) -> Exit,
    ) -> Exit {
        let change = |builder: ClientBuilder, settings: &Settings| {
            change(builder.connection_timeout(each(settings).max(LASTING)))
        };
        self.run(wait, &KV_STORE, change, command)
    }

    fn run(
        &self,
        Wait { wait }: Wait,
        capabilities: &[(&str, &str)],
        change: impl FnOnce(ClientBuilder, &Settings) -> ClientBuilder,
        command: impl AsyncFnOnce(&mut Session) -> Exit,
    ) -> Exit {
        let made = self.settings().and_then(|settings| {
            let builder = change(settings.builder(capabilities)?, &settings);
            let client = builder.build().map_err(|error| error.to_string())?;
            Ok(Session::new(client, settings, wait))
        });
        match made {
            Ok(mut session) => {
                let client = session.client.clone();
                run_then(async move { command(&mut session).await }, async move {
                    client.disconnect_within(Duration::from_secs(1)).await;
                })
            }
            Err(error) => {
                complain(&error);
                Exit::BadInput
            }
        }
    }
}

/// Sets a client up for one operation.
fn once(builder: ClientBuilder, settings: &Settings) -> ClientBuilder {
    let least = Duration::from_millis(1);
    let builder = builder.connection_timeout(each(settings).max(least));
    builder.request_timeout(settings.timeout().max(least))
}

fn each(settings: &Settings) -> Duration {
    patience::connection_timeout(settings.timeout(), settings.members().len())
}

/// A client, and what is known of the members.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) client: RaftClient,
    settings: Settings,
    reach: Reach,
    wait: bool,
    started: Instant,
}

impl Session {
    fn new(client: RaftClient, settings: Settings, wait: bool) -> Self {
        Self { reach: Reach::new(&client), client, settings, wait, started: Instant::now() }
    }

    /// Returns the time that the command waits for an answer.
    pub(crate) fn patience(&self) -> Duration {
        self.settings.timeout()
    }

    /// Returns what is left of that time since the command began.
    pub(crate) fn left(&self) -> Duration {
        self.patience().saturating_sub(self.started.elapsed())
    }

    /// Opens the session. If there is none, says why, with the failure of each member, and returns the exit code.
    pub(crate) async fn connect(&mut self) -> Result<(), Exit> {
        self.started = Instant::now();
        match self.reach.connect(&self.client, self.patience(), self.wait).await {
            Ok(()) => Ok(()),
            Err(NoSession::Failed(error)) => Err(self.fail(&error).await),
            Err(hopeless @ NoSession::Hopeless(_)) => {
                complain(&hopeless.to_string());
                let lines = self.reach.failures(None).await;
                self.name_members(&lines);
                Err(Exit::Connection)
            }
        }
    }

    /// Says why an operation failed, and returns the exit code. If there was no connection, adds the failure of each member.
    pub(crate) async fn fail(&mut self, error: &Error) -> Exit {
        let exit = Exit::of(error);
        let lines = match exit {
            Exit::Connection => self.reach.failures(Some(error)).await,
            _ => Vec::new(),
        };
        match error {
            // The lines say what the error says of one member.
            Error::Connection { .. } if !lines.is_empty() => complain(&format!(
                "no session could be opened in {} s",
                self.patience().as_secs_f64()
            )),
            _ => complain(&error.to_string()),
        }
        self.name_members(&lines);
        exit
    }

    /// Prints the failure of each member, and where the list of members comes from.
    fn name_members(&self, lines: &[String]) {
        if lines.is_empty() {
            return;
        }
        lines.iter().for_each(|line| complain(&format!("  {line}")));
        match self.settings.source(Setting::Endpoints) {
            Source::Default => complain(&format!(
                "nothing names a cluster, so this is the default, {DEFAULT_ENDPOINTS}: give -e, ZRAFT_ENDPOINTS or a context"
            )),
            Source::Flag => {}
            source => complain(&format!(
                "these are the {}",
                match source {
                    Source::Variable => format!("members in {}", Setting::Endpoints.variable()),
                    other => format!("members of {other}"),
                }
            )),
        }
    }
}
