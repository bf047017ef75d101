//! Each kind of endpoint, against the embedded cluster.

use crate::support::cluster::{client_of, settings, start};
use crate::support::{builder, within};
use zraft_test_server::{Echo, TestCluster};

#[tokio::test]
async fn tcp_endpoint_with_an_ipv4_address_works() {
    let cluster = start(TestCluster::builder().app(Echo)).await;
    let (client, _) = client_of(settings(&cluster)).await;
    assert_eq!(within(client.submit_command("x")).await.unwrap(), "x");
}

#[tokio::test]
async fn tcp_endpoint_with_an_ipv6_address_works() {
    let localhost = std::net::Ipv6Addr::LOCALHOST.into();
    let cluster = match TestCluster::builder().app(Echo).bind_address(localhost).start().await {
        Ok(cluster) => cluster,
        // A computer without IPv6 cannot run this test.
        Err(_) if std::net::TcpListener::bind((localhost, 0)).is_err() => return,
        Err(error) => panic!("{error}"),
    };
    let endpoint = cluster.endpoints().pop_first().unwrap().1;
    assert!(endpoint.starts_with("tcp://[::1]:"), "{endpoint}");
    let (client, _) = client_of(settings(&cluster)).await;
    assert_eq!(within(client.submit_command("x")).await.unwrap(), "x");
}

#[tokio::test]
async fn tcp_endpoint_with_a_host_name_is_resolved() {
    let cluster = start(TestCluster::builder().app(Echo)).await;
    let endpoint = cluster.endpoints().pop_first().unwrap().1;
    let named = endpoint.replace("127.0.0.1", "localhost");
    let (client, _) = client_of(builder().member("node-1", named)).await;
    assert_eq!(within(client.submit_command("x")).await.unwrap(), "x");
}

#[cfg(unix)]
#[tokio::test]
async fn ipc_endpoint_works() {
    let directory = Directory::new();
    let cluster = start(TestCluster::builder().app(Echo).ipc_directory(&directory.0)).await;
    let endpoint = cluster.endpoints().pop_first().unwrap().1;
    assert!(endpoint.starts_with("ipc://"), "{endpoint}");
    let (client, _) = client_of(settings(&cluster)).await;
    assert_eq!(within(client.submit_command("x")).await.unwrap(), "x");
    let large = vec![7; 1 << 20];
    assert_eq!(within(client.submit_command(large.clone())).await.unwrap(), large);
    within(client.disconnect()).await;
    cluster.shutdown().await;
}

#[tokio::test]
async fn large_payloads_travel_both_ways() {
    let cluster = start(TestCluster::builder().app(Echo)).await;
    let (client, _) = client_of(settings(&cluster)).await;
    let answers: Vec<_> =
        (0..4_u8).map(|n| (n, client.try_submit_command(vec![n; 4 << 20]).unwrap())).collect();
    for (n, answer) in answers {
        let answer = within(answer).await.unwrap();
        assert!(answer.len() == 4 << 20 && answer.iter().all(|&byte| byte == n));
    }
}

/// A directory for one test, removed when the test ends.
#[cfg(unix)]
struct Directory(std::path::PathBuf);

#[cfg(unix)]
impl Directory {
    fn new() -> Self {
        // The path is short, because the path of a socket is limited to about 100 bytes.
        let path = std::env::temp_dir().join(format!("zraft-ipc-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

#[cfg(unix)]
impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
