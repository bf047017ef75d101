//! The functions that cargo-fuzz runs, over random bytes and over variations of the seeds.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use proptest::test_runner::FileFailurePersistence;
use proptest::{collection::vec, prelude::*, sample::Index};
use zraft_simulation::fuzz::{TARGETS, seeds};

fn cases(cases: u32) -> ProptestConfig {
    // A failure's seed is recorded beside this file.
    let beside = FileFailurePersistence::WithSource("proptest-regressions");
    ProptestConfig {
        cases,
        failure_persistence: Some(Box::new(beside)),
        source_file: Some(file!()),
        ..ProptestConfig::default()
    }
}

fn seeds_of(target: &str) -> Vec<Vec<u8>> {
    let testdata = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata");
    let seeds = seeds(&testdata).unwrap();
    seeds.into_iter().filter(|(of, ..)| *of == target).map(|(.., bytes)| bytes).collect()
}

/// Something that is done to an input.
#[derive(Debug, Clone)]
enum Change {
    Set(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, u8),
    /// A piece of another seed is put in.
    Splice(Index, Index, Index, u8),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        2 => (any::<Index>(), vec(any::<u8>(), 1..12))
            .prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        1 => (any::<Index>(), 1..20_u8).prop_map(|(at, count)| Change::Remove(at, count)),
        2 => (any::<Index>(), any::<Index>(), any::<Index>(), 1..60_u8)
            .prop_map(|(at, seed, from, count)| Change::Splice(at, seed, from, count)),
    ]
}

fn apply(input: &mut Vec<u8>, seeds: &[Vec<u8>], change: &Change) {
    let end = input.len() + 1;
    match change {
        Change::Set(at, byte) => {
            if !input.is_empty() {
                let at = at.index(input.len());
                input[at] = *byte;
            }
        }
        Change::Insert(at, bytes) => {
            let at = at.index(end);
            input.splice(at..at, bytes.iter().copied());
        }
        Change::Remove(at, count) => {
            let at = at.index(end);
            input.drain(at..input.len().min(at + usize::from(*count)));
        }
        Change::Splice(at, seed, from, count) => {
            let (at, seed) = (at.index(end), &seeds[seed.index(seeds.len())]);
            let from = from.index(seed.len() + 1);
            let piece = &seed[from..seed.len().min(from + usize::from(*count))];
            input.splice(at..at, piece.iter().copied());
        }
    }
}

/// Runs a target over `count` random inputs and as many variations of its seeds.
fn explore(target: &str, count: u32) {
    let (_, body) = TARGETS.iter().find(|(name, _)| *name == target).unwrap();
    let seeds = seeds_of(target);
    let mut runner = proptest::test_runner::TestRunner::new(cases(count));
    runner
        .run(&vec(any::<u8>(), 0..400), |input| {
            body(&input);
            Ok(())
        })
        .unwrap();
    runner
        .run(&(any::<Index>(), vec(change(), 1..8)), |(seed, changes)| {
            let mut input = seeds[seed.index(seeds.len())].clone();
            for change in &changes {
                apply(&mut input, &seeds, change);
            }
            body(&input);
            Ok(())
        })
        .unwrap();
}

#[test]
fn any_greeting_is_judged_as_the_rfc_has_it() {
    explore("greeting", 2000);
}

#[test]
fn any_stream_of_frames_is_read_as_a_naive_reader_reads_it() {
    explore("frames", 1000);
}

#[test]
fn any_message_of_a_client_decodes_and_encodes_alike() {
    explore("client_codec", 2000);
}

#[test]
fn any_message_of_a_server_decodes_and_encodes_alike() {
    explore("server_codec", 2000);
}

#[test]
fn any_script_leaves_the_state_machine_within_its_rules() {
    explore("machine", 1500);
}

#[test]
fn any_bytes_leave_the_embedded_server_within_its_rules() {
    explore("server", 1500);
}

#[test]
fn any_text_is_an_endpoint_or_refused() {
    explore("endpoint", 2000);
}

#[test]
fn any_bytes_of_a_peer_have_one_meaning_or_are_refused() {
    explore("peer_codec", 2000);
}

#[test]
fn any_entry_or_snapshot_is_read_whole_or_refused() {
    explore("entries", 2000);
}

#[test]
fn any_damage_to_a_directory_is_refused_or_loses_nothing() {
    explore("store_open", 300);
}

#[test]
fn any_script_leaves_a_member_within_its_rules() {
    explore("replica_script", 1500);
}
