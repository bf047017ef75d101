//! Members that the server lists: whom the client asks from then on.

use crate::common::{rounds::refuse, *};
use bytes::Bytes;
use zraft_core::{Config, ConfigBuilder, ConnId, StateName};
use zraft_protocol::{
    ClientMessage, CorrelationId, Payload, ServerMessage, SessionCloseReason,
    reserved::{self, Member, Members},
};

/// Returns a configuration of one member, which discovers the others.
fn discovering() -> ConfigBuilder {
    single().discover_members(true)
}

/// Takes the question for the members, which must be all that was sent, and returns the id of the query.
fn asked(world: &mut World, conn: ConnId) -> CorrelationId {
    world.advance_until(seconds(400), |world| {
        world.peers.iter().any(|peer| peer.conn == conn && !peer.inbox.is_empty())
    });
    let messages = world.all_received(conn);
    let [ClientMessage::Query { payload, correlation_id, .. }] = &messages[..] else {
        panic!("{messages:?}");
    };
    assert_eq!(*payload, reserved::members_question());
    correlation_id.clone()
}

fn answer_bytes(world: &mut World, conn: ConnId, result: Bytes) {
    let correlation_id = asked(world, conn);
    let result = Payload::new(result).unwrap();
    world.say(conn, ServerMessage::QueryResponse { correlation_id, result });
    world.advance(millis(1));
}

/// Answers the question for the members with these.
fn list(world: &mut World, conn: ConnId, members: &[(&str, Option<&str>)]) {
    let members = members
        .iter()
        .map(|(id, endpoint)| Member { id: member(id), endpoint: endpoint.map(str::to_owned) });
    let members = Members::new(members);
    let answer = reserved::answer(&reserved::members_question(), || members);
    answer_bytes(world, conn, answer.unwrap().into_bytes());
}

/// Returns a connected world whose member listed these.
fn with_list(config: ConfigBuilder, members: &[(&str, Option<&str>)]) -> (World, ConnId) {
    let (mut world, conn) = World::connected(config);
    world.answers_keep_alives = true;
    world.peer(conn).answers_keep_alives = true;
    list(&mut world, conn, members);
    (world, conn)
}

fn members(world: &World) -> Vec<String> {
    world.machine.members().map(|each| format!("{}={}", each.id, each.endpoint)).collect()
}

const LISTED: [(&str, Option<&str>); 3] = [
    ("node-1", Some("tcp://127.0.0.1:7001")),
    ("node-2", Some("tcp://10.0.0.2:7002")),
    ("node-3", Some("tcp://10.0.0.3:7003")),
];

#[test]
fn a_client_that_knows_one_member_goes_on_at_the_others_when_that_one_is_gone() {
    let (mut world, conn) = with_list(discovering(), &LISTED);
    world.hang_up(conn);
    let asked: Vec<String> = (0..3)
        .map(|_| {
            world.next_asked(seconds(10));
            refuse(&mut world)
        })
        .collect();
    assert_eq!(asked, ["node-1", "node-2", "node-3"]);
    let conn = world.resumed();
    assert!(["node-1", "node-2", "node-3"].contains(&world.peer(conn).member.as_str()));
}

/// Sends a list of members that no query asked for.
fn send_list(world: &mut World, conn: ConnId, listed: &[(&str, Option<&str>)]) {
    let members = listed
        .iter()
        .map(|(id, endpoint)| Member { id: member(id), endpoint: endpoint.map(str::to_owned) });
    let answer = reserved::answer(&reserved::members_question(), || Members::new(members));
    let correlation_id = CorrelationId::new(reserved::MEMBERS_CHANGED).unwrap();
    world.say(conn, ServerMessage::QueryResponse { correlation_id, result: answer.unwrap() });
    world.advance(millis(1));
}

#[test]
fn a_list_that_the_server_sends_later_takes_the_place_of_the_one_before() {
    let (mut world, conn) = with_list(discovering(), &LISTED);
    send_list(&mut world, conn, &[LISTED[0], ("node-4", Some("tcp://10.0.0.4:7004"))]);
    assert_eq!(members(&world), ["node-1=tcp://127.0.0.1:7001", "node-4=tcp://10.0.0.4:7004"]);
    world.closed(conn, SessionCloseReason::NotLeaderAnymore, Some("node-4"));
    assert_eq!(world.next_asked(seconds(1)).0, "node-4");
}

#[test]
fn a_client_without_the_setting_ignores_a_list() {
    let (mut world, conn) = World::connected(single());
    let before = members(&world);
    send_list(&mut world, conn, &LISTED);
    assert_eq!((members(&world), world.machine.stats().unmatched), (before, 1));
}

#[test]
fn without_the_setting_the_server_is_not_asked() {
    let (mut world, conn) = World::connected(single());
    world.answers_keep_alives = true;
    world.peer(conn).answers_keep_alives = true;
    world.advance(seconds(3600));
    assert_eq!(world.all_received(conn), []);
}

#[test]
fn the_server_is_asked_after_each_connect_and_resume_and_every_few_minutes() {
    let (mut world, conn) = with_list(discovering(), &LISTED);
    world.advance(seconds(299));
    assert_eq!(world.all_received(conn), []);
    list(&mut world, conn, &LISTED);
    world.closed(conn, SessionCloseReason::NotLeaderAnymore, None);
    let next = world.resumed();
    list(&mut world, next, &LISTED);
}

#[test]
fn the_configured_members_that_are_not_listed_are_asked_last() {
    let config = three().discover_members(true);
    let (mut world, conn) = with_list(
        config,
        &[("node-4", Some("tcp://10.0.0.4:7001")), ("node-1", Some("tcp://10.0.0.1:7001"))],
    );
    let expected = [
        "node-4=tcp://10.0.0.4:7001",
        "node-1=tcp://10.0.0.1:7001",
        "node-1=tcp://127.0.0.1:7001",
        "node-2=tcp://127.0.0.1:7002",
        "node-3=tcp://127.0.0.1:7003",
    ];
    assert_eq!(members(&world), expected);
    world.closed(conn, SessionCloseReason::NotLeaderAnymore, None);
    let mut asked = Vec::new();
    for _ in 0..4 {
        world.next_asked(seconds(10));
        asked.push(refuse(&mut world));
    }
    // The connection was to node-1 at its configured endpoint.
    assert_eq!(asked[..2], ["node-4", "node-1"]);
    assert_eq!(asked[2..], ["node-2", "node-3"]);
}

#[test]
fn a_hint_leads_to_a_member_that_was_discovered() {
    let (mut world, conn) = with_list(discovering(), &LISTED);
    world.closed(conn, SessionCloseReason::NotLeaderAnymore, Some("node-3"));
    assert_eq!(world.next_asked(seconds(1)).0, "node-3");
}

#[test]
fn an_endpoint_of_another_scheme_or_of_no_form_is_not_used() {
    let unusable = [
        ("node-1", Some("tls://127.0.0.1:7001")),
        ("node-2", Some("ipc:///tmp/socket")),
        ("node-3", Some("10.0.0.3:7003")),
        ("node-4", Some("tcp://10.0.0.4:7004")),
        ("node-5", None),
    ];
    let (world, _) = with_list(discovering(), &unusable);
    // Of node-1 the configured endpoint stays.
    assert_eq!(members(&world), ["node-1=tcp://127.0.0.1:7001", "node-4=tcp://10.0.0.4:7004"]);

    let tls = Config::builder()
        .member("node-1", "tls://127.0.0.1:7001")
        .capability("protocol", "test")
        .discover_members(true);
    let (world, _) = with_list(tls, &LISTED);
    assert_eq!(members(&world), ["node-1=tls://127.0.0.1:7001"]);
}

#[test]
fn a_member_that_the_leader_has_not_met_stays_where_it_was() {
    let (mut world, conn) = with_list(discovering(), &LISTED);
    list(&mut world, conn, &[("node-1", LISTED[0].1), ("node-3", None), ("node-9", None)]);
    assert_eq!(members(&world), ["node-1=tcp://127.0.0.1:7001", "node-3=tcp://10.0.0.3:7003"]);
}

#[test]
fn a_server_that_does_not_know_the_question_is_not_asked_again_on_its_connection() {
    let unknown = reserved::answer(&reserved::PREFIX, Members::default).unwrap();
    let echo = reserved::members_question();
    for foreign in
        [Bytes::from("no such query"), Bytes::new(), unknown.into_bytes(), echo.into_bytes()]
    {
        let (mut world, conn) = World::connected(discovering());
        world.answers_keep_alives = true;
        world.peer(conn).answers_keep_alives = true;
        answer_bytes(&mut world, conn, foreign);
        assert_eq!(members(&world), ["node-1=tcp://127.0.0.1:7001"]);
        world.advance(seconds(3600));
        assert_eq!(world.all_received(conn), []);
        world.hang_up(conn);
        let next = world.resumed();
        list(&mut world, next, &LISTED);
        assert_eq!(members(&world).len(), 3);
    }
}

#[test]
fn the_application_hears_nothing_of_the_question() {
    let (mut world, conn) = with_list(discovering(), &LISTED);
    world.hang_up(conn);
    let conn = world.resumed();
    asked(&mut world, conn);
    // It is not answered, and given up. The client does not leave the member for that.
    world.advance(seconds(30));
    assert_eq!(world.completions, []);
    let timeouts =
        |event: &zraft_core::Event| matches!(event, zraft_core::Event::QueryTimeout { .. });
    assert_eq!(world.count_events(timeouts), 0);
    let stats = world.machine.stats();
    assert_eq!((stats.in_flight, stats.queued, stats.not_executed, stats.unknown), (0, 0, 0, 0));
    assert_eq!(world.state(), StateName::Connected);
}

#[test]
fn a_disconnect_does_not_wait_for_the_question() {
    let (mut world, conn) = World::connected(discovering());
    asked(&mut world, conn);
    world.machine.disconnect(world.now, seconds(5));
    world.pump();
    assert!(matches!(world.received(conn), Some(ClientMessage::CloseSession { .. })));
    world.hang_up(conn);
    assert!(world.is_disconnected());
    assert_eq!(world.completions.len(), 1);
}

#[test]
fn a_new_list_of_the_application_replaces_the_discovered_one_and_the_server_is_asked_again() {
    let (mut world, conn) = with_list(discovering(), &LISTED);
    world.update(&["node-1", "node-7"]);
    assert_eq!(members(&world), ["node-1=tcp://127.0.0.1:7001", "node-7=tcp://127.0.0.1:7007"]);
    list(&mut world, conn, &LISTED);
    let discovered = LISTED.map(|(id, endpoint)| format!("{id}={}", endpoint.unwrap()));
    assert_eq!(members(&world)[..3], discovered);
    assert_eq!(members(&world)[3..], ["node-7=tcp://127.0.0.1:7007"]);
    assert_eq!(world.machine.config().members().len(), 2, "the application's own list");
}

#[test]
fn a_connection_is_asked_also_if_a_question_of_the_one_before_is_given_up_on_it() {
    let (mut world, conn) = World::connected(discovering());
    world.answers_keep_alives = true;
    let first = asked(&mut world, conn);
    world.hang_up(conn);
    let next = world.resumed();
    world.peer(next).answers_keep_alives = true;
    assert_eq!(asked(&mut world, next), first);
    world.advance(seconds(30));
    let again = world.all_received(next).into_iter().any(|message| {
        matches!(message, ClientMessage::Query { correlation_id, .. } if correlation_id != first)
    });
    assert!(again);
}
