//! Runs one member of a cluster of raffles. Its folder is the argument.

#[path = "../../session/examples/raffle/application.rs"]
mod application;

use std::{env, error::Error, process::ExitCode};

use application::Raffles;
use zraft_server::{Server, ServerConfig};

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let folder = env::args_os().nth(1).ok_or("give the member's folder, such as cluster/node-1")?;
    // The file node.toml in the folder, and the variables ZRAFT_*.
    let config = ServerConfig::load(&folder)?;
    let server = Server::builder().application(Raffles::new()).directory(folder).config(config);
    // Runs until SIGTERM or Ctrl+C.
    let signal = server.run().await?;
    Ok(signal.exit_code())
}
