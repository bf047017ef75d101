//! `zraft init`: makes the data directories of a new cluster.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
};

use clap::Args;
use serde_json::{Value, json};
use zraft_cli::certificates::Authorities;
use zraft_server::{
    ClusterId, CreateError, NewMember, RaftId, ServerConfig, Token, TokenFile, create_cluster,
    random_cluster_id,
};

use super::{applications::Application, json::Json};
use crate::exit::{Exit, complain};

/// Make the data directories of a new cluster on this machine
///
/// Makes the folders node-1, node-2 and so on in DIR. Each holds an empty log, the member's identity, the token of the admin
/// ports, and the file node.toml with its addresses on loopback. Only their owner may read them. Overwrites nothing: the exit status is 1 if one of
/// the folders exists.
///
/// With --tls, members and clients speak TLS, and clients need a token. Two CAs are made for that, in the folder DIR/ca, with the certificates of
/// the members in their folders and one for clients in DIR; the token is in client.token. Keep DIR/ca where no member runs: its keys make
/// certificates for anyone.
///
/// Prints the commands that run the members, and the options for clients.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Example:\n  zraft init --members 3 --dir cluster\n  zraft server cluster/node-1"
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    shape: Shape,
}

/// A new cluster on this machine.
#[derive(Debug, Args)]
pub(crate) struct Shape {
    /// Number of members; with one or two, the service ends while one of them is down
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=64))]
    members: u16,
    /// Folder for the members' folders
    #[arg(long, value_name = "DIR", default_value = "cluster")]
    dir: PathBuf,
    /// First port: the members' client ports come first, then their peer ports and their admin ports; 0 chooses free ports
    #[arg(long, value_name = "PORT", default_value_t = 7001)]
    base_port: u16,
    /// State machine that all members run
    #[arg(long, value_name = "NAME", default_value = "kv-store")]
    pub(crate) application: Application,
    /// Make certificates and a token, so that members and clients speak TLS and know each other
    #[arg(long)]
    tls: bool,
    /// Host name or address under which clients reach the members, besides localhost; may be given several times
    #[arg(long, value_name = "HOST", requires = "tls")]
    host: Vec<String>,
    #[command(flatten)]
    json: Json,
}

/// The file with the token of clients, in each member's folder and in DIR.
pub(crate) const CLIENT_TOKEN: &str = "client.token";

/// The options of TLS, with the files in each member's folder.
pub(crate) const CLIENT_FILES: [(&str, &str); 2] =
    [("client-certificate", "client.pem"), ("client-key", "client.key")];
pub(crate) const CLIENT_CA: (&str, &str) = ("client-ca", "client-ca.pem");
pub(crate) const PEER_FILES: [(&str, &str); 3] =
    [("peer-certificate", "peer.pem"), ("peer-key", "peer.key"), ("peer-ca", "peer-ca.pem")];

pub(crate) const ADMIN_FILES: [(&str, &str); 2] =
    [("admin-certificate", "admin.pem"), ("admin-key", "admin.key")];

/// The folder of the CAs and their keys.
const CA_FOLDER: &str = "ca";

/// The names of the loopback interface, which the certificates of client ports have.
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// A member of the new cluster, with its configuration.
struct Planned {
    name: String,
    config: ServerConfig,
    member: NewMember,
}

pub(crate) fn run(arguments: &Arguments) -> Exit {
    let found = |cluster, members: &[NewMember]| {
        let created = create_cluster(cluster, members).map_err(|error| match error {
            CreateError::System(_) => Refused::failure(error),
            _ => Refused::input(error),
        });
        created.map(|()| None)
    };
    match make(&arguments.shape, found) {
        Ok(()) => Exit::Success,
        Err(Refused(exit, problem)) => {
            complain(&problem);
            exit
        }
    }
}

/// Makes the folders of a new cluster, with `found` for the members' data, and prints how to run them. `found` can return what it
/// has restored, as text and as an object.
pub(crate) fn make(
    shape: &Shape,
    found: impl FnOnce(ClusterId, &[NewMember]) -> Result<Option<(String, Value)>, Refused>,
) -> Result<(), Refused> {
    let planned = plan(shape)?;
    let cluster = configure(&planned)?;
    let members: Vec<_> = planned.iter().map(|planned| planned.member.clone()).collect();
    let restored = found(cluster, &members)?;
    if shape.tls {
        make_certificates(shape, cluster, &planned)?;
    }
    let scheme = if shape.tls { "tls" } else { "tcp" };
    let address = |planned: &Planned| format!("{scheme}://{}", planned.config.client_address);
    let endpoints: Vec<_> =
        planned.iter().map(|planned| format!("{}={}", planned.name, address(planned))).collect();
    let mut lines: Vec<_> = restored.iter().map(|(text, _)| text.clone()).collect();
    lines.push("made a cluster; run each member in its own terminal:".to_owned());
    let run = |planned: &Planned| format!("  zraft server {}", quoted(&planned.member.directory));
    lines.extend(planned.iter().map(run));
    lines.push(format!("endpoints: {}", endpoints.join(",")));
    let objects = planned.iter().map(|planned| {
        json!({
            "member": planned.name,
            "directory": planned.member.directory.display().to_string(),
            "endpoint": address(planned),
            "admin": planned.config.admin_address.map(|address| address.to_string()),
        })
    });
    let mut object = json!({
        "cluster": cluster.to_string(),
        "endpoints": endpoints.join(","),
        "members": objects.collect::<Vec<_>>(),
    });
    if let Some((_, restored)) = restored {
        object["restored"] = restored;
    }
    let mut flags = String::new();
    if shape.tls {
        let path = |name| shape.dir.join(name);
        let (ca, certificate, key, token) =
            (path("client-ca.pem"), path("client.pem"), path("client.key"), path(CLIENT_TOKEN));
        flags = format!(
            "--tls-ca {} --tls-cert {} --tls-key {} --token-file {}",
            quoted(&ca),
            quoted(&certificate),
            quoted(&key),
            quoted(&token)
        );
        lines.push(format!("for clients: {flags}"));
        lines.push(format!("keep {} where no member runs", quoted(&path(CA_FOLDER))));
        let text = |path: PathBuf| path.display().to_string();
        object["client"] = json!({
            "tls_ca": text(ca),
            "tls_cert": text(certificate),
            "tls_key": text(key),
            "token_file": text(token),
        });
    }
    let keep = format!("zraft context set NAME -e {} {flags}", endpoints.join(","));
    lines.push(format!("to give commands this cluster by a name: {}", keep.trim_end()));
    shape.json.print(&object, &lines.join("\n"));
    Ok(())
}

/// Why nothing, or not everything, was made.
pub(crate) struct Refused(pub(crate) Exit, pub(crate) String);

impl Refused {
    pub(crate) fn input(problem: impl ToString) -> Self {
        Self(Exit::BadInput, problem.to_string())
    }

    pub(crate) fn failure(problem: impl ToString) -> Self {
        Self(Exit::Failure, problem.to_string())
    }
}

fn plan(shape: &Shape) -> Result<Vec<Planned>, Refused> {
    let cluster = random_cluster_id().map_err(Refused::failure)?;
    let addresses = addresses(shape.base_port, shape.members)?;
    let (clients, rest) = addresses.split_at(usize::from(shape.members));
    let (peers, admins) = rest.split_at(usize::from(shape.members));
    if shape.tls {
        let taken = [CA_FOLDER, "client-ca.pem", "client.pem", "client.key", CLIENT_TOKEN];
        let taken = taken.map(|name| shape.dir.join(name));
        if let Some(taken) = taken.iter().find(|path| path.symlink_metadata().is_ok()) {
            let taken = taken.display();
            return Err(Refused::input(format!("{taken} exists: choose another --dir")));
        }
    }
    let mut planned = Vec::new();
    for (number, ((client, peer), admin)) in (1..).zip(clients.iter().zip(peers).zip(admins)) {
        let name = format!("node-{number}");
        let directory = shape.dir.join(&name);
        if directory.symlink_metadata().is_ok() {
            let folder = directory.display();
            return Err(Refused::input(format!("{folder} exists: choose another --dir")));
        }
        let mut config = ServerConfig::default();
        for (flag, value) in [
            ("name", name.as_str()),
            ("cluster", &cluster.to_string()),
            ("application", shape.application.name()),
            ("client-address", &client.to_string()),
            ("peer-address", &peer.to_string()),
            ("admin-address", &admin.to_string()),
        ] {
            config.set(flag, value).map_err(Refused::failure)?;
        }
        if shape.tls {
            let others = [CLIENT_CA, ("client-token-file", CLIENT_TOKEN)];
            for (flag, file) in CLIENT_FILES.into_iter().chain(others).chain(PEER_FILES) {
                config.set(flag, file).map_err(Refused::failure)?;
            }
        }
        let member_name = config.name.clone().ok_or_else(|| Refused::failure("no name"))?;
        let member = NewMember { name: member_name, directory, peer_address: peer.to_string() };
        planned.push(Planned { name, config, member });
    }
    Ok(planned)
}

/// Returns the members' client addresses, then their peer addresses, and then their admin addresses.
fn addresses(base: u16, members: u16) -> Result<Vec<SocketAddr>, Refused> {
    let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let count = 3 * members;
    if base > 0 {
        base.checked_add(count - 1).ok_or_else(|| {
            Refused::input("the last ports would be above 65535: choose a lower --base-port")
        })?;
        return Ok((0..count).map(|number| loopback(base + number)).collect());
    }
    // All are held until all are chosen, so that they differ.
    let held = (0..count).map(|_| TcpListener::bind(loopback(0))).collect::<Result<Vec<_>, _>>();
    let held = held.map_err(Refused::failure)?;
    held.iter().map(|port| port.local_addr().map_err(Refused::failure)).collect()
}

/// Writes configuration and token of each member, and returns the cluster that they name.
fn configure(planned: &[Planned]) -> Result<ClusterId, Refused> {
    let mut cluster = None;
    // One token opens the admin ports of all members.
    let token = Token::random().map_err(Refused::failure)?;
    for Planned { config, member, .. } in planned {
        config.create_in(&member.directory).map_err(|error| {
            Refused::failure(format!("{}: {error}", member.directory.display()))
        })?;
        let file = TokenFile::new(config.token_file(&member.directory));
        file.create(&token).map_err(Refused::failure)?;
        cluster = config.cluster;
    }
    cluster.ok_or_else(|| Refused::failure("no members"))
}

/// Makes the CAs, the certificates of members and clients, and the clients' token. It comes last, because a new member's
/// folder is empty.
fn make_certificates(
    shape: &Shape,
    cluster: ClusterId,
    planned: &[Planned],
) -> Result<(), Refused> {
    let hosts = certified_hosts(&shape.host);
    let make = || {
        let authorities = Authorities::new()?;
        authorities.create_in(&shape.dir.join(CA_FOLDER))?;
        authorities.write_client(&shape.dir)?;
        for (number, planned) in (1..).zip(planned) {
            let id = RaftId::new(number).ok_or(io::ErrorKind::InvalidInput)?;
            let folder = &planned.member.directory;
            authorities.write_peer_port(folder, cluster, id)?;
            authorities.write_client_port(folder, id, &hosts)?;
        }
        Ok::<_, io::Error>(())
    };
    make().map_err(Refused::failure)?;
    let token = Token::random().map_err(Refused::failure)?;
    let folders = planned.iter().map(|planned| &planned.member.directory).chain([&shape.dir]);
    for folder in folders {
        TokenFile::new(folder.join(CLIENT_TOKEN)).create(&token).map_err(Refused::failure)?;
    }
    Ok(())
}

/// Returns the names that the certificate of a client port has.
pub(crate) fn certified_hosts(given: &[String]) -> Vec<String> {
    LOOPBACK.into_iter().map(str::to_owned).chain(given.iter().cloned()).collect()
}

/// Returns a path as a shell reads it.
pub(crate) fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-:".contains(&byte);
    match !text.is_empty() && text.bytes().all(plain) {
        true => text,
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
}
