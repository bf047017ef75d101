//! `zraft cluster`: looks at a running cluster and changes it, through the admin ports of its members.

mod backup;
mod check;
mod force;
mod join;
mod restore;
mod secrets;
mod status;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use zraft_cli::{
    admin::{Admin, Trust},
    cluster::{self, Cluster, Failure, Found, serving},
};

use super::{dev::reachable, endpoints::seconds, json::Json};
use crate::exit::{Exit, complain, print, run as run_command};

/// Look at a running cluster, and change it
///
/// The commands ask the admin ports of the members, and find the leader by themselves. They take addresses and token from the
/// folders that zraft init has made, or from --admin and --token-file. A command waits until its change is done, for 15
/// seconds unless --timeout says otherwise. restore and force-new are different: they work on files.
///
/// The exit status is 1 after bad input or if check finds a difference, 2 if no leader answers in time, 3 if the cluster refuses the
/// change, and with status --exit-code 4 if an alarm is raised.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Example:\n  zraft cluster status\n  zraft cluster check\n  zraft cluster move-leader node-2\n  zraft cluster settings session_timeout_millis=60000"
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Status(status::Arguments),
    Check(check::Arguments),
    Add(join::Add),
    Replace(join::Replace),
    Promote(Promote),
    Remove(Remove),
    MoveLeader(MoveLeader),
    Settings(Settings),
    Snapshot(Snapshot),
    Backup(backup::Arguments),
    Restore(restore::Arguments),
    AcceptClock(AcceptClock),
    ForceNew(force::Arguments),
}

/// Where the admin ports are.
#[derive(Debug, Clone, Args)]
struct Place {
    /// Folder of a member, or the folder that holds those of several, to take addresses and token from
    #[arg(short = 'd', long, value_name = "DIR", default_value = "cluster")]
    dir: PathBuf,
    /// Admin ports of the members, instead of those in DIR
    #[arg(short = 'a', long, value_name = "IP:PORT,…")]
    admin: Option<String>,
    /// File with the token; admin.token in the first member's folder by default
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// CA that has signed the certificates of the admin ports, in PEM form; needed if they speak TLS
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// Name that these certificates have, in place of each port's address
    #[arg(long, value_name = "NAME", requires = "tls_ca")]
    tls_server_name: Option<String>,
    /// Use addresses beyond loopback without TLS: send the token in the open to those of --admin, and let the ports of a new member listen on them
    #[arg(long)]
    insecure: bool,
    /// Seconds to wait for the leader and for the change
    #[arg(long, value_name = "SECONDS", default_value = "15", value_parser = seconds)]
    timeout: Duration,
}

/// Wait until a member that was added votes
///
/// A new member votes by itself once it has caught up, so there is nothing to decide. This command says what it still lacks.
#[derive(Debug, Args)]
struct Promote {
    /// Name of the member
    member: String,
    #[command(flatten)]
    json: Json,
    #[command(flatten)]
    place: Place,
}

/// Remove a member
///
/// A leader hands leadership over first. The process of the removed member ends by itself. Its number is never used again, so
/// its folder is of no further use.
#[derive(Debug, Args)]
struct Remove {
    /// Name of the member
    member: String,
    #[command(flatten)]
    json: Json,
    #[command(flatten)]
    place: Place,
}

/// Hand leadership over
#[derive(Debug, Args)]
struct MoveLeader {
    /// Name of the next leader; by default the member with the most of the log
    member: Option<String>,
    #[command(flatten)]
    json: Json,
    #[command(flatten)]
    place: Place,
}

/// Show or change the limits that the cluster replicates
///
/// Prints all settings. With NAME=VALUE, changes these and leaves the others as they are.
#[derive(Debug, Args)]
struct Settings {
    /// Settings to change
    #[arg(value_name = "NAME=VALUE")]
    changes: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

/// Let members take a snapshot now, so that their logs become shorter
#[derive(Debug, Args)]
struct Snapshot {
    /// Only this member; by default all members whose admin ports are known
    #[arg(long, value_name = "NAME")]
    member: Option<String>,
    #[command(flatten)]
    json: Json,
    #[command(flatten)]
    place: Place,
}

/// Let the cluster's time follow the leader's clock, which leapt ahead
///
/// A leap of more than 10 seconds is not followed, because it is most likely wrong, and following it would end sessions and
/// timers at once. Check the clock of the leader's machine first.
#[derive(Debug, Args)]
struct AcceptClock {
    #[command(flatten)]
    json: Json,
    #[command(flatten)]
    place: Place,
}

pub(crate) fn run(arguments: Arguments) -> Exit {
    run_command(async {
        let done = match arguments.command {
            Command::Status(arguments) => status::run(&arguments).await,
            Command::Check(arguments) => check::run(&arguments).await,
            Command::Add(arguments) => join::add(arguments).await,
            Command::Replace(arguments) => join::replace(arguments).await,
            Command::Promote(arguments) => promote(&arguments).await,
            Command::Remove(arguments) => remove(&arguments).await,
            Command::MoveLeader(arguments) => move_leader(&arguments).await,
            Command::Settings(arguments) => settings(&arguments).await,
            Command::Snapshot(arguments) => snapshot(&arguments).await,
            Command::Backup(arguments) => backup::run(&arguments).await,
            Command::Restore(arguments) => blocking(move || restore::run(&arguments)).await,
            Command::AcceptClock(arguments) => accept_clock(&arguments).await,
            Command::ForceNew(arguments) => blocking(move || force::run(&arguments)).await,
        };
        done.unwrap_or_else(|failure| {
            complain(failure.text());
            match failure {
                Failure::Input(_) => Exit::BadInput,
                Failure::NoAnswer(_) => Exit::Connection,
                Failure::Other(_) => Exit::Failure,
            }
        })
    })
}

/// Runs what reads and writes files for a while, so that Ctrl+C ends it.
async fn blocking(
    work: impl FnOnce() -> Result<Exit, Failure> + Send + 'static,
) -> Result<Exit, Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err(Failure::Other("the command panicked".to_owned())))
}

impl Place {
    /// Returns the members whose folders are in DIR; none if addresses were given instead and DIR holds nothing.
    fn found(&self) -> Result<Vec<Found>, Failure> {
        match cluster::find(&self.dir) {
            Err(_) if self.admin.is_some() => Ok(Vec::new()),
            found => found.map_err(Failure::Input),
        }
    }

    /// Returns the file with the token.
    fn token(&self, found: &[Found]) -> Result<PathBuf, Failure> {
        let given = self.token_file.clone();
        let first = || found.first().map(|found| found.config.token_file(&found.directory));
        given.or_else(first).ok_or_else(|| {
            Failure::Input(
                "give the file with the token of the admin port by --token-file".to_owned(),
            )
        })
    }

    /// Returns the addresses of --admin. Without TLS, the token crosses the network in the open to those beyond loopback.
    fn given(&self, text: &str) -> Result<Vec<SocketAddr>, Failure> {
        let addresses = cluster::read_addresses(text).map_err(Failure::Input)?;
        match addresses.iter().find(|address| !address.ip().is_loopback()) {
            Some(open) if !self.insecure && self.tls_ca.is_none() => Err(Failure::Input(format!(
                "{open} is on another machine, and the token would cross the network in the open: give --tls-ca if the port speaks TLS, use an SSH tunnel, or --insecure in a network that you trust"
            ))),
            _ => Ok(addresses),
        }
    }

    /// Returns the cluster to ask.
    fn cluster(&self) -> Result<Cluster, Failure> {
        let found = self.found()?;
        let addresses = match &self.admin {
            Some(text) => self.given(text)?,
            None => cluster::addresses(&found, |address| {
                SocketAddr::new(reachable(address.ip()), address.port())
            }),
        };
        if addresses.is_empty() {
            return Err(Failure::Input(format!(
                "no member in {} has an admin port: set address in the section [admin] of its node.toml, or give --admin",
                self.dir.display()
            )));
        }
        let token = cluster::read_token(&self.token(&found)?).map_err(Failure::Input)?;
        let cluster = Cluster::new(addresses, &token, self.timeout);
        let Some(ca) = &self.tls_ca else {
            let speaks_tls = |found: &Found| found.config.admin_tls.certificate.is_some();
            return match found.iter().find(|found| speaks_tls(found)) {
                Some(found) if self.admin.is_none() => Err(Failure::Input(format!(
                    "the admin port of the member in {} speaks TLS: give the CA that has signed its certificate by --tls-ca",
                    found.directory.display()
                ))),
                _ => Ok(cluster),
            };
        };
        let trust = Trust::read(ca, self.tls_server_name.as_deref()).map_err(Failure::Input)?;
        Ok(cluster.with_tls(&trust))
    }
}

/// Returns what a status says of a member.
fn member<'s>(status: &'s Value, name: &str) -> Option<&'s Value> {
    status["members"].as_array()?.iter().find(|member| member["name"] == name)
}

async fn promote(arguments: &Promote) -> Result<Exit, Failure> {
    let name = &arguments.member;
    let cluster = arguments.place.cluster()?;
    let (_, first) = cluster.leader().await?;
    if member(&first, name).is_none() {
        return Err(Failure::Other(format!(
            "there is no member {name}: add it with zraft cluster add {name}"
        )));
    }
    let pending = |status: &Value| match member(status, name) {
        None => format!("{name} was removed"),
        Some(member) if member["active"] == false => {
            format!("{name} does not answer: start it, and look at its log")
        }
        Some(member) if member["installing_snapshot"] == true => {
            format!("{name} still receives a snapshot: try again later")
        }
        Some(member) => {
            let (last, matched) = (status["log"]["last"].as_u64(), member["matched"].as_u64());
            let lacks = last.unwrap_or(0).saturating_sub(matched.unwrap_or(0));
            format!(
                "{name} does not vote yet: it lacks {lacks} entries; if that is few, its application is too old"
            )
        }
    };
    let votes =
        |status: &Value| member(status, name).is_some_and(|member| member["role"] == "voter");
    cluster.until(pending, votes).await?;
    let object = json!({ "member": name, "role": "voter" });
    arguments.json.print(&object, &format!("{name} votes"));
    Ok(Exit::Success)
}

async fn remove(arguments: &Remove) -> Result<Exit, Failure> {
    let name = &arguments.member;
    let cluster = arguments.place.cluster()?;
    cluster.change("/v1/members/remove", &json!({ "member": name })).await?;
    let pending = |_: &Value| {
        format!("the removal of {name} has begun and is not done: zraft cluster status tells")
    };
    cluster.until(pending, |status| member(status, name).is_none()).await?;
    let text = format!("removed {name}; its process ends by itself, and its folder can be deleted");
    arguments.json.print(&json!({ "removed": name }), &text);
    Ok(Exit::Success)
}

async fn move_leader(arguments: &MoveLeader) -> Result<Exit, Failure> {
    let cluster = arguments.place.cluster()?;
    let (_, before) = cluster.leader().await?;
    let (leader, term) = (before["leader"].clone(), before["term"].as_u64());
    let body = match &arguments.member {
        Some(member) => json!({ "member": member }),
        None => json!({}),
    };
    cluster.change("/v1/leader/move", &body).await?;
    // A hand-over that fails leaves the same leader in the same term.
    let failed = |status: &Value| {
        status["leader"] == leader
            && status["term"].as_u64() == term
            && status["handing_over"] == false
    };
    let pending =
        |_: &Value| "leadership did not move in time: zraft cluster status tells".to_owned();
    let moved = |status: &Value| status["term"].as_u64() > term || failed(status);
    let after = cluster.until(pending, moved).await?;
    let next = after["leader"].as_str().unwrap_or("?");
    let wanted = arguments.member.as_deref().is_none_or(|wanted| wanted == next);
    if failed(&after) || !wanted || after["leader"] == leader {
        return Err(Failure::Other(format!(
            "{next} leads: the member that was asked did not take over in time"
        )));
    }
    arguments.json.print(&json!({ "leader": next }), &format!("{next} leads"));
    Ok(Exit::Success)
}

async fn settings(arguments: &Settings) -> Result<Exit, Failure> {
    let mut changes = Map::new();
    for change in &arguments.changes {
        let number = change.split_once('=').and_then(|(name, value)| {
            Some((name.trim().to_owned(), value.trim().parse::<u64>().ok()?))
        });
        let Some((name, value)) = number else {
            return Err(Failure::Input(format!(
                "{change} is not of the form NAME=VALUE with a whole number, such as sessions=1000"
            )));
        };
        changes.insert(name, value.into());
    }
    let cluster = arguments.place.cluster()?;
    let status = if changes.is_empty() {
        cluster.leader().await?.1
    } else {
        cluster.change("/v1/settings", &Value::Object(changes.clone())).await?;
        let pending = |_: &Value| "the change has begun and is not in force yet".to_owned();
        let in_force =
            |status: &Value| changes.iter().all(|(name, value)| status["settings"][name] == *value);
        cluster.until(pending, in_force).await?
    };
    let settings = &status["settings"];
    if arguments.json {
        print(&settings.to_string());
    } else if let Some(settings) = settings.as_object() {
        settings.iter().for_each(|(name, value)| print(&format!("{name} = {value}")));
    }
    Ok(Exit::Success)
}

async fn snapshot(arguments: &Snapshot) -> Result<Exit, Failure> {
    let cluster = arguments.place.cluster()?;
    let wanted = arguments.member.as_deref();
    let mut waiting = Vec::new();
    for answer in cluster.ask_all().await {
        let name = |status: &Value| status["member"].as_str().unwrap_or("?").to_owned();
        match answer.status {
            Ok(status) if wanted.is_none_or(|wanted| wanted == name(&status)) => {
                let asked = answer.admin.post("/v1/snapshot", &json!({})).await;
                let asked = asked.map_err(|error| Failure::Other(error.to_string()))?;
                waiting.push((answer.admin, name(&status), asked["applied"].as_u64()));
            }
            Err(error) if wanted.is_none() => complain(&error.to_string()),
            _ => {}
        }
    }
    if waiting.is_empty() {
        let text = wanted.map_or("no member answers".to_owned(), |wanted| {
            format!("{wanted} does not answer: give the address of its admin port with --admin")
        });
        return Err(Failure::NoAnswer(text));
    }
    for (admin, name, applied) in waiting {
        let index = has_snapshot(&cluster, &admin, &name, applied).await?;
        let object = json!({ "member": name, "index": index });
        arguments.json.print(&object, &format!("{name} has a snapshot at entry {index}"));
    }
    Ok(Exit::Success)
}

/// Waits until a member has a snapshot of what it had applied, and returns its index.
async fn has_snapshot(
    cluster: &Cluster,
    admin: &Admin,
    name: &str,
    applied: Option<u64>,
) -> Result<u64, Failure> {
    loop {
        let status = admin.status().await;
        let index = status.ok().and_then(|status| status["snapshot"]["index"].as_u64());
        if let Some(index) = index.filter(|index| Some(*index) >= applied) {
            return Ok(index);
        }
        if !cluster.pause().await {
            return Err(Failure::NoAnswer(format!(
                "{name} still writes its snapshot: try again, with a longer --timeout"
            )));
        }
    }
}

async fn accept_clock(arguments: &AcceptClock) -> Result<Exit, Failure> {
    let cluster = arguments.place.cluster()?;
    cluster.change("/v1/clock/accept", &json!({})).await?;
    // The alarm ends with the next entry, which may be long in coming.
    arguments.json.print(
        &json!({ "accepted": true }),
        "the cluster's time follows the leader's clock, from the next entry of the log on",
    );
    Ok(Exit::Success)
}

/// Returns the leader among the answers.
fn leader_of(answers: &[cluster::Answer]) -> Option<Value> {
    serving(answers).map(|(_, status)| status)
}
