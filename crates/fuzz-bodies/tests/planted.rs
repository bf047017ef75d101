//! That the corpus and the rules of the state machine's target are worth something: with a bug of the museum planted, some
//! input breaks a rule. The others, most of which concern times and paces, are left to the simulation.

#![allow(clippy::unwrap_used)]

use std::{fs, panic::catch_unwind, path::Path};

use zraft_core::museum::{Plant, plant};

const FOUND: [Plant; 24] = [
    Plant::LowestTooHigh,
    Plant::LowestTooLow,
    Plant::LowestFromNewest,
    Plant::LowestPastDetached,
    Plant::IdReusedOnResume,
    Plant::IdLostAtSubmit,
    Plant::AckPastGap,
    Plant::AckBeforeDelivery,
    Plant::TrackerResetOnResume,
    Plant::TrackerKeptInNewSession,
    Plant::TwoCreateSessions,
    Plant::MessageBeforeAnswer,
    Plant::ResendIntoNewSession,
    Plant::SentCalledNotExecuted,
    Plant::LateAnswerOfOldSession,
    Plant::NonceIgnored,
    Plant::SupersededBelieved,
    Plant::ResendsOutOfOrder,
    Plant::PayloadChangedOnResend,
    Plant::WindowOffByOne,
    Plant::QueueLostOnRedirect,
    Plant::AbandonedIdResent,
    Plant::CloseSessionLost,
    Plant::WrittenAfterTheEnd,
];

#[test]
fn the_corpus_of_the_state_machine_finds_what_is_planted() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/machine");
    let inputs: Vec<Vec<u8>> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| fs::read(entry.unwrap().path()).unwrap())
        .collect();
    let finds = |bug| {
        plant(Some(bug));
        inputs.iter().any(|input| catch_unwind(|| zraft_fuzz::machine(input)).is_err())
    };
    let missed: Vec<_> = FOUND.into_iter().filter(|bug| !finds(*bug)).collect();
    assert!(missed.is_empty(), "{missed:?} broke no rule");
}
