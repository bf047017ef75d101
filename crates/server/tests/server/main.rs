//! Members over loopback, with real files, and the real client.

mod admin;
#[path = "../../../client/tests/client/support/certificates.rs"]
mod certificates;
mod disks;
mod guide;
mod handshakes;
mod hostile;
mod http;
mod leadership;
mod members;
mod membership;
mod panics;
mod recover;
mod refusals;
mod server;
mod sessions;
mod stops;
mod support;
mod tls;
mod tls_admin;
mod tls_peers;
mod tls_reload;
mod tokens;
