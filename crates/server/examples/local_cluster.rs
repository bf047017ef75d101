//! Three members in one process, with the key-value store that the program `zraft` talks to. Prints what `zraft` wants as its option
//! `-e`, and ends when its input ends.
//!
//! ```sh
//! cargo run --release -p zraft-server --example local_cluster
//! cargo run --release -- bench -e node-1=tcp://127.0.0.1:…,node-2=…
//! ```

use std::{
    error::Error,
    io::{self, Write},
};

use zraft_server::LocalCluster;
use zraft_session::applications::KvStore;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let cluster = LocalCluster::start(3, KvStore::new).await?;
    cluster.leader().await?;
    let members = cluster.endpoints().into_iter();
    let members: Vec<_> = members.map(|(id, at)| format!("{}={at}", id.as_str())).collect();
    writeln!(io::stdout(), "{}", members.join(","))?;
    let input_ended = || io::copy(&mut io::stdin(), &mut io::sink());
    tokio::task::spawn_blocking(input_ended).await??;
    cluster.stop().await;
    Ok(())
}
