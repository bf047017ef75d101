//! The queries that servers answer from their session layer.

use proptest::test_runner::FileFailurePersistence;
use proptest::{collection::vec, option, prelude::*};
use zraft_protocol::{
    MemberId,
    reserved::{self, AnswerError, Member, Members},
};

use crate::support::hex;

fn member(id: &str, endpoint: Option<&str>) -> Member {
    Member { id: MemberId::new(id).unwrap(), endpoint: endpoint.map(str::to_owned) }
}

fn sample() -> Members {
    Members::new([member("node-1", Some("tcp://10.0.0.1:7001")), member("node-2", None)])
}

#[test]
fn reserved_bytes_of_version_1_stay_as_they_are() {
    let prefix = "ff7a7261667400 21e4344e011baab046".replace(' ', "");
    assert_eq!(hex(&reserved::PREFIX), prefix);
    assert_eq!(hex(&reserved::members_question()), format!("{prefix}0101"));
    let answer = reserved::answer(&reserved::members_question(), sample).unwrap();
    let members = "00066e6f64652d3100137463703a2f2f31302e302e302e313a3730303100066e6f64652d320000";
    assert_eq!(hex(&answer), format!("{prefix}01810002{members}"));
    let mut later = reserved::PREFIX.to_vec();
    later.extend([2, 1]);
    let unknown = reserved::answer(&later, sample).unwrap();
    assert_eq!(hex(&unknown), format!("{prefix}0180"));
}

#[test]
fn only_queries_with_the_whole_prefix_are_reserved() {
    assert!(reserved::is_reserved(&reserved::members_question()));
    assert!(reserved::is_reserved(&reserved::PREFIX));
    for query in [&[][..], b"zraft", &reserved::PREFIX[..15], &reserved::PREFIX[1..]] {
        assert!(!reserved::is_reserved(query));
        assert_eq!(reserved::answer(query, sample), None);
    }
}

#[test]
fn a_question_that_this_version_does_not_know_is_answered_as_unknown() {
    for rest in [&[][..], &[1], &[1, 0], &[1, 2], &[2, 1], &[0, 1], &[1, 0x81]] {
        let question = [&reserved::PREFIX[..], rest].concat();
        let answer = reserved::answer(&question, sample).unwrap();
        assert_eq!(Members::from_answer(&answer), Err(AnswerError::Unknown), "{rest:?}");
    }
}

#[test]
fn bytes_after_the_last_field_are_ignored() {
    let question = [&reserved::members_question()[..], b"later"].concat();
    let answer = reserved::answer(&question, sample).unwrap();
    let longer = [&answer[..], b"later"].concat();
    assert_eq!(Members::from_answer(&longer), Ok(sample()));
}

#[test]
fn an_application_that_echoes_the_question_or_answers_its_own_bytes_is_not_believed() {
    for answer in [&[][..], b"OK", &reserved::members_question(), &reserved::PREFIX] {
        assert_eq!(Members::from_answer(answer), Err(AnswerError::Foreign));
    }
}

#[test]
fn an_answer_that_ends_early_is_malformed() {
    let answer = reserved::answer(&reserved::members_question(), sample).unwrap();
    for length in 18..answer.len() {
        let error = Members::from_answer(&answer[..length]).unwrap_err();
        assert!(matches!(error, AnswerError::Malformed(_)), "{length}: {error}");
    }
}

#[test]
fn an_answer_with_an_empty_or_repeated_id_is_malformed() {
    let answer = |members: &[u8]| [&reserved::PREFIX[..], &[1, 0x81], members].concat();
    let malformed = Err(AnswerError::Malformed("a member's id"));
    assert_eq!(Members::from_answer(&answer(&[0, 1, 0, 0, 0, 0])), malformed);
    let twice = [&[0, 2][..], b"\0\x01a\0\0", b"\0\x01a\0\0"].concat();
    assert_eq!(Members::from_answer(&answer(&twice)), malformed);
    let no_text = [&[0, 1][..], b"\0\x01\xff\0\0"].concat();
    assert_eq!(Members::from_answer(&answer(&no_text)), malformed);
}

#[test]
fn a_list_holds_at_most_its_limits() {
    let long = "x".repeat(Members::MAX_TEXT);
    let longer = format!("{long}x");
    let list = Members::new([
        member(&long, Some(&long)),
        member(&longer, None),
        member("a", Some(&longer)),
        member("b", Some("")),
        member("", None),
        member("a", Some("tcp://10.0.0.1:7001")),
    ]);
    let expected = [member(&long, Some(&long)), member("a", None), member("b", None)];
    assert_eq!(list.iter().cloned().collect::<Vec<_>>(), expected);
    let many = |count| Members::new((0..count).map(|number| member(&format!("{number}"), None)));
    assert_eq!(many(Members::MAX + 1), many(Members::MAX));

    let answer = reserved::answer(&reserved::members_question(), || many(Members::MAX)).unwrap();
    assert_eq!(Members::from_answer(&answer).unwrap().iter().len(), Members::MAX);
    let mut more = answer.to_vec();
    more[18..20].copy_from_slice(&(Members::MAX as u16 + 1).to_be_bytes());
    more.extend(b"\0\x01x\0\0");
    let refused = AnswerError::Malformed("the number of members");
    assert_eq!(Members::from_answer(&more), Err(refused));
    let text = |length: usize| {
        let id = [&(length as u16).to_be_bytes()[..], &vec![b'x'; length], &[0, 0]].concat();
        Members::from_answer(&[&answer[..18], &[0, 1], &id].concat())
    };
    assert!(text(Members::MAX_TEXT).is_ok());
    assert!(text(Members::MAX_TEXT + 1).is_err());
}

fn members() -> impl Strategy<Value = Members> {
    let endpoint = option::of("\\PC{1,40}");
    vec(("\\PC{1,20}", endpoint), 0..10).prop_map(|members| {
        Members::new(members.into_iter().map(|(id, endpoint)| member(&id, endpoint.as_deref())))
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        // A failing seed is recorded beside this file, to be committed with the fix.
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("proptest-regressions"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_list_is_read_back(list in members()) {
        let answer = reserved::answer(&reserved::members_question(), || list.clone()).unwrap();
        prop_assert_eq!(Members::from_answer(&answer), Ok(list));
    }

    #[test]
    fn any_bytes_after_the_prefix_are_a_list_within_its_limits_or_an_error(
        bytes in vec(any::<u8>(), 0..200),
        listed in any::<bool>(),
    ) {
        let head: &[u8] = if listed { &[1, 0x81] } else { &[] };
        let answer = [&reserved::PREFIX[..], head, &bytes].concat();
        if let Ok(list) = Members::from_answer(&answer) {
            let again = reserved::answer(&reserved::members_question(), || list.clone()).unwrap();
            prop_assert!(answer.starts_with(&again));
        }
        prop_assert!(reserved::answer(&answer, Members::default).is_some());
    }

    #[test]
    fn a_damaged_answer_is_a_list_within_its_limits_or_an_error(
        list in members(),
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let answer = reserved::answer(&reserved::members_question(), || list).unwrap();
        let mut bytes = answer.to_vec();
        let place = place.index(bytes.len());
        bytes[place] = byte;
        if let Ok(list) = Members::from_answer(&bytes) {
            prop_assert_eq!(&Members::new(list.iter().cloned()), &list);
        }
    }
}
