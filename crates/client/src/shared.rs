//! What the handles and the driver of one client share.

use std::sync::Arc;

use tokio::sync::watch;
use zraft_core::{Admission, Config, StateName, Stats};
use zraft_protocol::{MemberId, SessionId};

use crate::events::Hub;
use crate::inbox::{Inbox, Input, Phase};
use crate::server_requests::Deliveries;
use crate::sync::{Mutex, lock};

/// What the driver last told about itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    pub(crate) session_id: Option<SessionId>,
    pub(crate) member_id: Option<MemberId>,
    pub(crate) stats: Stats,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) admission: Admission,
    /// Whether the driver gets a thread of its own.
    #[cfg_attr(all(test, shuttle), expect(dead_code, reason = "shuttle starts drivers its way"))]
    pub(crate) own_thread: bool,
    pub(crate) inbox: Mutex<Inbox>,
    pub(crate) facts: Mutex<Facts>,
    pub(crate) state: watch::Sender<StateName>,
    pub(crate) hub: Hub,
    pub(crate) deliveries: Arc<Deliveries>,
}

impl Shared {
    pub(crate) fn new(config: Config, own_thread: bool) -> Self {
        let admission = config.admission();
        Self {
            admission,
            own_thread,
            inbox: Mutex::new(Inbox::new(admission)),
            facts: Mutex::default(),
            state: watch::Sender::new(StateName::Disconnected),
            hub: Hub::default(),
            deliveries: Arc::new(Deliveries::new(config.ack_server_requests())),
            config,
        }
    }

    /// Asks something of the driver, if there is one. False: there is none.
    pub(crate) fn push(&self, input: Input) -> bool {
        let sleeper = {
            let mut inbox = lock(&self.inbox);
            if inbox.phase == Phase::Idle {
                return false;
            }
            inbox.push(input)
        };
        if let Some(sleeper) = sleeper {
            sleeper.wake();
        }
        true
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.deliveries.end();
    }
}
