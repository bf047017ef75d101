//! Attempts at members that fail.

use std::time::Duration;

use zraft_core::ConnId;
use zraft_protocol::{ClientMessage, RejectionReason};

use super::World;

/// The member being asked is reached and refuses, with this reason and hint.
pub(crate) fn reject_next(
    world: &mut World,
    reason: RejectionReason,
    hint: Option<&str>,
) -> ConnId {
    let member = world.asks().expect("no member is being asked");
    let conn = world.accept(&member);
    let nonce = match world.received(conn) {
        Some(
            ClientMessage::CreateSession { nonce, .. }
            | ClientMessage::ContinueSession { nonce, .. },
        ) => nonce,
        other => panic!("{other:?}"),
    };
    world.reject(conn, nonce, reason, hint);
    conn
}

/// The member being asked refuses to lead, with this hint.
pub(crate) fn redirect(world: &mut World, hint: Option<&str>) -> ConnId {
    reject_next(world, RejectionReason::NotLeader, hint)
}

/// The member being asked cannot be reached.
pub(crate) fn refuse(world: &mut World) -> String {
    let member = world.asks().expect("no member is being asked");
    world.refuse(&member);
    member
}

/// Returns true if the pause is between half of `of` and all of it.
pub(crate) fn is_jittered(pause: Duration, of: Duration) -> bool {
    pause >= of / 2 && pause <= of
}
