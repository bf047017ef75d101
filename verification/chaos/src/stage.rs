//! The stage of a run: an embedded cluster with a proxy in front of each member.

use std::{collections::BTreeMap, io, net::SocketAddr};

use zraft_client::{ClientBuilder, RaftClient};
use zraft_test_server::{ClusterBuilder, TestCluster};

use crate::{
    failure::Failure,
    faults::Faults,
    proxy::{Proxy, ProxyHandle},
};

/// An embedded cluster with a proxy in front of each member.
#[derive(Debug)]
pub struct Stage {
    cluster: TestCluster,
    proxies: BTreeMap<String, Proxy>,
}

impl Stage {
    /// Starts the cluster and a proxy for each member.
    ///
    /// # Errors
    /// Returns a [`Failure`] if the cluster or a proxy does not start.
    pub async fn start(cluster: ClusterBuilder) -> Result<Self, Failure> {
        let cluster = cluster.start().await?;
        let mut proxies = BTreeMap::new();
        for (id, endpoint) in cluster.endpoints() {
            let proxy = Proxy::start(address(&endpoint)?).await?;
            proxies.insert(id.as_str().to_owned(), proxy);
        }
        Ok(Self { cluster, proxies })
    }

    /// Returns the cluster.
    pub fn cluster(&self) -> &TestCluster {
        &self.cluster
    }

    /// Returns a handle to each proxy, by member id.
    pub fn proxies(&self) -> BTreeMap<String, ProxyHandle> {
        self.proxies.iter().map(|(id, proxy)| (id.clone(), proxy.handle())).collect()
    }

    /// Returns the settings of a client that reaches each member through its proxy.
    pub fn client(&self) -> ClientBuilder {
        let settings = RaftClient::builder().capability("kind", "chaos");
        self.proxies
            .iter()
            .fold(settings, |settings, (id, proxy)| settings.member(id, proxy.endpoint()))
    }

    /// Returns the settings of a client that reaches each member directly, so that a member that is down refuses its
    /// connections.
    pub fn direct_client(&self) -> ClientBuilder {
        let settings = RaftClient::builder().capability("kind", "chaos");
        let members = self.cluster.endpoints().into_iter();
        members.fold(settings, |settings, (id, endpoint)| settings.member(id.as_str(), endpoint))
    }

    /// Returns an injector of faults for this stage. The seed determines its choices.
    pub fn faults(&self, seed: u64) -> Faults {
        Faults::new(self.cluster.handle(), self.proxies(), seed)
    }

    /// Stops the proxies and the cluster.
    pub async fn shutdown(self) {
        drop(self.proxies);
        self.cluster.shutdown().await;
    }
}

/// Returns the address in a `tcp://` endpoint of the embedded cluster.
fn address(endpoint: &str) -> io::Result<SocketAddr> {
    let address = endpoint.strip_prefix("tcp://").and_then(|address| address.parse().ok());
    address.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, endpoint.to_owned()))
}
