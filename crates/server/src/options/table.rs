//! The table of options.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use zraft_protocol::MemberId;
use zraft_replica::ClusterId;

use super::{ConfigOption, ServerConfig};

/// The form of an option's value, and how it is read from and written to a configuration.
#[derive(Debug)]
pub(super) enum Kind {
    Text {
        read: fn(&ServerConfig) -> Option<String>,
        write: fn(&mut ServerConfig, &str) -> Result<(), String>,
    },
    Switch {
        read: fn(&ServerConfig) -> bool,
        write: fn(&mut ServerConfig, bool),
    },
    /// A whole number. The ranges keep out values with which a member cannot work, and those that do not fit into the
    /// field. The library checks the limits of a new cluster itself.
    Number {
        least: u64,
        most: u64,
        read: fn(&ServerConfig) -> u64,
        write: fn(&mut ServerConfig, u64),
    },
}

/// The sections of the file, with what they are about.
pub(super) static SECTIONS: &[(&str, &str)] = &[
    ("", "Member"),
    ("client", "Client port"),
    ("peer", "Peer port"),
    ("admin", "Admin port"),
    ("raft", "Heartbeats and elections"),
    ("storage", "Storage"),
    (
        "new-cluster",
        "Limits that a new cluster begins with; it replicates them, so they are ignored later",
    ),
];

pub(super) static OPTIONS: &[ConfigOption] = &[
    ConfigOption {
        section: "",
        flag: "name",
        placeholder: "NAME",
        text: "Name of the member, which the data directory must belong to",
        kind: Kind::Text {
            read: |config| config.name.as_ref().map(|name| name.as_str().to_owned()),
            write: set_name,
        },
    },
    ConfigOption {
        section: "",
        flag: "cluster",
        placeholder: "ID",
        text: "Cluster that the data directory must belong to, as 32 hexadecimal digits",
        kind: Kind::Text {
            read: |config| config.cluster.map(|cluster| cluster.to_string()),
            write: set_cluster,
        },
    },
    ConfigOption {
        section: "",
        flag: "application",
        placeholder: "NAME",
        text: "State machine that the member runs; all members of a cluster run the same",
        kind: Kind::Text { read: |config| config.application.clone(), write: set_application },
    },
    ConfigOption {
        section: "",
        flag: "insecure",
        placeholder: "",
        text: "Let ports without TLS listen on addresses other than loopback",
        kind: Kind::Switch {
            read: |config| config.insecure,
            write: |config, on| config.insecure = on,
        },
    },
    ConfigOption {
        section: "",
        flag: "log",
        placeholder: "FORMAT",
        text: "Form of the log on standard error: text, or json with the time",
        kind: Kind::Text {
            read: |config| Some(config.log.to_string()),
            write: |config, text| text.parse().map(|format| config.log = format),
        },
    },
    ConfigOption {
        section: "",
        flag: "log-level",
        placeholder: "LEVEL",
        text: "Least important events that are logged: error, warn, info, debug or trace",
        kind: Kind::Text {
            read: |config| Some(config.log_level.to_string()),
            write: |config, text| text.parse().map(|level| config.log_level = level),
        },
    },
    ConfigOption {
        section: "client",
        flag: "client-address",
        placeholder: "IP:PORT",
        text: "Address to listen on for clients; with port 0 the system chooses the port",
        kind: Kind::Text {
            read: |config| Some(config.client_address.to_string()),
            write: |config, text| set_address(&mut config.client_address, text),
        },
    },
    ConfigOption {
        section: "client",
        flag: "client-advertise",
        placeholder: "[SCHEME://]HOST:PORT",
        text: "Address for clients that ask a server for the members; by default the one to listen on, unless that is unspecified",
        kind: Kind::Text {
            read: |config| config.client_advertise.as_ref().map(ToString::to_string),
            write: |config, text| {
                text.parse().map(|endpoint| config.client_advertise = Some(endpoint))
            },
        },
    },
    ConfigOption {
        section: "client",
        flag: "client-certificate",
        placeholder: "FILE",
        text: "Certificate that clients see, in PEM form; with it, the client port speaks TLS",
        kind: Kind::Text {
            read: |config| path(config.client_tls.certificate.as_ref()),
            write: |config, text| set_path(&mut config.client_tls.certificate, text),
        },
    },
    ConfigOption {
        section: "client",
        flag: "client-key",
        placeholder: "FILE",
        text: "Private key of that certificate, which only the user of the process may read",
        kind: Kind::Text {
            read: |config| path(config.client_tls.key.as_ref()),
            write: |config, text| set_path(&mut config.client_tls.key, text),
        },
    },
    ConfigOption {
        section: "client",
        flag: "client-ca",
        placeholder: "FILE",
        text: "CA of the clients' certificates; with it, a client without a certificate is refused",
        kind: Kind::Text {
            read: |config| path(config.client_tls.ca.as_ref()),
            write: |config, text| set_path(&mut config.client_tls.ca, text),
        },
    },
    ConfigOption {
        section: "client",
        flag: "client-token-file",
        placeholder: "FILE",
        text: "File with the tokens, one or two, of which a client must give one to open a session; the same on all members",
        kind: Kind::Text {
            read: |config| path(config.client_token_file.as_ref()),
            write: |config, text| set_path(&mut config.client_token_file, text),
        },
    },
    ConfigOption {
        section: "client",
        flag: "client-connections",
        placeholder: "N",
        text: "Connections of clients; a new one beyond it is closed",
        kind: Kind::Number {
            least: 1,
            most: 10_000_000,
            read: |config| config.ports.client_connections as u64,
            write: |config, number| config.ports.client_connections = size(number),
        },
    },
    ConfigOption {
        section: "client",
        flag: "client-message-bytes",
        placeholder: "BYTES",
        text: "Longest message of a client; a longer one closes the connection",
        kind: Kind::Number {
            least: 1 << 10,
            most: 1 << 30,
            read: |config| config.ports.client_message as u64,
            write: |config, number| config.ports.client_message = size(number),
        },
    },
    ConfigOption {
        section: "client",
        flag: "client-queue-bytes",
        placeholder: "BYTES",
        text: "Bytes queued for one client; a client that leaves more unread is closed and resumes",
        kind: Kind::Number {
            least: 1 << 20,
            most: 1 << 30,
            read: |config| config.ports.client_queue as u64,
            write: |config, number| config.ports.client_queue = size(number),
        },
    },
    ConfigOption {
        section: "client",
        flag: "client-idle-millis",
        placeholder: "MS",
        text: "Time without a byte from a client after which its connection is closed",
        kind: Kind::Number {
            least: 5_000,
            most: 86_400_000,
            read: |config| millis(config.ports.client_idle),
            write: |config, millis| config.ports.client_idle = Duration::from_millis(millis),
        },
    },
    ConfigOption {
        section: "client",
        flag: "client-handshake-millis",
        placeholder: "MS",
        text: "Longest handshake of a client or member",
        kind: Kind::Number {
            least: 100,
            most: 60_000,
            read: |config| millis(config.ports.handshake),
            write: |config, millis| config.ports.handshake = Duration::from_millis(millis),
        },
    },
    ConfigOption {
        section: "client",
        flag: "client-waiting-bytes",
        placeholder: "BYTES",
        text: "Bytes of requests that wait on one connection for room in the log, with 256 for each besides its payload; a client with more is closed and resumes",
        kind: Kind::Number {
            least: 1 << 16,
            most: 1 << 30,
            read: |config| config.limits.waiting_bytes as u64,
            write: |config, number| config.limits.waiting_bytes = size(number),
        },
    },
    ConfigOption {
        section: "client",
        flag: "client-held",
        placeholder: "N",
        text: "Clients that wait for a leader to be elected; further ones are rejected at once",
        kind: Kind::Number {
            least: 0,
            most: 10_000_000,
            read: |config| config.limits.held as u64,
            write: |config, number| config.limits.held = size(number),
        },
    },
    ConfigOption {
        section: "peer",
        flag: "peer-address",
        placeholder: "IP:PORT",
        text: "Address to listen on for the other members",
        kind: Kind::Text {
            read: |config| Some(config.peer_address.to_string()),
            write: |config, text| set_address(&mut config.peer_address, text),
        },
    },
    ConfigOption {
        section: "peer",
        flag: "peer-certificate",
        placeholder: "FILE",
        text: "Certificate that the other members see, in PEM form; with it, the peer port speaks TLS",
        kind: Kind::Text {
            read: |config| path(config.peer_tls.certificate.as_ref()),
            write: |config, text| set_path(&mut config.peer_tls.certificate, text),
        },
    },
    ConfigOption {
        section: "peer",
        flag: "peer-key",
        placeholder: "FILE",
        text: "Private key of that certificate, which only the user of the process may read",
        kind: Kind::Text {
            read: |config| path(config.peer_tls.key.as_ref()),
            write: |config, text| set_path(&mut config.peer_tls.key, text),
        },
    },
    ConfigOption {
        section: "peer",
        flag: "peer-ca",
        placeholder: "FILE",
        text: "CA of the members' certificates, which signs nothing else",
        kind: Kind::Text {
            read: |config| path(config.peer_tls.ca.as_ref()),
            write: |config, text| set_path(&mut config.peer_tls.ca, text),
        },
    },
    ConfigOption {
        section: "peer",
        flag: "peer-handshakes",
        placeholder: "N",
        text: "Connections of members whose handshake is not complete; a new one beyond it is closed",
        kind: Kind::Number {
            least: 2,
            most: 100_000,
            read: |config| config.ports.peer_handshakes as u64,
            write: |config, number| config.ports.peer_handshakes = size(number),
        },
    },
    ConfigOption {
        section: "peer",
        flag: "peer-queue-bytes",
        placeholder: "BYTES",
        text: "Bytes queued for one member on one connection; messages beyond it are dropped, and Raft sends again",
        kind: Kind::Number {
            least: 1 << 20,
            most: 1 << 30,
            read: |config| config.ports.peer_queue as u64,
            write: |config, number| config.ports.peer_queue = size(number),
        },
    },
    ConfigOption {
        section: "peer",
        flag: "peer-snapshot-rate",
        placeholder: "BYTES",
        text: "Bytes of a snapshot sent to one member in a second",
        kind: Kind::Number {
            least: 1 << 16,
            most: 1 << 40,
            read: |config| config.limits.snapshot_rate,
            write: |config, number| config.limits.snapshot_rate = number,
        },
    },
    ConfigOption {
        section: "admin",
        flag: "admin-address",
        placeholder: "IP:PORT",
        text: "Address to listen on for operators and Prometheus; none opens no such port",
        kind: Kind::Text {
            read: |config| config.admin_address.map(|address| address.to_string()),
            write: set_admin_address,
        },
    },
    ConfigOption {
        section: "admin",
        flag: "admin-certificate",
        placeholder: "FILE",
        text: "Certificate that operators see, in PEM form; with it, the admin port speaks TLS",
        kind: Kind::Text {
            read: |config| path(config.admin_tls.certificate.as_ref()),
            write: |config, text| set_path(&mut config.admin_tls.certificate, text),
        },
    },
    ConfigOption {
        section: "admin",
        flag: "admin-key",
        placeholder: "FILE",
        text: "Private key of that certificate, which only the user of the process may read",
        kind: Kind::Text {
            read: |config| path(config.admin_tls.key.as_ref()),
            write: |config, text| set_path(&mut config.admin_tls.key, text),
        },
    },
    ConfigOption {
        section: "admin",
        flag: "admin-token-file",
        placeholder: "FILE",
        text: "File with the token that changes and status require; by default admin.token in the data directory",
        kind: Kind::Text {
            read: |config| config.admin_token_file.as_ref().map(|file| file.display().to_string()),
            write: |config, text| {
                config.admin_token_file = Some(PathBuf::from(text));
                Ok(())
            },
        },
    },
    ConfigOption {
        section: "raft",
        flag: "raft-heartbeat-millis",
        placeholder: "MS",
        text: "Interval of the leader's heartbeats; the same on all members",
        kind: Kind::Number {
            least: 5,
            most: 60_000,
            read: |config| millis(config.timing.heartbeat),
            write: |config, millis| config.timing.heartbeat = Duration::from_millis(millis),
        },
    },
    ConfigOption {
        section: "raft",
        flag: "raft-election-min-millis",
        placeholder: "MS",
        text: "Shortest time without a leader before an election; at least three heartbeats",
        kind: Kind::Number {
            least: 15,
            most: 3_600_000,
            read: |config| millis(config.timing.election_min),
            write: |config, millis| config.timing.election_min = Duration::from_millis(millis),
        },
    },
    ConfigOption {
        section: "raft",
        flag: "raft-election-max-millis",
        placeholder: "MS",
        text: "Longest time without a leader before an election",
        kind: Kind::Number {
            least: 15,
            most: 3_600_000,
            read: |config| millis(config.timing.election_max),
            write: |config, millis| config.timing.election_max = Duration::from_millis(millis),
        },
    },
    ConfigOption {
        section: "storage",
        flag: "storage-reserve-bytes",
        placeholder: "BYTES",
        text: "Disk space kept in reserve, besides one and a half snapshots",
        kind: Kind::Number {
            least: 1 << 20,
            most: 1 << 40,
            read: |config| config.reserve.base,
            write: |config, number| config.reserve.base = number,
        },
    },
    ConfigOption {
        section: "storage",
        flag: "storage-snapshot-after-bytes",
        placeholder: "BYTES",
        text: "Growth of the log after which a snapshot is taken",
        kind: Kind::Number {
            least: 1 << 16,
            most: 1 << 40,
            read: |config| config.limits.snapshot_after,
            write: |config, number| config.limits.snapshot_after = number,
        },
    },
    ConfigOption {
        section: "storage",
        flag: "storage-unapplied-bytes",
        placeholder: "BYTES",
        text: "Committed entries that the state machine may lag behind; beyond it nothing is accepted",
        kind: Kind::Number {
            least: 1 << 20,
            most: 1 << 34,
            read: |config| config.limits.unapplied_bytes as u64,
            write: |config, number| config.limits.unapplied_bytes = size(number),
        },
    },
    ConfigOption {
        section: "new-cluster",
        flag: "new-cluster-sessions",
        placeholder: "N",
        text: "Sessions at the same time",
        kind: Kind::Number {
            least: 1,
            most: u32::MAX as u64,
            read: |config| config.new_cluster.sessions.into(),
            write: |config, number| config.new_cluster.sessions = small(number),
        },
    },
    ConfigOption {
        section: "new-cluster",
        flag: "new-cluster-session-timeout-millis",
        placeholder: "MS",
        text: "Time without a message after which a session ends",
        kind: Kind::Number {
            least: 1,
            most: u64::MAX,
            read: |config| config.new_cluster.session_timeout_millis,
            write: |config, number| config.new_cluster.session_timeout_millis = number,
        },
    },
    ConfigOption {
        section: "new-cluster",
        flag: "new-cluster-payload-bytes",
        placeholder: "BYTES",
        text: "Longest payload of a command, answer or server request",
        kind: Kind::Number {
            least: 1,
            most: u32::MAX as u64,
            read: |config| config.new_cluster.payload_bytes.into(),
            write: |config, number| config.new_cluster.payload_bytes = small(number),
        },
    },
    ConfigOption {
        section: "new-cluster",
        flag: "new-cluster-cached-answers",
        placeholder: "N",
        text: "Answers cached for one session",
        kind: Kind::Number {
            least: 1,
            most: u32::MAX as u64,
            read: |config| config.new_cluster.cached_answers.into(),
            write: |config, number| config.new_cluster.cached_answers = small(number),
        },
    },
    ConfigOption {
        section: "new-cluster",
        flag: "new-cluster-cached-bytes",
        placeholder: "BYTES",
        text: "Bytes of answers cached for one session",
        kind: Kind::Number {
            least: 1,
            most: u64::MAX,
            read: |config| config.new_cluster.cached_bytes,
            write: |config, number| config.new_cluster.cached_bytes = number,
        },
    },
    ConfigOption {
        section: "new-cluster",
        flag: "new-cluster-total-cached-answers",
        placeholder: "N",
        text: "Answers cached for all sessions",
        kind: Kind::Number {
            least: 1,
            most: u64::MAX,
            read: |config| config.new_cluster.total_cached_answers,
            write: |config, number| config.new_cluster.total_cached_answers = number,
        },
    },
    ConfigOption {
        section: "new-cluster",
        flag: "new-cluster-total-cached-bytes",
        placeholder: "BYTES",
        text: "Bytes of answers cached for all sessions",
        kind: Kind::Number {
            least: 1,
            most: u64::MAX,
            read: |config| config.new_cluster.total_cached_bytes,
            write: |config, number| config.new_cluster.total_cached_bytes = number,
        },
    },
    ConfigOption {
        section: "new-cluster",
        flag: "new-cluster-server-requests",
        placeholder: "N",
        text: "Unacknowledged server requests of one session",
        kind: Kind::Number {
            least: 1,
            most: u32::MAX as u64,
            read: |config| config.new_cluster.server_requests.into(),
            write: |config, number| config.new_cluster.server_requests = small(number),
        },
    },
    ConfigOption {
        section: "new-cluster",
        flag: "new-cluster-server-request-bytes",
        placeholder: "BYTES",
        text: "Bytes of unacknowledged server requests of one session",
        kind: Kind::Number {
            least: 1,
            most: u64::MAX,
            read: |config| config.new_cluster.server_request_bytes,
            write: |config, number| config.new_cluster.server_request_bytes = number,
        },
    },
    ConfigOption {
        section: "new-cluster",
        flag: "new-cluster-total-server-requests",
        placeholder: "N",
        text: "Unacknowledged server requests of all sessions",
        kind: Kind::Number {
            least: 1,
            most: u64::MAX,
            read: |config| config.new_cluster.total_server_requests,
            write: |config, number| config.new_cluster.total_server_requests = number,
        },
    },
    ConfigOption {
        section: "new-cluster",
        flag: "new-cluster-total-server-request-bytes",
        placeholder: "BYTES",
        text: "Bytes of unacknowledged server requests of all sessions",
        kind: Kind::Number {
            least: 1,
            most: u64::MAX,
            read: |config| config.new_cluster.total_server_request_bytes,
            write: |config, number| config.new_cluster.total_server_request_bytes = number,
        },
    },
];

fn set_name(config: &mut ServerConfig, text: &str) -> Result<(), String> {
    let name = MemberId::new(text).map_err(|error| error.to_string())?;
    config.name = Some(name);
    Ok(())
}

fn set_cluster(config: &mut ServerConfig, text: &str) -> Result<(), String> {
    let bytes = (text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .then(|| u128::from_str_radix(text, 16).ok())
        .flatten();
    let bytes = bytes.ok_or_else(|| format!("{text} is not 32 hexadecimal digits"))?;
    config.cluster = Some(ClusterId::new(bytes.to_be_bytes()));
    Ok(())
}

fn set_application(config: &mut ServerConfig, text: &str) -> Result<(), String> {
    config.application = Some(text.to_owned());
    Ok(())
}

fn set_address(address: &mut SocketAddr, text: &str) -> Result<(), String> {
    *address = text.parse().map_err(|_| {
        format!("{text} is not an IP address with a port, such as 127.0.0.1:7001 or [::1]:7001")
    })?;
    Ok(())
}

fn set_admin_address(config: &mut ServerConfig, text: &str) -> Result<(), String> {
    if text == "none" {
        config.admin_address = None;
        return Ok(());
    }
    let mut address = SocketAddr::from(([127, 0, 0, 1], 0));
    set_address(&mut address, text)?;
    config.admin_address = Some(address);
    Ok(())
}

fn path(path: Option<&PathBuf>) -> Option<String> {
    path.map(|path| path.display().to_string())
}

fn set_path(path: &mut Option<PathBuf>, text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("the path of a file is expected".to_owned());
    }
    *path = Some(text.into());
    Ok(())
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The range of each option keeps its numbers below these limits.
fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn small(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
