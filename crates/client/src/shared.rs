//! The state that the handles and the driver of one client share.

pub(crate) mod backpressure;
pub(crate) mod calls;
pub(crate) mod deliveries;
pub(crate) mod inbox;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use zraft_core::{Admission, Config, LivenessQuery, StateName, Stats};
use zraft_protocol::{MemberId, SessionId};

use crate::events::EventHub;
use crate::lookup::Sources;
use crate::sync::{Mutex, lock};
use crate::transport::Transport;

use deliveries::Deliveries;
use inbox::{DriverState, Inbox, Input};

/// How long `connect()` tries. It covers an election and several rounds over all members.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// How long `disconnect()` waits for answers. A server answers in milliseconds, so a request that is still
/// unanswered after 5 s would hold up the end of the application for no gain.
pub const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What the driver last published about the session.
#[derive(Clone, Debug, Default)]
pub(crate) struct Status {
    pub(crate) session_id: Option<SessionId>,
    pub(crate) member_id: Option<MemberId>,
    pub(crate) stats: Stats,
}

#[derive(Debug)]
#[cfg_attr(all(test, shuttle), expect(dead_code, reason = "shuttle's rig starts the drivers"))]
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) admission: Admission,
    /// True if the driver gets its own thread.
    pub(crate) own_thread: bool,
    pub(crate) transport: Arc<dyn Transport>,
    /// What the client looks up.
    pub(crate) sources: Sources,
    /// The present liveness query. `config` has the first one.
    pub(crate) liveness_query: Mutex<Option<LivenessQuery>>,
    pub(crate) inbox: Mutex<Inbox>,
    pub(crate) status: Mutex<Status>,
    pub(crate) state: watch::Sender<StateName>,
    pub(crate) events: EventHub,
    pub(crate) deliveries: Arc<Deliveries>,
}

impl Shared {
    pub(crate) fn new(
        config: Config,
        own_thread: bool,
        transport: Arc<dyn Transport>,
        sources: Sources,
    ) -> Self {
        let admission = config.admission();
        Self {
            admission,
            own_thread,
            transport,
            sources,
            liveness_query: Mutex::new(config.liveness_query().cloned()),
            inbox: Mutex::new(Inbox::new(admission)),
            status: Mutex::default(),
            state: watch::Sender::new(StateName::Disconnected),
            events: EventHub::default(),
            deliveries: Arc::new(Deliveries::new(config.ack_server_requests())),
            config,
        }
    }

    /// Passes an input to the driver. Returns false, and drops the input, if no driver runs.
    pub(crate) fn push(&self, input: Input) -> bool {
        let driver_waker = {
            let mut inbox = lock(&self.inbox);
            if inbox.driver == DriverState::Stopped {
                return false;
            }
            inbox.push(input)
        };
        if let Some(waker) = driver_waker {
            waker.wake();
        }
        true
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.deliveries.close();
    }
}
