//! The builder of a client.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use zraft_core::{
    AckServerRequests, Backoff, Config, ConfigBuilder, Endpoint, LivenessQuery, OnSessionExpired,
};

use zraft_protocol::MemberId;

use crate::client::RaftClient;
use crate::error::Error;
use crate::lookup::{self, Resolver, Sources};
use crate::transport::Sockets;

/// Collects the settings of a client; [`ClientBuilder::build`] checks them and opens no connection.
///
/// Members and capabilities are required; everything else has a default. `Debug` shows neither
/// endpoints nor capability values.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct ClientBuilder {
    config: ConfigBuilder,
    own_thread: bool,
    leaders: Option<Resolver>,
    name: Option<String>,
    #[cfg(feature = "tls")]
    tls: Option<crate::Tls>,
}

impl RaftClient {
    /// Returns a builder that collects the settings of a client.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }
}

macro_rules! define_setters {
    ($($(#[doc = $doc:literal])+ $name:ident($argument:ty) -> $type:ty = $kind:ident $facts:tt;)+) => {
        /// The settings, each with its default and its limits.
        impl ClientBuilder {
            $(
                $(#[doc = $doc])+
                #[doc = ""]
                #[doc = zraft_core::setting_limits!($kind $facts)]
                pub fn $name(mut self, value: $argument) -> Self {
                    self.config = self.config.$name(value);
                    self
                }
            )+
        }
    };
}
zraft_core::with_settings!(define_setters);

impl ClientBuilder {
    /// Adds a member: its id and its endpoint, `tcp://host:port`, `tcp://[v6]:port`, the same with `tls://`, or
    /// `ipc://path`. Required, at least once. Members are asked in the order given.
    pub fn member(mut self, id: impl Into<String>, endpoint: impl Into<String>) -> Self {
        self.config = self.config.member(id, endpoint);
        self
    }

    /// Adds several members, each as [`member`](Self::member) does, after those given before.
    ///
    /// ```
    /// let members = [("node-1", "tcp://10.0.0.1:7001"), ("node-2", "tcp://10.0.0.2:7001")];
    /// let builder = zraft_client::RaftClient::builder().members(members);
    /// ```
    pub fn members<I, E>(mut self, members: impl IntoIterator<Item = (I, E)>) -> Self
    where
        I: Into<String>,
        E: Into<String>,
    {
        self.config = self.config.members(members);
        self
    }

    /// Adds a capability: its name of letters, digits, `_` and `-`, and its value, which is not
    /// empty. Required, at least once.
    pub fn capability(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.config = self.config.capability(name, value);
        self
    }

    /// Sets the query that the client itself sends when nothing else shows that its member leads, so that a session which only
    /// listens leaves a leader that was cut off from its cluster. Default: none.
    ///
    /// ```
    /// use std::time::Duration;
    /// use zraft_client::{LivenessQuery, RaftClient};
    ///
    /// let client = RaftClient::builder()
    ///     .member("node-1", "tcp://127.0.0.1:7001")
    ///     .capability("app", "example")
    ///     .liveness_query(LivenessQuery::new("a cheap query").every(Duration::from_secs(5)))
    ///     .build()?;
    /// # Ok::<(), zraft_client::Error>(())
    /// ```
    pub fn liveness_query(mut self, query: LivenessQuery) -> Self {
        self.config = self.config.liveness_query(query);
        self
    }

    /// Lets the client ask the server for the members, each time that the session gets a connection and every 5 minutes or so, so
    /// that one member in the configuration is enough, and members that are added later are found. Those that the server
    /// lists are asked before the configured ones. Default: false.
    ///
    /// Only for `zraft server` and the embedded cluster: any other server hands the query to its application, and ZIO Raft's own
    /// can stop reading then.
    ///
    /// ```
    /// use zraft_client::RaftClient;
    ///
    /// let client = RaftClient::builder()
    ///     .member("node-1", "tcp://127.0.0.1:7001")
    ///     .capability("app", "example")
    ///     .discover_members(true)
    ///     .build()?;
    /// # Ok::<(), zraft_client::Error>(())
    /// ```
    pub fn discover_members(mut self, discover: bool) -> Self {
        self.config = self.config.discover_members(discover);
        self
    }

    /// Follows hints at leaders that are not configured: `resolve` returns a leader's endpoint, or `None` if it does not know
    /// it. The leader is then asked at once, and stays among the members.
    ///
    /// It is called at most once a second, and has 10 s to answer. An endpoint that [`member`](Self::member) would not take
    /// counts as none. The client does not report such a lookup by itself: as long as no lookup helps, the event
    /// [`ConnectionFailure`](crate::Event::ConnectionFailure) with
    /// [`LeaderNotConfigured`](crate::ConnectionCause::LeaderNotConfigured) follows again and again. A list of
    /// [`update_members`](RaftClient::update_members) replaces what was found.
    ///
    /// ```
    /// # async fn endpoint_in_the_directory(id: &str) -> Option<String> { None }
    /// use zraft_client::RaftClient;
    ///
    /// let client = RaftClient::builder()
    ///     .member("node-1", "tcp://127.0.0.1:7001")
    ///     .capability("app", "example")
    ///     .member_resolver(|leader| async move { endpoint_in_the_directory(leader.as_str()).await })
    ///     .build()?;
    /// # Ok::<(), zraft_client::Error>(())
    /// ```
    pub fn member_resolver<F, T>(mut self, resolve: F) -> Self
    where
        F: Fn(MemberId) -> T + Send + Sync + 'static,
        T: Future<Output = Option<String>> + Send + 'static,
    {
        self.leaders = Some(Resolver::new(resolve));
        self
    }

    /// Adds a member for each address of a name in DNS, such as that of a headless service of Kubernetes: `tcp://name:port`, or
    /// the same with `tls://`.
    ///
    /// The name is resolved when the client looks for a member, at most every 5 s. Each address is a member whose id is the
    /// address, so that no hint names it: the client asks them in turn. A failure to resolve leaves the members as they are.
    /// With TLS, the members' certificates must have the name, unless the TLS settings say another one.
    ///
    /// ```
    /// use zraft_client::RaftClient;
    ///
    /// let client = RaftClient::builder()
    ///     .members_from_dns("tcp://zraft.default.svc:7001")
    ///     .capability("app", "example")
    ///     .build()?;
    /// # Ok::<(), zraft_client::Error>(())
    /// ```
    pub fn members_from_dns(mut self, endpoint: impl Into<String>) -> Self {
        self.name = Some(endpoint.into());
        self
    }

    /// Sets how the client speaks TLS with members whose endpoint begins with `tls://`. Required if there is one.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: crate::Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Chooses whether the connection gets its own thread. Default: no, the connection is a task of
    /// the runtime that calls [`RaftClient::connect`].
    ///
    /// The task cannot run while the application blocks every thread of its runtime, or the one
    /// thread that last woke it. A session without a KeepAlive for 90 s ends. Its own
    /// thread keeps the session alive in spite of a blocked runtime, and works from any runtime, or
    /// none. It costs some microseconds more per request.
    pub fn own_thread(mut self, own_thread: bool) -> Self {
        self.own_thread = own_thread;
        self
    }

    /// Checks the settings and returns the client. Opens no connection; reads the files of the TLS settings.
    ///
    /// # Errors
    /// [`Error::Validation`] names the first setting that cannot be accepted, and what is accepted.
    pub fn build(self) -> Result<RaftClient, Error> {
        let mut builder = self.config;
        let mut name = None;
        if let Some(text) = self.name {
            let parsed = text.parse::<Endpoint>();
            let id = parsed.as_ref().map_or_else(|_| text.clone(), lookup::id_of);
            builder = builder.member(id, text);
            name = parsed.ok();
        }
        let config: Config = builder.build()?;
        #[cfg(feature = "tls")]
        let sockets = match self.tls {
            Some(tls) => {
                let tls = match &name {
                    Some(Endpoint::Tls { host, .. }) => tls.server_name_unless_given(host),
                    _ => tls,
                };
                Sockets::with_tls(&config, &tls)?
            }
            None => Sockets::without_tls(&config)?,
        };
        #[cfg(not(feature = "tls"))]
        let sockets = Sockets::without_tls(&config)?;
        let sources = Sources { leaders: self.leaders, name };
        Ok(RaftClient::with_transport(config, self.own_thread, Arc::new(sockets), sources))
    }
}
