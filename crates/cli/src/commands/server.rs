//! `zraft server`: runs one durable member.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use clap::Args;
use tokio::sync::watch;
use zraft_server::{
    ConfigError, CreateError, Ended, Role, Server, ServerBuilder, ServerConfig, Signals,
    StartError, Status, StopReason, StoreError, check_vacant, random_cluster_id,
};
use zraft_session::applications::{AppendLog, KvStore};

use super::{applications::Application, dev::reachable, flags::Flags};
use crate::exit::{Exit, complain, print, run_alone, write};

/// Run one member of a cluster, with its log on disk
///
/// DIR is a folder that `zraft init` has made. With --new, DIR is missing or empty, and becomes the only member of a new
/// cluster; its configuration is kept in DIR/node.toml. Without --new an empty folder is refused, because an unmounted volume
/// looks like one.
///
/// Each option is read from DIR/node.toml, then from its variable, such as ZRAFT_CLIENT_ADDRESS, and then from its flag. A later
/// one overrides the others.
///
/// Prints the member's endpoint. Then reports on standard error who leads, whenever that changes. SIGTERM or Ctrl+C make it hand
/// leadership over, tell its clients where to go, and end within 5 seconds, with exit status 143 or 130. A second signal
/// ends it at once. A cluster of one member has no member to hand over to: its clients wait until it is back.
///
/// The exit status is 1 if the configuration or the folder cannot be used, 2 if a port cannot be opened, 3 after any other
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
    /// Do not report who leads
    #[arg(short = 'q', long)]
    quiet: bool,
    #[command(flatten)]
    flags: Flags,
}

pub(crate) fn run(arguments: &Arguments) -> Exit {
    let Some(directory) = &arguments.directory else {
        complain(
            "give the folder of a member, such as one that zraft init has made, or --new data for a new one; zraft dev runs a cluster in memory",
        );
        return Exit::BadInput;
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
        print(config.effective().trim_end());
        return Exit::Success;
    }
    if arguments.new
        && let Err(error) = prepare_new(&mut config, application, arguments, directory)
    {
        complain(&error.to_string());
        return of_start(&error);
    }
    let builder = Server::builder().directory(directory).config(config).create(arguments.new);
    match application {
        Application::KvStore => serve(builder.application(KvStore::new()), arguments),
        Application::AppendLog => serve(builder.application(AppendLog::new()), arguments),
    }
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
    config.choose_ports()?;
    let cluster = match config.cluster {
        Some(cluster) => cluster,
        None => random_cluster_id()?,
    };
    let name = config.name.as_ref().map_or("node-1", |name| name.as_str()).to_owned();
    let (client, peer) = (config.client_address.to_string(), config.peer_address.to_string());
    for (flag, value) in [
        ("name", name.as_str()),
        ("cluster", &cluster.to_string()),
        ("application", application.name()),
        ("client-address", &client),
        ("peer-address", &peer),
    ] {
        config.set(flag, value)?;
    }
    if arguments.config.is_none() && !directory.join(ServerConfig::FILE).exists() {
        config.create_in(directory)?;
    }
    Ok(())
}

fn serve<A: zraft_session::Application>(builder: ServerBuilder<A>, arguments: &Arguments) -> Exit {
    run_alone(async {
        let mut signals = match Signals::listen() {
            Ok(signals) => signals,
            Err(error) => {
                complain(&format!("cannot receive signals: {error}"));
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
                complain(&described(&error));
                return of_start(&error);
            }
        };
        introduce(&server);
        let reports = (!arguments.quiet).then(|| tokio::spawn(report(server.member().watch())));
        let ended = server.run(&mut signals).await;
        if let Some(reports) = reports {
            reports.abort();
        }
        match ended {
            Ok(signal) => signal.into(),
            Err(ended) => {
                complain(&ended.to_string());
                of_end(&ended)
            }
        }
    })
}

/// Prints who the member is. It goes on serving if no one reads this.
fn introduce(server: &Server) {
    let (member, identity) = (server.member(), server.member().identity());
    let address = member.client_address();
    let address = SocketAddr::new(reachable(address.ip()), address.port());
    let text = format!(
        "member {} of cluster {}\nendpoint: {}=tcp://{address}\npress Ctrl+C to stop",
        identity.member, identity.cluster, identity.member
    );
    let _ = write(&text);
}

/// Reports who leads, whenever that changes.
async fn report(mut status: watch::Receiver<Status>) {
    if !status.borrow().applies {
        complain(
            "the application panicked twice at one entry: this member votes and stores, and neither applies nor leads",
        );
    }
    let mut last = String::new();
    loop {
        let text = summary(&status.borrow_and_update());
        if let Some(text) = text.filter(|text| *text != last) {
            complain(&text);
            last = text;
        }
        if status.changed().await.is_err() {
            return;
        }
    }
}

/// Returns who leads; none for a leader that does not serve yet.
fn summary(status: &Status) -> Option<String> {
    let term = status.term;
    match (status.role, status.leader) {
        _ if status.handing_over => Some("hands leadership over".to_owned()),
        _ if status.serving => Some(format!("leads in term {term}")),
        (Role::Leader, _) => None,
        (_, Some(leader)) => {
            let info = status.configuration.members.get(&leader);
            let name = info.map_or_else(|| leader.to_string(), |info| info.name.to_string());
            Some(format!("follows {name} in term {term}"))
        }
        (_, None) => Some("waits for a leader".to_owned()),
    }
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
        StartError::Config(_) | StartError::NoDirectory | StartError::OtherMember { .. } => {
            Exit::BadInput
        }
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
