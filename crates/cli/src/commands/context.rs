//! `zraft context`: named settings of clusters.

use std::path::{PathBuf, absolute};

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use zraft_cli::settings::{
    Layer, Settings, Source, Variables,
    contexts::{self, Contexts},
};

use super::endpoints::{Access, given, seconds_as_given};
use crate::exit::{Exit, complain, print};

/// Keep the settings of clusters under names, and choose one
///
/// A context names the members of a cluster, and how to reach them. Commands use the current context, unless -e or
/// ZRAFT_ENDPOINTS names a cluster, or --context or ZRAFT_CONTEXT another context.
///
/// The contexts are in $ZRAFT_CONFIG, else in $XDG_CONFIG_HOME/zraft/config.toml, else in ~/.config/zraft/config.toml. The file holds
/// the paths of tokens and keys, and no secret. The exit status is 1 if the file or a name in it cannot be used.
#[derive(Debug, Args)]
#[command(after_long_help = HELP)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const HELP: &str = "\
Variables, which override the context and are overridden by flags:
  ZRAFT_ENDPOINTS        members, with commas between them
  ZRAFT_CONTEXT          name of the context
  ZRAFT_CONFIG           file of the contexts
  ZRAFT_TIMEOUT          seconds to wait
  ZRAFT_TOKEN_FILE       file with the token
  ZRAFT_TLS_CA           file with the CAs of the members' certificates
  ZRAFT_TLS_CERT         file with the certificate of this client
  ZRAFT_TLS_KEY          file with its private key
  ZRAFT_TLS_SERVER_NAME  name in the members' certificates
  ZRAFT_CAPABILITIES     how the client describes itself: name=value, with commas between them

Example:
  zraft context set prod -e node-1=tls://db-1:7001,node-2=tls://db-2:7001 --tls-ca ca.pem --token-file client.token
  zraft context use prod
  zraft status";

#[derive(Debug, Subcommand)]
enum Command {
    List(List),
    Use(Use),
    Show(Show),
    Set(Box<Set>),
    Remove(Remove),
}

/// List the contexts; a * marks the current one
#[derive(Debug, Args)]
struct List {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Make a context the current one
#[derive(Debug, Args)]
struct Use {
    /// Name of the context
    #[arg(required_unless_present = "none")]
    name: Option<String>,
    /// Use no context, so that commands use the default cluster
    #[arg(long, conflicts_with = "name")]
    none: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Show the settings that a command would use now, each with its source
///
/// With NAME, shows the settings of this context alone.
#[derive(Debug, Args)]
struct Show {
    /// Name of the context
    name: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Make a context, or replace the one with this name
///
/// The first context becomes the current one. Variables do not count here.
#[derive(Debug, Args)]
struct Set {
    /// Name of the context
    name: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Members of the cluster: id=address or host:port; several times, or with commas
    #[arg(short = 'e', long, value_name = "ENDPOINTS", required = true, help_heading = SETTINGS)]
    endpoints: Vec<String>,
    /// Seconds to wait for a session and for an answer
    #[arg(long, value_name = "SECONDS", value_parser = seconds_as_given, help_heading = SETTINGS)]
    timeout: Option<String>,
    #[command(flatten, next_help_heading = SETTINGS)]
    access: Access,
}

/// The heading of what a context holds.
const SETTINGS: &str = "Settings";

/// Remove a context
#[derive(Debug, Args)]
struct Remove {
    /// Name of the context
    name: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: Arguments) -> Exit {
    let done = Variables::read(std::env::vars_os()).and_then(|variables| {
        let file = variables.file.clone();
        let file = file.as_deref();
        match arguments.command {
            Command::List(List { json }) => list(&Contexts::open(file)?, json),
            Command::Use(Use { name, json, .. }) => {
                let contexts = contexts::choose(file, name.as_deref())?;
                let text = match &name {
                    Some(name) => format!("{name} is the current context"),
                    None => "there is no current context".to_owned(),
                };
                changed(&contexts, &text, json);
            }
            Command::Show(Show { name: Some(name), json }) => {
                let (name, file, layer) = contexts::named(file, &name)?;
                show(&Settings::of_context(&name, &file, layer)?, json);
            }
            Command::Show(Show { name: None, json }) => {
                show(&Settings::find(Layer::default(), None, variables)?, json);
            }
            Command::Set(set) => {
                let (name, json) = (set.name.clone(), set.json);
                let layer = layer(*set)?;
                // What no command could use is not kept.
                Settings::of_flags(layer.clone())?;
                let contexts = contexts::set(file, &name, &layer)?;
                changed(
                    &contexts,
                    &format!("{name} is a context in {}", contexts.file.display()),
                    json,
                );
            }
            Command::Remove(Remove { name, json }) => {
                changed(&contexts::remove(file, &name)?, &format!("removed {name}"), json);
            }
        }
        Ok(())
    });
    match done {
        Ok(()) => Exit::Success,
        Err(problem) => {
            complain(&problem);
            Exit::BadInput
        }
    }
}

fn list(contexts: &Contexts, json: bool) {
    let current = contexts.current.as_deref();
    if json {
        print(&as_json(contexts).to_string());
        return;
    }
    for (name, layer) in &contexts.all {
        let mark = if current == Some(name) { "*" } else { " " };
        let endpoints = layer.endpoints.iter().flatten().cloned().collect::<Vec<_>>().join(",");
        print(format!("{mark} {name}  {endpoints}").trim_end());
    }
    if contexts.all.is_empty() {
        complain(&format!(
            "{} has no context: zraft context set makes one",
            contexts.file.display()
        ));
    }
}

fn changed(contexts: &Contexts, text: &str, json: bool) {
    print(&if json { as_json(contexts).to_string() } else { text.to_owned() });
}

fn as_json(contexts: &Contexts) -> Value {
    let all = contexts.all.iter().map(|(name, layer)| {
        json!({ "name": name, "endpoints": layer.endpoints.clone().unwrap_or_default() })
    });
    json!({
        "file": contexts.file.display().to_string(),
        "current": contexts.current,
        "contexts": all.collect::<Vec<_>>(),
    })
}

/// Prints the settings as a context has them, each with its source as a comment.
fn show(settings: &Settings, json: bool) {
    let place = |setting| match settings.source(setting) {
        source @ (Source::Flag | Source::Variable) => source.of(setting),
        source => source.to_string(),
    };
    if json {
        let all = settings.shown().into_iter().map(|(setting, value)| {
            (setting.key().to_owned(), json!({ "value": value, "source": place(setting) }))
        });
        print(&Value::Object(all.collect::<Map<_, _>>()).to_string());
        return;
    }
    for (setting, value) in settings.shown() {
        print(&format!("{} = {value}  # {}", setting.key(), place(setting)));
    }
}

/// Returns the settings to keep, with absolute paths.
fn layer(set: Set) -> Result<Layer, String> {
    let fixed = |path: Option<PathBuf>| {
        let path = path
            .map(|path| absolute(&path).map_err(|error| format!("{}: {error}", path.display())));
        path.transpose()
    };
    let access = set.access.layer();
    Ok(Layer {
        endpoints: given(set.endpoints),
        timeout: set.timeout,
        token_file: fixed(access.token_file)?,
        tls_ca: fixed(access.tls_ca)?,
        tls_cert: fixed(access.tls_cert)?,
        tls_key: fixed(access.tls_key)?,
        ..access
    })
}
