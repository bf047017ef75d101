//! Runs the raffles of the page "Write your own state machine" on three members, with real files and sockets.

#![allow(clippy::print_stdout, reason = "a program for the terminal")]

#[path = "../../../session/examples/raffle/application.rs"]
mod application;

use application::Raffles;
use zraft_client::RaftClient;
use zraft_server::LocalCluster;

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut cluster = LocalCluster::start(3, Raffles::new).await?;
    let members = cluster.endpoints().into_iter();
    let members = members.map(|(name, endpoint)| (name.as_str().to_owned(), endpoint));
    let client = RaftClient::builder().members(members).capability("client", "raffle").build()?;
    client.connect().await?;
    for command in ["open bicycle 2", "join bicycle", "join bicycle"] {
        println!("{command}: {}", text(&client.submit_command(command).await?));
    }

    // The leader dies. The client finds the next one, and nothing is lost.
    let leader = cluster.leader().await?;
    cluster.kill(leader).await?;
    println!("show bicycle: {}", text(&client.submit_query("show bicycle").await?));

    let mut news = client.server_requests()?;
    if let Some(request) = news.next().await {
        println!("news: {}", text(&request.payload));
        request.acknowledge();
    }
    client.disconnect().await;
    cluster.stop().await;
    Ok(())
}

fn text(payload: &[u8]) -> String {
    String::from_utf8_lossy(payload).into_owned()
}
