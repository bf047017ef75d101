//! Serves the client's metrics to Prometheus. Needs the feature `metrics`.

#![allow(clippy::print_stdout, reason = "a program for the terminal")]

use std::{io, time::Duration};

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use zraft_client::RaftClient;
use zraft_test_server::{AppendLog, TestCluster};

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Everything in the process that uses the `metrics` facade reports here.
    let metrics = PrometheusBuilder::new().install_recorder()?;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let server = tokio::spawn(serve(listener, metrics));

    let cluster = TestCluster::builder().members(3).app(AppendLog::new()).start().await?;
    let client =
        RaftClient::builder().members(cluster.endpoints()).capability("role", "example").build()?;
    client.connect().await?;
    for number in 0..100 {
        client.submit_command(format!("entry {number}")).await?;
    }
    client.disconnect().await;
    cluster.shutdown().await;

    // What Prometheus does from time to time.
    let mut scrape = TcpStream::connect(address).await?;
    scrape.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").await?;
    let mut text = String::new();
    scrape.read_to_string(&mut text).await?;
    for line in text.lines().filter(|line| line.starts_with("zraft_client_")) {
        println!("{line}");
    }
    assert!(
        text.contains(
            r#"zraft_client_duration_seconds{kind="command",outcome="ok",quantile="0.99"}"#
        )
    );
    server.abort();
    Ok(())
}

/// The smallest server for one scraper. A real one is the exporter's own, by its feature `http-listener`.
async fn serve(listener: TcpListener, metrics: PrometheusHandle) -> io::Result<()> {
    loop {
        let (mut stream, _) = listener.accept().await?;
        let mut request = [0; 4096];
        if timeout(Duration::from_secs(1), stream.read(&mut request)).await.is_err() {
            continue;
        }
        // Also forgets old samples.
        metrics.run_upkeep();
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nConnection: close\r\n\r\n";
        stream.write_all((head.to_owned() + &metrics.render()).as_bytes()).await?;
    }
}
