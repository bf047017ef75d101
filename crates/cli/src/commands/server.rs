//! `zraft server`: runs one durable member.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    thread,
};

use clap::Args;
use serde_json::{Value, json};
use zraft_server::{
    ConfigError, CreateError, Ended, LogLevel, Server, ServerBuilder, ServerConfig, Signals,
    StartError, StopReason, StoreError, check_vacant, random_cluster_id,
};
use zraft_session::applications::{AppendLog, KvStore};

use super::{applications::Application, dev::reachable, flags::Flags};
use crate::{
    exit::{Exit, complain, print, run_alone, write},
    logging,
};

/// Run one member of a cluster, with its log on disk
///
/// DIR is a folder that `zraft init` has made. With --new, DIR is missing or empty, and becomes the only member of a new
/// cluster; its configuration is kept in DIR/node.toml. Without --new an empty folder is refused, because an unmounted volume
/// looks like one.
///
/// Each option is read from DIR/node.toml, then from its variable, such as ZRAFT_CLIENT_ADDRESS, and then from its flag. A later
/// one overrides the others.
///
/// Prints the member's endpoint and its admin port. Then logs on standard error who leads, whenever that changes, and what an
/// operator should look at; with --log json, one JSON object on each line. SIGTERM or Ctrl+C make it hand leadership over,
/// tell its clients where to go, and end within 5 seconds, with exit status 143 or 130. A second signal ends it at once.
/// SIGHUP makes it read its certificates and tokens again. A cluster of one member has no member to hand over to: its clients wait
/// until it is back.
///
/// The exit status is 1 if the configuration, a certificate or the folder cannot be used, 2 if a port cannot be opened, 3 after any other
/// failure, and 5 if the member cannot go on with its data, so that starting it again does not help. zraft dev runs a cluster in memory instead.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Example:\n  zraft server --new data\n  zraft set -e node-1=tcp://127.0.0.1:7001 colour green"
)]
pub(crate) struct Arguments {
    /// Folder with the member's data
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Make a new cluster whose only member has its data in DIR
    #[arg(long)]
    new: bool,
    /// Print the effective configuration with the place that each value comes from, and run nothing
    #[arg(long)]
    check_config: bool,
    /// Read this file instead of DIR/node.toml
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// End at once when standard input ends, so that the member does not outlive the process that has started it
    #[arg(long, hide = true)]
    end_with_stdin: bool,
    /// Log warnings and errors only
    #[arg(short = 'q', long)]
    quiet: bool,
    /// Print the effective configuration, or who the member is and where it listens, as one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    flags: Flags,
}

pub(crate) fn run(arguments: &Arguments) -> Exit {
    let Some(directory) = &arguments.directory else {
        complain(
            "give the folder of a member, such as one that zraft init has made, or --new data for a new one; zraft dev runs a cluster in memory",
        );
        return Exit::Usage;
    };
    let prepared =
        configuration(arguments, directory).map_err(|error| error.to_string()).and_then(|config| {
            let application = Application::named(config.application.as_deref())?;
            Ok((config, application))
        });
    let (mut config, application) = match prepared {
        Ok(prepared) => prepared,
        Err(problem) => {
            complain(&problem);
            return Exit::BadInput;
        }
    };
    if arguments.check_config {
        match arguments.json {
            true => print(&effective(&config).to_string()),
            false => print(config.effective().trim_end()),
        }
        return Exit::Success;
    }
    if arguments.end_with_stdin
        && let Err(error) = end_with_stdin()
    {
        complain(&format!("cannot start threads: {error}"));
        return Exit::Failure;
    }
    let level = if arguments.quiet { LogLevel::Warn } else { config.log_level };
    let _log = match logging::start(config.log, level) {
        Ok(log) => log,
        Err(error) => {
            complain(&format!("cannot start threads: {error}"));
            return Exit::Failure;
        }
    };
    if arguments.new
        && let Err(error) = prepare_new(&mut config, application, arguments, directory)
    {
        tracing::error!("{error}");
        return of_start(&error);
    }
    let builder = Server::builder().directory(directory).config(config).create(arguments.new);
    match application {
        Application::KvStore => serve(builder.application(KvStore::new()), arguments.json),
        Application::AppendLog => serve(builder.application(AppendLog::new()), arguments.json),
    }
}

/// Returns the effective configuration, with the source of each value.
fn effective(config: &ServerConfig) -> Value {
    let options = config.effective_options().map(|(path, value, source)| {
        // What TOML writes of text, numbers and switches is JSON too.
        let value = serde_json::from_str(&value).unwrap_or(Value::String(value));
        (path, json!({ "value": value, "source": source }))
    });
    Value::Object(options.collect())
}

/// Lets this process end when standard input ends, at once: what it has told anyone is durable.
fn end_with_stdin() -> io::Result<()> {
    let wait = || {
        // An error is an end too.
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        std::process::exit(3);
    };
    thread::Builder::new().name("zraft stdin".to_owned()).spawn(wait).map(drop)
}

/// Reads the configuration: the file, the variables, the flags.
fn configuration(arguments: &Arguments, directory: &Path) -> Result<ServerConfig, ConfigError> {
    let mut config = ServerConfig::default();
    match &arguments.config {
        Some(file) => config.read_path(file)?,
        None => config.read_directory(directory)?,
    }
    config.read_environment(std::env::vars_os())?;
    arguments.flags.apply(&mut config)?;
    config.check()?;
    Ok(config)
}

/// Keeps the configuration of a new member in its folder, so that it comes back at the same ports with the same state
/// machine. A configuration file that is there already stays as it is.
fn prepare_new(
    config: &mut ServerConfig,
    application: Application,
    arguments: &Arguments,
    directory: &Path,
) -> Result<(), StartError> {
    check_vacant(directory)?;
    if !config.is_set("admin-address") {
        config.admin_address = Some(admin_address(config.client_address));
    }
    config.choose_ports()?;
    let cluster = match config.cluster {
        Some(cluster) => cluster,
        None => random_cluster_id()?,
    };
    let name = config.name.as_ref().map_or("node-1", |name| name.as_str()).to_owned();
    let (client, peer) = (config.client_address.to_string(), config.peer_address.to_string());
    let admin = config.admin_address.map_or("none".to_owned(), |address| address.to_string());
    for (flag, value) in [
        ("name", name.as_str()),
        ("cluster", &cluster.to_string()),
        ("application", application.name()),
        ("client-address", &client),
        ("peer-address", &peer),
        ("admin-address", &admin),
    ] {
        config.set(flag, value)?;
    }
    if arguments.config.is_none() && !directory.join(ServerConfig::FILE).exists() {
        config.create_in(directory)?;
    }
    Ok(())
}

/// Returns where a new member listens for operators unless it is told: on loopback, at the port that follows the default
/// peer port, or at a free one if its client port is not the default either.
fn admin_address(client: SocketAddr) -> SocketAddr {
    let default = ServerConfig::default();
    let port = if client == default.client_address { default.peer_address.port() + 1 } else { 0 };
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

fn serve<A: zraft_session::Application>(builder: ServerBuilder<A>, json: bool) -> Exit {
    run_alone(async {
        let mut signals = match Signals::listen() {
            Ok(signals) => signals,
            Err(error) => {
                tracing::error!("cannot receive signals: {error}");
                return Exit::Failure;
            }
        };
        let started = tokio::select! {
            biased;
            signal = signals.next() => return signal.into(),
            started = builder.start() => started,
        };
        let server = match started {
            Ok(server) => server,
            Err(error) => {
                tracing::error!("{}", described(&error));
                return of_start(&error);
            }
        };
        introduce(&server, json);
        let ended = server.run(&mut signals).await;
        match ended {
            Ok(signal) => signal.into(),
            Err(ended) => {
                tracing::error!("{ended}");
                of_end(&ended)
            }
        }
    })
}

/// Prints who the member is. It goes on serving if no one reads this.
fn introduce(server: &Server, json: bool) {
    let (member, identity) = (server.member(), server.member().identity());
    let address = member.client_address();
    let address = SocketAddr::new(reachable(address.ip()), address.port());
    let admin = member.admin_address().map(|address| {
        let address = SocketAddr::new(reachable(address.ip()), address.port());
        let scheme = if member.has_admin_tls() { "https" } else { "http" };
        format!("{scheme}://{address}")
    });
    let scheme = if member.has_client_tls() { "tls" } else { "tcp" };
    let endpoint = format!("{scheme}://{address}");
    let (name, cluster) = (identity.member.to_string(), identity.cluster.to_string());
    let text = match json {
        true => json!({ "member": name, "cluster": cluster, "endpoint": endpoint, "admin": admin })
            .to_string(),
        false => {
            let admin = admin.map(|admin| format!("\nadmin: {admin}")).unwrap_or_default();
            format!(
                "member {name} of cluster {cluster}\nendpoint: {name}={endpoint}{admin}\npress Ctrl+C to stop"
            )
        }
    };
    let _ = write(&text);
}

/// Returns the text of an error, with the program's own remedy.
fn described(error: &StartError) -> String {
    match error {
        StartError::Store(StoreError::Empty { .. }) => {
            format!("{error}, with zraft init or zraft server --new")
        }
        _ => error.to_string(),
    }
}

/// Returns the exit code for a member that does not start.
fn of_start(error: &StartError) -> Exit {
    match error {
        StartError::Config(_)
        | StartError::Token(_)
        | StartError::Tls(_)
        | StartError::NoDirectory
        | StartError::OtherMember { .. } => Exit::BadInput,
        StartError::Create(CreateError::Store(error)) | StartError::Store(error) => of_store(error),
        StartError::Create(CreateError::NotEmpty { .. } | CreateError::Members) => Exit::BadInput,
        StartError::Listen { .. } => Exit::Connection,
        StartError::Restore(_) | StartError::Replica(_) => Exit::Unusable,
        _ => Exit::Failure,
    }
}

/// Returns the exit code for a member that has ended by itself.
fn of_end(ended: &Ended) -> Exit {
    match ended {
        Ended::Store(error) => of_store(error),
        Ended::Restore { .. } => Exit::Unusable,
        Ended::Replica(
            StopReason::LostLog { .. }
            | StopReason::Diverged { .. }
            | StopReason::RolledBack { .. }
            | StopReason::Removed,
        ) => Exit::Unusable,
        _ => Exit::Failure,
    }
}

fn of_store(error: &StoreError) -> Exit {
    match error {
        StoreError::InUse { .. } | StoreError::Empty { .. } | StoreError::Exists { .. } => {
            Exit::BadInput
        }
        StoreError::Damaged { .. } | StoreError::NoSnapshot { .. } | StoreError::Version { .. } => {
            Exit::Unusable
        }
        _ => Exit::Failure,
    }
}
