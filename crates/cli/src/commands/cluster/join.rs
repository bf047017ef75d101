//! `zraft cluster add` and `replace`: a new member, and its folder on this machine.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use clap::Args;
use serde_json::json;
use zraft_cli::cluster::{self, Failure, Found};
use zraft_server::{
    FEATURE_LEVEL, RaftId, ServerConfig, Token, TokenFile, check_vacant, create_joining,
};

use super::{
    Place, member,
    secrets::{Needs, Secrets, remark},
};
use crate::{
    commands::{applications::Application, dev::reachable, init::quoted, json::Json},
    exit::Exit,
};

/// Add a member, and make its folder on this machine
///
/// Run it on the machine of the new member. It prints the command that starts the member. The member votes by itself once it
/// has caught up; zraft cluster promote waits for that. Until it is started, the cluster works as before.
#[derive(Debug, Args)]
pub(super) struct Add {
    /// Name of the new member
    member: String,
    #[command(flatten)]
    new: New,
    #[command(flatten)]
    place: Place,
}

/// Replace a member by a new one, and make the new one's folder on this machine
///
/// The old member keeps its vote until the new one has caught up. Then the new one takes its place in one step, so the cluster is
/// never one voter short. Run it on the machine of the new member.
#[derive(Debug, Args)]
pub(super) struct Replace {
    /// Name of the member that leaves
    old: String,
    /// Name of the new member
    member: String,
    #[command(flatten)]
    new: New,
    #[command(flatten)]
    place: Place,
}

/// The new member.
#[derive(Debug, Args)]
struct New {
    /// Folder of the new member; by default beside the others in DIR
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// State machine; by default the one in the folder of another member
    #[arg(long, value_name = "NAME")]
    application: Option<Application>,
    /// Address to listen on for clients; with port 0 a free port is chosen
    #[arg(long, value_name = "IP:PORT", default_value_t = anywhere())]
    client_address: SocketAddr,
    /// Address to listen on for the other members
    #[arg(long, value_name = "IP:PORT", default_value_t = anywhere())]
    peer_address: SocketAddr,
    /// Address to listen on for operators
    #[arg(long, value_name = "IP:PORT", default_value_t = anywhere())]
    admin_address: SocketAddr,
    /// Address at which the other members find the new one; by default the one that it listens on
    #[arg(long, value_name = "HOST:PORT")]
    advertise: Option<String>,
    #[command(flatten)]
    secrets: Secrets,
    #[command(flatten)]
    json: Json,
}

fn anywhere() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

pub(super) async fn add(arguments: Add) -> Result<Exit, Failure> {
    let Add { member, new, place } = arguments;
    join(&member, None, &new, &place).await
}

pub(super) async fn replace(arguments: Replace) -> Result<Exit, Failure> {
    let Replace { old, member, new, place } = arguments;
    join(&member, Some(&old), &new, &place).await
}

async fn join(name: &str, old: Option<&str>, new: &New, place: &Place) -> Result<Exit, Failure> {
    let found = place.found()?;
    let folder = folder_of(name, new, place, &found)?;
    check_vacant(&folder).map_err(|error| Failure::Input(error.to_string()))?;
    let (mut config, needs) = configuration(name, new, place, &found)?;
    if new.advertise.is_none() && config.peer_address.ip().is_unspecified() {
        return Err(Failure::Input(format!(
            "other members cannot dial {}: give the one at which they find the new member by --advertise",
            config.peer_address
        )));
    }
    let tokens = cluster::read_tokens(&place.token(&found)?).map_err(Failure::Input)?;
    let cluster = place.cluster()?;

    // The leader gives the number, so the folder can be made only afterwards.
    let address = new.advertise.clone().unwrap_or_else(|| config.peer_address.to_string());
    let mut body = json!({
        "member": name, "peer_address": address, "feature_level": FEATURE_LEVEL,
    });
    if let Some(old) = old {
        body["old"] = old.into();
    }
    let path = if old.is_some() { "/v1/members/replace" } else { "/v1/members/add" };
    let begun = cluster.change(path, &body).await?;
    let made = make(&mut config, &begun, (&folder, found.first()), &tokens, &needs);
    let missing = made.map_err(|problem| {
        Failure::Other(format!(
            "{name} was added, and its folder cannot be made: {problem}; run zraft cluster remove {name}, and add it again"
        ))
    })?;
    let pending = |_: &serde_json::Value| {
        format!("{name} is not known yet: look at zraft cluster status before you start it")
    };
    cluster.until(pending, |status| member(status, name).is_some()).await?;
    let client = config.client_address;
    let client = SocketAddr::new(reachable(client.ip()), client.port());
    let scheme = if config.client_tls.certificate.is_some() { "tls" } else { "tcp" };
    let endpoint = format!("{scheme}://{client}");
    let text = [
        Some(format!("added {name}; run it, and it votes once it has caught up:")),
        Some(format!("  zraft server {}", quoted(&folder))),
        remark(&folder, &missing),
        Some(format!("endpoint: {name}={endpoint}")),
    ];
    let text: Vec<_> = text.into_iter().flatten().collect();
    let object = json!({
        "member": name,
        "directory": folder.display().to_string(),
        "endpoint": endpoint,
        "missing": missing,
    });
    new.json.print(&object, &text.join("\n"));
    Ok(Exit::Success)
}

/// Returns the folder of the new member.
fn folder_of(name: &str, new: &New, place: &Place, found: &[Found]) -> Result<PathBuf, Failure> {
    if let Some(folder) = &new.folder {
        return Ok(folder.clone());
    }
    // A name can hold what leads out of the folder.
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let is_plain = name.bytes().all(plain) && !name.starts_with('.');
    let holds_members = found.iter().all(|found| found.directory != place.dir) && !found.is_empty();
    match is_plain && holds_members {
        true => Ok(place.dir.join(name)),
        false => Err(Failure::Input("give the folder of the new member by --folder".to_owned())),
    }
}

/// Returns the configuration of the new member, with its ports chosen.
fn configuration(
    name: &str,
    new: &New,
    place: &Place,
    found: &[Found],
) -> Result<(ServerConfig, Needs), Failure> {
    let input = |error: &dyn std::fmt::Display| Failure::Input(error.to_string());
    let application = match new.application {
        Some(application) => application,
        None => {
            let known = found.iter().find_map(|found| found.config.application.as_deref());
            Application::named(known).map_err(|error| input(&error))?
        }
    };
    let mut config = ServerConfig::default();
    config.client_address = new.client_address;
    config.peer_address = new.peer_address;
    config.admin_address = Some(new.admin_address);
    config.insecure = place.insecure;
    let known = found.first().map(|found| &found.config);
    let needs = new.secrets.needs(&mut config, known, place.tls_ca.is_some())?;
    config.check().map_err(|error| input(&error))?;
    config.choose_ports().map_err(|error| input(&error))?;
    let (client, peer) = (config.client_address.to_string(), config.peer_address.to_string());
    let admin =
        config.admin_address.map_or_else(|| "none".to_owned(), |address| address.to_string());
    let insecure = place.insecure.then_some(("insecure", "true"));
    let options = [
        ("name", name),
        ("application", application.name()),
        ("client-address", client.as_str()),
        ("peer-address", peer.as_str()),
        ("admin-address", admin.as_str()),
    ];
    for (flag, value) in options.into_iter().chain(insecure) {
        config.set(flag, value).map_err(|error| input(&error))?;
    }
    Ok((config, needs))
}

/// Makes the folder of a member that the leader has given a number. Returns what the operator must add to it.
fn make(
    config: &mut ServerConfig,
    begun: &serde_json::Value,
    (folder, known): (&std::path::Path, Option<&Found>),
    tokens: &[Token],
    needs: &Needs,
) -> Result<Vec<String>, String> {
    let strange = || "the leader's answer lacks the cluster or the number".to_owned();
    let raft_id = begun["id"].as_u64().and_then(RaftId::new).ok_or_else(strange)?;
    let id = begun["cluster"].as_str().ok_or_else(strange)?;
    config.set("cluster", id).map_err(|error| error.to_string())?;
    let (Some(cluster), Some(name)) = (config.cluster, config.name.clone()) else {
        return Err(strange());
    };
    config.create_in(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let file = TokenFile::new(config.token_file(folder));
    // While the token is changed, all members take both.
    file.create_all(tokens).map_err(|error| error.to_string())?;
    create_joining(folder, cluster, name, raft_id).map_err(|error| error.to_string())?;
    // Last, because the folder of a new member is empty.
    needs.make(folder, (cluster, raft_id), known).map_err(|error| error.to_string())
}
