//! Names and numbers that both halves have. The TypeScript half takes defaults and texts from here when it is loaded; its
//! tests compare the rest with its own.

use napi_derive::napi;
use serde_json::{Value, json};
use zraft_client::binding::core as zraft;
use zraft_client::binding::{CONNECT_TIMEOUT, DISCONNECT_TIMEOUT};
use zraft_protocol::{
    ClientMessageKind, CloseReason, RejectionReason, RequestErrorReason, ServerMessageKind,
    SessionCloseReason,
};

use crate::layout::{self, Kind, Operation, Pushed};

macro_rules! codes {
    ($name:ident) => {
        $name::ALL
            .iter()
            .map(|each| (each.name().to_owned(), json!(*each as u8)))
            .collect::<Value>()
    };
}

/// Returns names, numbers and defaults as JSON.
#[napi]
pub fn names() -> String {
    let states: Vec<_> = zraft::StateName::ALL.iter().map(|state| state.name()).collect();
    let reasons: Vec<_> = zraft::DisconnectReason::ALL.iter().map(|reason| reason.name()).collect();
    let stats: Vec<_> =
        zraft::Stats::default().figures().into_iter().map(|(name, _)| name).collect();
    let millis = |time: std::time::Duration| time.as_millis() as u64;
    let backoff = zraft::Backoff::default();
    json!({
        "states": states,
        "disconnectReasons": reasons,
        "events": zraft::Event::NAMES,
        "errorCodes": zraft::Failure::CODES,
        "connectionCauses": zraft::ConnectionCause::NAMES,
        "stats": stats,
        "ClientMessageType": codes!(ClientMessageKind),
        "ServerMessageType": codes!(ServerMessageKind),
        "RejectionReasonCode": codes!(RejectionReason),
        "SessionCloseReasonCode": codes!(SessionCloseReason),
        "CloseReasonCode": codes!(CloseReason),
        "RequestErrorReasonCode": codes!(RequestErrorReason),
        "protocolSignature": zraft_protocol::SIGNATURE,
        "protocolVersion": zraft_protocol::VERSION,
        "layout": layout(),
        "defaults": {
            "connectTimeout": millis(CONNECT_TIMEOUT),
            "disconnectTimeout": millis(DISCONNECT_TIMEOUT),
            "connectionTimeout": millis(zraft::DEFAULT_CONNECTION_TIMEOUT),
            "keepAliveInterval": millis(zraft::DEFAULT_KEEP_ALIVE_INTERVAL),
            "sessionTimeout": millis(zraft::DEFAULT_SESSION_TIMEOUT),
            "requestTimeout": millis(zraft::DEFAULT_REQUEST_TIMEOUT),
            "resendInterval": millis(zraft::DEFAULT_RESEND_INTERVAL),
            "detachedTimeout": millis(zraft::DEFAULT_DETACHED_TIMEOUT),
            "maxInFlight": zraft::DEFAULT_MAX_IN_FLIGHT,
            "maxQueued": zraft::DEFAULT_MAX_QUEUED,
            "maxQueuedBytes": zraft::DEFAULT_MAX_QUEUED_BYTES,
            "maxMessageSize": zraft::DEFAULT_MAX_MESSAGE_SIZE,
            "maxServerRequests": zraft::DEFAULT_MAX_SERVER_REQUESTS,
            "heartbeatInterval": millis(zraft::DEFAULT_HEARTBEAT_INTERVAL),
            "heartbeatTimeout": millis(zraft::DEFAULT_HEARTBEAT_TIMEOUT),
            "reconnectBackoff": {
                "initial": millis(backoff.initial),
                "max": millis(backoff.max),
                "electionInitial": millis(backoff.election_initial),
                "electionMax": millis(backoff.election_max),
            },
        },
        "texts": {
            "overloaded": zraft::Failure::Overloaded.to_string(),
            "cancelled": zraft::Failure::Cancelled { id: None, sent: false }.to_string(),
        },
    })
    .to_string()
}

/// The items of `layout.rs`, in its order.
fn layout() -> Value {
    macro_rules! numbers {
        ($name:ident) => {
            $name::ALL.map(|each| json!([format!("{each:?}"), each as u32]))
        };
    }
    json!([
        ["HEADER", layout::HEADER],
        ["OUT_OF_LINE", layout::OUT_OF_LINE],
        ["NO_TIMEOUT", layout::NO_TIMEOUT],
        ["DEFAULT_TIMEOUT", layout::DEFAULT_TIMEOUT],
        ["CHUNK", layout::CHUNK],
        ["MAX_INLINE", layout::MAX_INLINE],
        ["NEXT", layout::NEXT],
        ["Operation", numbers!(Operation)],
        ["Kind", numbers!(Kind)],
        ["Pushed", numbers!(Pushed)],
    ])
}
