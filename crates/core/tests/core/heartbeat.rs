//! The settings of the heartbeat reach the transport.

use std::time::Duration;

use crate::common::*;
use bytes::Buf;
use zraft_core::DisconnectReason;
use zraft_protocol::Timestamp;

/// Returns what the machine writes within `time` on a new connection whose other end is silent.
fn written(interval: Duration, timeout: Duration, time: Duration) -> Vec<u8> {
    let config = single().heartbeat_interval(interval).heartbeat_timeout(timeout);
    let (mut world, conn) = World::connected(config);
    world.peer(conn).frozen = true;
    let end = world.now + time;
    let mut bytes = Vec::new();
    while let Some(next) = world.machine.poll_timeout().filter(|next| *next <= end) {
        world.now = next;
        world.machine.handle_timeout(next);
        let wall = Timestamp::from_millis(world.wall);
        let Some(tx) = world.machine.transmit(next, wall, conn) else { break };
        bytes.extend_from_slice(tx.chunk());
        tx.advance(tx.remaining());
        world.machine.handle_written(next, conn);
    }
    bytes
}

/// Returns the TTLs of the PINGs in these bytes, in tenths of a second.
fn ttls(bytes: &[u8]) -> Vec<u16> {
    let name = b"\x04PING";
    let places = bytes.windows(name.len()).enumerate().filter(|(_, window)| window == name);
    places.map(|(at, _)| (&bytes[at + name.len()..]).get_u16()).collect()
}

#[test]
fn a_ping_goes_when_the_heartbeat_interval_is_over() {
    let pings = |time| ttls(&written(millis(400), seconds(5), time)).len();
    assert_eq!((pings(millis(399)), pings(millis(400))), (0, 1));
}

#[test]
fn a_pings_ttl_is_three_heartbeat_timeouts_and_at_most_3276_7_seconds() {
    let ttl = |timeout| ttls(&written(millis(100), timeout, millis(150)));
    assert_eq!(ttl(seconds(10)), [300]);
    assert_eq!(ttl(millis(500)), [15]);
    assert_eq!(ttl(seconds(3600)), [32_767]);
}

#[test]
fn a_connection_that_is_silent_for_the_heartbeat_timeout_is_lost() {
    let config = three().heartbeat_interval(millis(500)).heartbeat_timeout(seconds(2));
    let (mut world, conn) = World::connected(config);
    world.peer(conn).frozen = true;
    world.advance(millis(1900));
    assert_eq!(world.disconnect_reason(), None);
    world.advance(millis(700));
    assert_eq!(world.disconnect_reason(), Some(DisconnectReason::HeartbeatTimeout));
}
