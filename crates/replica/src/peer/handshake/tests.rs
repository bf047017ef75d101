use std::collections::BTreeSet;

use zraft_protocol::MemberId;

use super::*;
use crate::MemberInfo;

fn id(number: u64) -> RaftId {
    RaftId::new(number).expect("not 0")
}

fn introduction(life: u8) -> Introduction {
    Introduction {
        cluster: ClusterId::new([0xC1; 16]),
        incarnation: Incarnation::new([life; 16]),
        address: format!("10.0.0.{life}:7000"),
    }
}

/// A member with everything that its handshakes need.
struct Party {
    id: RaftId,
    introduction: Introduction,
    feature_level: u32,
    durable: Position,
    client_endpoint: Option<&'static str>,
    configuration: Configuration,
    configured: u64,
    matches: Matches,
}

impl Party {
    fn new(number: u8) -> Self {
        let member = |number: u64| {
            let name = MemberId::new(format!("node-{number}")).expect("short");
            (id(number), MemberInfo { name, address: "a:1".to_owned(), feature_level: 2 })
        };
        Self {
            id: id(number.into()),
            introduction: introduction(number),
            feature_level: 2,
            durable: Position { index: 50, term: 4 },
            client_endpoint: None,
            configuration: Configuration::of_voters([1, 2, 3].map(member)),
            configured: 50,
            matches: Matches::default(),
        }
    }

    fn at(&self) -> Standpoint<'_> {
        Standpoint {
            id: self.id,
            introduction: &self.introduction,
            feature_level: self.feature_level,
            durable: self.durable,
            client_endpoint: self.client_endpoint,
            configuration: &self.configuration,
            configured: self.configured,
            matches: &self.matches,
        }
    }

    /// Lets this member remember an acknowledgement of `other`.
    fn remembers(&mut self, other: &Party, term: u64, index: u64, committed: u64) {
        self.matches.identify(other.id, other.introduction.incarnation);
        self.matches.acknowledged(other.id, term, index, committed);
    }
}

/// Who found out that a handshake must fail, and why.
#[derive(Debug, PartialEq)]
enum Outcome {
    Connected,
    /// The acceptor refused the dialer, which got the reason.
    DialerRefused(Refusal),
    /// The dialer refused the acceptor, which got the reason.
    AcceptorRefused(Refusal),
    /// The dialer found that its own directory was rolled back.
    DialerRolledBack(Refusal),
    /// The acceptor found that its own directory was rolled back.
    AcceptorRolledBack(Refusal),
}

/// Runs a handshake through its bytes.
fn meet(dialer: &Party, acceptor: &Party) -> Outcome {
    let (dialing, hello) = dialer.at().dial(acceptor.id, ConnectionKind::Bulk);
    let (accepting, welcome) = match acceptor.at().accept(&hello) {
        Ok(accepted) => accepted,
        Err(HandshakeError::Refused(refusal)) => return Outcome::AcceptorRolledBack(refusal),
        Err(error) => {
            let reply = error.reply().expect("the dialer gets the reason");
            let told = dialer.at().confirm(&dialing, &reply).expect_err("it is refused");
            let HandshakeError::Refused(refusal) = told else { panic!("{told:?}") };
            return Outcome::DialerRefused(refusal);
        }
    };
    let confirm = match dialer.at().confirm(&dialing, &welcome) {
        Ok((peer, confirm)) => {
            assert_eq!(peer.id, acceptor.id);
            assert_eq!(peer.introduction, acceptor.introduction);
            assert_eq!(peer.client_endpoint.as_deref(), acceptor.client_endpoint);
            confirm
        }
        Err(HandshakeError::Refused(refusal)) => return Outcome::DialerRolledBack(refusal),
        Err(error) => error.reply().expect("the acceptor gets the reason"),
    };
    match accepting.complete(&confirm) {
        Ok(peer) => {
            let Peer { id, introduction, kind, version, durable: _, client_endpoint } = peer;
            assert_eq!(client_endpoint.as_deref(), dialer.client_endpoint);
            assert_eq!((id, &introduction), (dialer.id, &dialer.introduction));
            assert_eq!((kind, version), (ConnectionKind::Bulk, 1));
            Outcome::Connected
        }
        Err(HandshakeError::Refused(refusal)) => Outcome::AcceptorRefused(refusal),
        Err(error) => panic!("{error:?}"),
    }
}

/// The dialer is member 1, the acceptor is member 2.
fn outcome_of(change: impl FnOnce(&mut Party, &mut Party)) -> Outcome {
    let (mut dialer, mut acceptor) = (Party::new(1), Party::new(2));
    change(&mut dialer, &mut acceptor);
    meet(&dialer, &acceptor)
}

#[test]
fn two_members_of_a_cluster_connect() {
    assert_eq!(outcome_of(|_, _| {}), Outcome::Connected);
    let have_met = |dialer: &mut Party, acceptor: &mut Party| {
        dialer.remembers(acceptor, 4, 50, 49);
        acceptor.remembers(dialer, 4, 50, 50);
    };
    assert_eq!(outcome_of(have_met), Outcome::Connected);
}

#[test]
fn each_side_learns_where_clients_reach_the_other() {
    let say = |dialer: Option<_>, acceptor: Option<_>| {
        outcome_of(|from, to| (from.client_endpoint, to.client_endpoint) = (dialer, acceptor))
    };
    let (first, second) = ("tcp://10.0.0.1:7001", "tls://db-2.example.com:7001");
    assert_eq!(say(Some(first), Some(second)), Outcome::Connected);
    assert_eq!(say(Some(first), None), Outcome::Connected);
    assert_eq!(say(None, Some(second)), Outcome::Connected);
}

#[test]
fn every_refusal_reaches_the_member_that_it_is_about() {
    type Change = fn(&mut Party, &mut Party);
    let other = ClusterId::new([0xC1; 16]);
    let cases: [(&str, Change, Outcome); 13] = [
        (
            "the dialer belongs to another cluster",
            |dialer, _| dialer.introduction.cluster = ClusterId::new([0xC2; 16]),
            Outcome::DialerRefused(Refusal::OtherCluster { cluster: other }),
        ),
        (
            "the acceptor has removed the dialer",
            |_, acceptor| acceptor.configuration.removed.extend([id(1)]),
            Outcome::DialerRefused(Refusal::Removed),
        ),
        (
            "the dialer has removed the acceptor",
            |dialer, _| dialer.configuration.removed.extend([id(2)]),
            Outcome::AcceptorRefused(Refusal::Removed),
        ),
        (
            "the acceptor's configuration lacks the dialer and is as new as its log",
            |_, acceptor| acceptor.configuration = Configuration::default(),
            Outcome::DialerRefused(Refusal::UnknownMember),
        ),
        (
            "the dialer's configuration lacks the acceptor and is as new as its log",
            |dialer, _| dialer.configuration = Configuration::default(),
            Outcome::AcceptorRefused(Refusal::UnknownMember),
        ),
        (
            "both run on one directory",
            |dialer, acceptor| dialer.introduction.incarnation = acceptor.introduction.incarnation,
            Outcome::DialerRefused(Refusal::SameIncarnation { id: id(2) }),
        ),
        (
            "a third member has the dialer's incarnation",
            |dialer, acceptor| acceptor.matches.identify(id(3), dialer.introduction.incarnation),
            Outcome::DialerRefused(Refusal::SameIncarnation { id: id(3) }),
        ),
        (
            "the dialer comes back with a new directory under its old id",
            |_, acceptor| acceptor.matches.identify(id(1), Incarnation::new([9; 16])),
            Outcome::DialerRefused(Refusal::OtherIncarnation { known: Incarnation::new([9; 16]) }),
        ),
        (
            "the acceptor comes back with a new directory under its old id",
            |dialer, _| dialer.matches.identify(id(2), Incarnation::new([9; 16])),
            Outcome::AcceptorRefused(Refusal::OtherIncarnation {
                known: Incarnation::new([9; 16]),
            }),
        ),
        (
            "the dialer's program is too old",
            |dialer, _| dialer.feature_level = 1,
            Outcome::DialerRefused(Refusal::FeatureLevel { needed: 2 }),
        ),
        (
            "the acceptor's program is too old",
            |_, acceptor| acceptor.feature_level = 1,
            Outcome::AcceptorRefused(Refusal::FeatureLevel { needed: 2 }),
        ),
        (
            "the dialer's directory was rolled back",
            |dialer, acceptor| acceptor.remembers(dialer, 4, 51, 0),
            Outcome::DialerRolledBack(rolled_back(4, 51, 0)),
        ),
        (
            "the acceptor's directory was rolled back",
            |dialer, acceptor| dialer.remembers(acceptor, 4, 51, 0),
            Outcome::AcceptorRolledBack(rolled_back(4, 51, 0)),
        ),
    ];
    for (what, change, expected) in cases {
        assert_eq!(outcome_of(change), expected, "{what}");
    }
}

fn rolled_back(term: u64, matched: u64, committed: u64) -> Refusal {
    let remembered = Remembered { term, matched, committed };
    Refusal::RolledBack { remembered, durable: Position { index: 50, term: 4 } }
}

#[test]
fn a_disk_must_keep_every_promise_that_binds_it() {
    let has = Position { index: 50, term: 4 };
    let keeps =
        |term, matched, committed| Remembered { term, matched, committed }.check(has).is_ok();
    assert!(keeps(4, 50, 50), "it has exactly what it promised");
    assert!(!keeps(4, 51, 0), "no leader replaces an entry in its own term");
    assert!(keeps(3, 60, 50), "a later leader has replaced the rest");
    assert!(!keeps(3, 60, 51), "no leader replaces a committed entry");
    assert!(!keeps(5, 0, 0), "a term is never forgotten");
}

#[test]
fn a_peer_that_does_not_know_that_it_was_rolled_back_is_refused() {
    let (mut dialer, mut acceptor) = (Party::new(1), Party::new(2));
    acceptor.remembers(&dialer, 4, 51, 0);
    dialer.durable.index = 51;
    let (dialing, hello) = dialer.at().dial(acceptor.id, ConnectionKind::Urgent);
    let (accepting, welcome) = acceptor.at().accept(&hello).expect("the hello is judged last");
    let (_, _) = dialer.at().confirm(&dialing, &welcome).expect("it has what is remembered");
    let lying = HandshakeMessage::Confirm { durable: Position { index: 50, term: 4 } }.encode();
    let refused = accepting.complete(&lying).expect_err("the acceptor judges it, too");
    assert_eq!(refused, HandshakeError::Refuses(rolled_back(4, 51, 0)));
    assert!(refused.reply().is_some());

    dialer.remembers(&acceptor, 4, 51, 0);
    let (dialing, _) = dialer.at().dial(acceptor.id, ConnectionKind::Urgent);
    // An answer that does not consider what the dialer remembers.
    let (_, welcome) = acceptor.at().accept(&hello).expect("this hello remembers nothing");
    let refused = dialer.at().confirm(&dialing, &welcome).expect_err("the dialer judges it, too");
    assert_eq!(refused, HandshakeError::Refuses(rolled_back(4, 51, 0)));
}

#[test]
fn a_write_that_ends_during_the_handshake_is_not_mistaken_for_a_loss() {
    let (mut dialer, mut acceptor) = (Party::new(1), Party::new(2));
    acceptor.remembers(&dialer, 4, 50, 50);
    let (dialing, hello) = dialer.at().dial(acceptor.id, ConnectionKind::Bulk);
    // The acknowledgement of entry 51 overtakes the hello on the other connection.
    dialer.durable.index = 51;
    acceptor.matches.acknowledged(dialer.id, 4, 51, 50);
    let (accepting, welcome) = acceptor.at().accept(&hello).expect("nothing is missing");
    let (_, confirm) = dialer.at().confirm(&dialing, &welcome).expect("nothing is missing");
    assert!(accepting.complete(&confirm).is_ok());
}

#[test]
fn a_member_that_the_receiver_cannot_know_yet_is_accepted_if_it_has_more_of_the_log() {
    let newcomer = Configuration::default();
    // A new member with an empty log, which the leader dials.
    let joins = |dialer: &mut Party, acceptor: &mut Party| {
        dialer.configuration = Party::new(1).configuration;
        dialer.configuration.learners = BTreeSet::from([id(2)]);
        (acceptor.configuration, acceptor.configured) = (newcomer, 0);
        acceptor.durable = Position::default();
    };
    assert_eq!(outcome_of(joins), Outcome::Connected);
    // A member that was down while the dialer was added.
    let lagged = |dialer: &mut Party, acceptor: &mut Party| {
        dialer.durable.index = 51;
        acceptor.configuration.voters.remove(&id(1));
        acceptor.configuration.members.remove(&id(1));
    };
    assert_eq!(outcome_of(lagged), Outcome::Connected);
}

#[test]
fn members_without_a_common_version_refuse_each_other() {
    let (dialer, acceptor) = (Party::new(1), Party::new(2));
    let (_, hello) = dialer.at().dial(acceptor.id, ConnectionKind::Urgent);
    let judged = |oldest, newest| {
        let Ok(HandshakeMessage::Hello(mut hello)) = HandshakeMessage::decode(&hello) else {
            panic!("it is a hello");
        };
        (hello.from.oldest, hello.from.newest) = (oldest, newest);
        acceptor
            .at()
            .accept(&HandshakeMessage::Hello(hello).encode())
            .map(|(accepting, _)| accepting.peer().version)
    };
    let refused = HandshakeError::Refuses(Refusal::Version { oldest: 1, newest: 1 });
    assert_eq!(judged(2, 3), Err(refused.clone()), "the dialer is too new");
    assert_eq!(judged(0, 0), Err(refused), "the dialer is too old");
    assert_eq!(judged(0, 9), Ok(1), "both take the newest that they share");
}

#[test]
fn a_member_that_answers_at_another_ones_address_is_refused() {
    let (dialer, acceptor) = (Party::new(1), Party::new(2));
    let (_, hello) = dialer.at().dial(id(3), ConnectionKind::Urgent);
    let refused = acceptor.at().accept(&hello).map(|_| ()).expect_err("it is not member 3");
    assert_eq!(refused, HandshakeError::Refuses(Refusal::OtherMember { id: id(2) }));

    let (dialing, _) = dialer.at().dial(id(3), ConnectionKind::Urgent);
    let (_, hello) = dialer.at().dial(id(2), ConnectionKind::Urgent);
    let (_, welcome) = acceptor.at().accept(&hello).expect("it is for member 2");
    let refused = dialer.at().confirm(&dialing, &welcome).map(|_| ()).expect_err("not member 3");
    assert_eq!(refused, HandshakeError::Refuses(Refusal::OtherMember { id: id(1) }));
}

#[test]
fn a_member_that_meets_itself_is_refused() {
    let (dialer, mut acceptor) = (Party::new(1), Party::new(1));
    let same = Refusal::SameIncarnation { id: id(1) };
    assert_eq!(meet(&dialer, &acceptor), Outcome::DialerRefused(same));
    // Two directories that claim one id.
    acceptor.introduction.incarnation = Incarnation::new([7; 16]);
    let other = Refusal::OtherIncarnation { known: Incarnation::new([7; 16]) };
    assert_eq!(meet(&dialer, &acceptor), Outcome::DialerRefused(other));
}

#[test]
fn a_message_out_of_order_is_refused() {
    let (dialer, acceptor) = (Party::new(1), Party::new(2));
    let (dialing, hello) = dialer.at().dial(acceptor.id, ConnectionKind::Urgent);
    let (accepting, welcome) = acceptor.at().accept(&hello).expect("it is a hello");
    let (_, confirm) = dialer.at().confirm(&dialing, &welcome).expect("it is a welcome");
    let format = |error| matches!(error, HandshakeError::Format(FormatError::Invalid(_)));
    for wrong in [&welcome, &confirm] {
        assert!(acceptor.at().accept(wrong).map(|_| ()).is_err_and(format));
    }
    for wrong in [&hello, &confirm] {
        assert!(dialer.at().confirm(&dialing, wrong).map(|_| ()).is_err_and(format));
    }
    assert!(accepting.complete(&hello).map(|_| ()).is_err_and(format));
}

#[test]
fn an_older_promise_and_an_unknown_member_change_nothing() {
    let mut matches = Matches::default();
    matches.acknowledged(id(1), 3, 9, 9);
    assert_eq!(matches.of(id(1)), None, "its incarnation is not known");
    let life = Incarnation::new([1; 16]);
    matches.identify(id(1), life);
    matches.acknowledged(id(1), 3, 9, 5);
    matches.acknowledged(id(1), 3, 7, 9);
    matches.promised(id(1), 2);
    let expected = Remembered { term: 3, matched: 9, committed: 7 };
    assert_eq!(matches.of(id(1)), Some((life, expected)));
    matches.promised(id(1), 4);
    let expected = Remembered { term: 4, matched: 0, committed: 7 };
    assert_eq!(matches.of(id(1)), Some((life, expected)));
    matches.identify(id(1), Incarnation::new([2; 16]));
    assert_eq!(matches.of(id(1)), Some((life, expected)), "the first incarnation stays");
}

#[test]
fn only_a_removed_and_a_rolled_back_member_end() {
    let stops = |refusal: Refusal| refusal.stop_reason().map(|reason| reason.to_string());
    let life = Incarnation::new([1; 16]);
    for refusal in [
        Refusal::OtherCluster { cluster: ClusterId::new([1; 16]) },
        Refusal::OtherMember { id: id(1) },
        Refusal::Version { oldest: 1, newest: 1 },
        Refusal::SameIncarnation { id: id(1) },
        Refusal::OtherIncarnation { known: life },
        Refusal::UnknownMember,
        Refusal::FeatureLevel { needed: 1 },
    ] {
        assert_eq!(stops(refusal), None, "{refusal}");
    }
    for refusal in [Refusal::Removed, rolled_back(4, 51, 0)] {
        let sentence = stops(refusal).expect("it ends");
        assert!(sentence.contains("new"), "it names the remedy: {sentence}");
        assert!(sentence.contains("empty directory"), "it names the remedy: {sentence}");
    }
}
