//! The names and numbers that both halves use. The TypeScript half takes the settings, their defaults and some texts from
//! here when it is loaded; its tests compare the rest.

use napi_derive::napi;
use serde_json::{Value, json};
use zraft_client::binding::core as zraft;
use zraft_client::binding::{CONNECT_TIMEOUT, DISCONNECT_TIMEOUT};
use zraft_protocol::{
    ClientMessageKind, CloseReason, RejectionReason, RequestErrorReason, ServerMessageKind,
    SessionCloseReason,
};

use crate::json;
use crate::layout::{self, Kind, Operation, Pushed};
use crate::settings;

macro_rules! codes {
    ($name:ident) => {
        $name::ALL
            .iter()
            .map(|each| (each.name().to_owned(), json!(*each as u8)))
            .collect::<Value>()
    };
}

/// Returns names, numbers, settings and defaults, as JSON.
#[napi]
pub fn names() -> String {
    let states: Vec<_> = zraft::StateName::ALL.iter().map(|state| state.name()).collect();
    let reasons: Vec<_> = zraft::DisconnectReason::ALL.iter().map(|reason| reason.name()).collect();
    let keys =
        |object: &Value| object.as_object().map(|map| map.keys().cloned().collect::<Vec<_>>());
    let stats = json::stats(&zraft::Stats::default());
    let text = |failure: &zraft::Failure| settings::in_javascript(&failure.to_string());
    let millis = |time: std::time::Duration| time.as_millis() as u64;
    let mut defaults = settings::defaults();
    defaults["connectTimeout"] = json!(millis(CONNECT_TIMEOUT));
    defaults["disconnectTimeout"] = json!(millis(DISCONNECT_TIMEOUT));
    json!({
        "states": states,
        "disconnectReasons": reasons,
        "events": zraft::Event::NAMES,
        "errorCodes": zraft::Failure::CODES,
        "connectionCauses": zraft::ConnectionCause::NAMES,
        "stats": keys(&stats),
        "latency": keys(&stats["latency"]["commands"]),
        "ClientMessageType": codes!(ClientMessageKind),
        "ServerMessageType": codes!(ServerMessageKind),
        "RejectionReasonCode": codes!(RejectionReason),
        "SessionCloseReasonCode": codes!(SessionCloseReason),
        "CloseReasonCode": codes!(CloseReason),
        "RequestErrorReasonCode": codes!(RequestErrorReason),
        "protocolSignature": zraft_protocol::SIGNATURE,
        "protocolVersion": zraft_protocol::VERSION,
        "layout": layout(),
        "settings": settings::table(),
        "defaults": defaults,
        "texts": {
            "overloaded": text(&zraft::Failure::Overloaded),
            "cancelled": text(&zraft::Failure::Cancelled { id: None, sent: false }),
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
