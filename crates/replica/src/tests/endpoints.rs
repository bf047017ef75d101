//! Clients that ask for the members of the cluster.

use zraft_protocol::{
    ClientMessage, CorrelationId, Payload, ServerMessage, Timestamp,
    reserved::{self, AnswerError, Member, Members},
};

use super::{
    handshake::{all_meet, meet},
    world::{MS, World, endpoint, id, info, name},
};
use crate::{ConnectionId, MembershipChange, Role};

fn question() -> ClientMessage {
    ask(reserved::members_question())
}

fn ask(payload: Payload) -> ClientMessage {
    let correlation_id = CorrelationId::new("members").expect("short");
    ClientMessage::Query { correlation_id, payload, created_at: Timestamp::from_millis(0) }
}

/// Returns true for the answer to [`ask`]. Lists that were not asked for have another id.
fn is_answer(message: &ServerMessage) -> bool {
    matches!(message, ServerMessage::QueryResponse { correlation_id, .. } if correlation_id.as_str() == "members")
}

fn answer(messages: Vec<ServerMessage>) -> Option<Payload> {
    messages.into_iter().filter(is_answer).find_map(|message| match message {
        ServerMessage::QueryResponse { result, .. } => Some(result),
        _ => None,
    })
}

/// Asks for the members, and waits for the answer.
fn members(world: &mut World, connection: ConnectionId) -> Members {
    world.send(connection, question());
    let answer = answer(world.wait(connection, is_answer)).expect("it was waited for");
    Members::from_answer(&answer).expect("a list")
}

fn listed(known: impl IntoIterator<Item = (u64, bool)>) -> Members {
    Members::new(known.into_iter().map(|(number, known)| Member {
        id: name(number),
        endpoint: known.then(|| endpoint(number)),
    }))
}

#[test]
fn a_leader_lists_all_members_with_the_endpoints_that_they_said() {
    let mut world = World::new(3);
    all_meet(&mut world);
    let leader = world.settle();
    let (connection, _) = world.session(leader);
    assert_eq!(members(&mut world, connection), listed([(1, true), (2, true), (3, true)]));
    assert!(world.lines(leader).is_empty());
}

#[test]
fn a_lone_member_lists_itself() {
    let mut world = World::new(1);
    let leader = world.settle();
    let (connection, _) = world.session(leader);
    assert_eq!(members(&mut world, connection), listed([(1, true)]));
}

#[test]
fn a_member_that_the_leader_has_not_met_is_listed_without_an_endpoint() {
    let mut world = World::new(3);
    let leader = world.settle();
    let (connection, _) = world.session(leader);
    let own = |number| (number, number == leader);
    assert_eq!(members(&mut world, connection), listed([1, 2, 3].map(own)));
    let other = world.others(leader)[0];
    assert_eq!(meet(&mut world, other, leader), Ok(()));
    let met = |number| (number, number == leader || number == other);
    assert_eq!(members(&mut world, connection), listed([1, 2, 3].map(met)));
    // Every process meets the others again.
    world.restart(leader);
    let leader = world.settle();
    let other = world.others(leader)[0];
    assert_eq!(meet(&mut world, leader, other), Ok(()));
    let (connection, _) = world.session(leader);
    let known = members(&mut world, connection);
    assert_eq!(known.iter().filter(|member| member.endpoint.is_some()).count(), 2);
}

#[test]
fn a_list_follows_changes_of_the_membership() {
    let mut world = World::new(3);
    all_meet(&mut world);
    let leader = world.settle();
    let (connection, _) = world.session(leader);
    world.join(4);
    let now = world.clock();
    let add = MembershipChange::Add { id: id(4), info: info(4) };
    world.replica(leader).change_membership(now, add).expect("the leader takes it");
    world.until("it votes", |world| world.replica(leader).configuration().voters.len() == 4);
    assert_eq!(meet(&mut world, leader, 4), Ok(()));
    let all = [1, 2, 3, 4].map(|number| (number, true));
    assert_eq!(members(&mut world, connection), listed(all));

    let removed = world.others(leader)[0];
    let now = world.clock();
    let remove = MembershipChange::Remove(id(removed));
    world.replica(leader).change_membership(now, remove).expect("the leader takes it");
    let gone = |world: &mut World| !world.replica(leader).configuration().contains(id(removed));
    world.until("it is removed", gone);
    let left = all.into_iter().filter(|(number, _)| *number != removed);
    assert_eq!(members(&mut world, connection), listed(left));
}

/// Returns the lists among these messages.
fn lists(messages: Vec<ServerMessage>) -> Vec<Members> {
    let lists = messages.into_iter().filter_map(|message| match message {
        ServerMessage::QueryResponse { correlation_id, result } => {
            assert_eq!(correlation_id.as_str(), reserved::MEMBERS_CHANGED);
            Some(Members::from_answer(&result).expect("a list"))
        }
        _ => None,
    });
    lists.collect()
}

#[test]
fn a_client_that_has_asked_is_sent_each_list_that_differs_and_others_are_not() {
    let mut world = World::new(3);
    all_meet(&mut world);
    let leader = world.settle();
    let (asked, _) = world.session(leader);
    let (silent, _) = world.session(leader);
    members(&mut world, asked);
    world.run(1000 * MS);
    assert_eq!(lists(world.received(asked)), []);

    world.join(4);
    let now = world.clock();
    let add = MembershipChange::Add { id: id(4), info: info(4) };
    world.replica(leader).change_membership(now, add).expect("the leader takes it");
    world.until("it votes", |world| world.replica(leader).configuration().voters.len() == 4);
    // It is a learner first, and the list is the same when it votes.
    let added = listed([(1, true), (2, true), (3, true), (4, false)]);
    assert_eq!(lists(world.received(asked)), [added]);
    for _ in 0..2 {
        assert_eq!(meet(&mut world, leader, 4), Ok(()));
    }
    world.run(1000 * MS);
    let met = listed([1, 2, 3, 4].map(|number| (number, true)));
    assert_eq!(lists(world.received(asked)), [met]);
    assert_eq!(lists(world.received(silent)), []);
}

#[test]
fn a_leader_that_is_cut_off_lists_no_members() {
    let mut world = World::new(3);
    all_meet(&mut world);
    let leader = world.settle();
    let (connection, _) = world.session(leader);
    world.run(100 * MS);
    world.isolate(leader);
    world.send(connection, question());
    world.run(100 * MS);
    assert_eq!(answer(world.received(connection)), None);
    world.until("it steps down", |world| world.role(leader) != Role::Leader);
    world.heal();
    world.run(1000 * MS);
    assert_eq!(answer(world.received(connection)), None);
}

#[test]
fn a_reserved_query_that_no_version_knows_is_answered_without_the_application() {
    let mut world = World::new(1);
    let leader = world.settle();
    let (connection, _) = world.session(leader);
    let later = [&reserved::PREFIX[..], &[9, 9]].concat();
    world.send(connection, ask(Payload::new(later).expect("short")));
    let answer = answer(world.wait(connection, is_answer)).expect("it was waited for");
    assert_eq!(Members::from_answer(&answer), Err(AnswerError::Unknown));
}
