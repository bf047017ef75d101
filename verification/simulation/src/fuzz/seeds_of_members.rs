//! What the corpora of the replicated members begin with: the golden bytes of their formats, and scripts in which
//! everything goes well.

use std::{fs, io, path::Path};

use zraft_protocol::{RequestId, SessionId};
use zraft_session::{
    Acknowledgement, Capabilities, CheckedSettings, EndReason, Entry, Genesis, Operation, Payload,
    Time,
};

use super::{entries::body_of_a_snapshot, seeds::Seed};

/// Adds the seeds. `testdata` lies beside the crates.
pub(super) fn members(testdata: &Path, seeds: &mut Vec<Seed>) -> io::Result<()> {
    let crates = testdata.join("../crates");
    golden(&crates.join("replica/tests/golden/peer-v1.hex"), 0, "frame", seeds)?;
    golden(&crates.join("replica/tests/golden/handshake-v1.hex"), 1, "handshake", seeds)?;
    logs(seeds);
    damage(seeds);
    scripts(seeds);
    Ok(())
}

fn golden(file: &Path, mode: u8, name: &str, seeds: &mut Vec<Seed>) -> io::Result<()> {
    for (number, line) in fs::read_to_string(file)?.lines().enumerate() {
        let digit = |at: usize| u8::from_str_radix(line.get(at..at + 2)?, 16).ok();
        let bytes = (0..line.len()).step_by(2).map(digit).collect::<Option<Vec<u8>>>();
        let bytes = bytes.unwrap_or_default();
        seeds.push(("peer_codec", format!("{name}-{number}"), [&[mode], &bytes[..]].concat()));
    }
    Ok(())
}

/// Entries of every kind, each by itself and as logs, and the snapshots of those logs.
fn logs(seeds: &mut Vec<Seed>) {
    let session = |name: &str| SessionId::new(name).unwrap();
    let id = |number| RequestId::new(number).unwrap();
    let command = |name, number, lowest, payload: &[u8]| Operation::Command {
        session: session(name),
        request_id: id(number),
        lowest_pending: id(lowest),
        payload: Payload::new(payload.to_vec()).unwrap(),
    };
    let created = |name| Operation::CreateSession {
        session: session(name),
        capabilities: Capabilities::none(),
    };
    let ended = |reason| Operation::EndSession { session: session("a"), reason };
    let operations = [
        Operation::Genesis(Genesis { term: 2, seed: [9; 32] }),
        Operation::Settings(CheckedSettings::default()),
        created("a"),
        command("a", 1, 1, &[1, 0, 1, b'k', b'v']),
        command("a", 2, 1, b"two"),
        command("a", 1, 1, b"again"),
        created("b"),
        command("b", 1, 1, &[]),
        Operation::Acknowledge(vec![Acknowledgement { session: session("a"), up_to: id(1) }]),
        Operation::Tick,
        ended(EndReason::Closed),
        ended(EndReason::Expired),
        ended(EndReason::Abandoned),
        ended(EndReason::CacheOverrun),
        ended(EndReason::Removed),
        command("a", 3, 3, b"of a session that has ended"),
    ];
    let mut log = vec![6];
    for (number, operation) in (0_u64..).zip(operations) {
        let time = Time::from_millis(1_700_000_000_000 + 10 * number);
        let bytes = Entry { time, operation }.encode();
        seeds.push(("entries", format!("entry-{number}"), [&[0], &bytes[..]].concat()));
        log.push(bytes.len() as u8);
        log.extend_from_slice(&bytes);
        if number % 4 == 3 {
            seeds.push(("entries", format!("log-{number}"), log.clone()));
            let body = body_of_a_snapshot(&log[1..]);
            seeds.push(("entries", format!("snapshot-{number}"), [&[3], &body[..]].concat()));
        }
    }
}

/// One place of damage each, in both files.
fn damage(seeds: &mut Vec<Seed>) {
    let mut add = |name: String, bytes: &[u8]| seeds.push(("store_open", name, bytes.to_vec()));
    add("none".to_owned(), &[]);
    for file in [0, 1] {
        for (number, place) in [0_u16, 40, 900, 9_000, 20_000, 50_000].into_iter().enumerate() {
            let [high, low] = place.to_be_bytes();
            add(format!("written-{file}-{number}"), &[file, high, low, 3, 4, 0, 255, 7, 1]);
            add(format!("flipped-{file}-{number}"), &[file | 8 | 32, high, low, 1]);
        }
        add(format!("cut-{file}"), &[file | 6, 128, 0, 0]);
        add(format!("removed-{file}"), &[file | 10, 0, 0, 0]);
        add(format!("replaced-{file}"), &[file | 10 | 64, 0, 0, 0, 1, 2, 3]);
    }
}

fn scripts(seeds: &mut Vec<Seed>) {
    // The kinds of messages of the next term, as the script reads them, begin here.
    const NEXT: u8 = 132;
    let alone: &[u8] = &[16, 18, 22, 22, 8, 12, 0, 22, 22];
    let commands: &[u8] = &[13, 0, 0, 13, 0, 1, 22, 13, 0, 0, 13, 0, 2, 22, 22];
    // The member follows: an Append of two entries in term 2, and a heartbeat.
    let follows: &[u8] = &[0, 0, 128, 1, 1, 1, 2, 1, 0, 1, 4, 3, 22, 1, 0, 3, 2, 0, 22];
    // It stands, gets both votes, and leads.
    let elected: &[u8] = &[16, 22, 2, 0, NEXT + 6, 0, 1, 0, 0, 22, 2, 0, 6, 1, 1, 0, 0, 22];
    let matched: &[u8] = &[3, 0, 2, 2, 1, 1, 22, 3, 0, 2, 3, 2, 1, 22, 22];
    let asked: &[u8] = &[4, 0, NEXT + 5, 1, 1, 1, 1, 1, 18, 22];
    let offered: &[u8] =
        &[0, 1, NEXT + 8, 9, 2, 2, 4, 1, 1, 9, 9, 0, 4, 1, 2, 3, 4, 20, 0, 20, 0, 22];
    let times: &[u8] = &[14, 50, 15, 2, 0, 17, 17, 22, 15, 8, 0, 22];
    let operated: &[u8] = &[21, 0, 22, 21, 2, 22, 21, 3, 21, 1, 22, 17, 22];
    let restarted: &[u8] = &[23, 16, 22, 22, 8, 12, 0, 22];
    // A leader is told to stand while its disk writes.
    let stands: &[u8] = &[13, 0, 9, 0, 0, NEXT + 7, 22, 22];
    // A rejection that an acknowledgement has overtaken comes after the connection was lost.
    let overtaken: &[u8] =
        &[0, 0, 2, 2, 1, 1, 22, 21, 3, 0, 0, 2, 2, 1, 0, 1, 1, 22, 0, 0, 2, 3, 1, 1, 22];
    let parts = [
        ("commands", commands),
        ("follows", follows),
        ("asked", asked),
        ("offered", offered),
        ("times", times),
        ("operated", operated),
        ("restarted", restarted),
        ("stands", stands),
    ];
    // Two leaders offer snapshots in turn, while the disk writes a part of the first, verifies it, and installs it.
    let first: &[u8] = &[0, 1, NEXT + 8, 9, 2, 2, 4];
    let part: &[u8] = &[1, 1, 9, 9, 0, 4, 1, 2, 3, 4];
    let second: &[u8] = &[0, 0, NEXT + 8, 10, 2, 2, 4];
    let step: &[u8] = &[20, 0];
    let offers = [first, part, second, step, second, step, second, &[22], second].concat();
    for (name, script) in [("overtaken", [elected, overtaken].concat()), ("two-offers", offers)] {
        seeds.push(("replica_script", name.to_owned(), [&[0], &script[..]].concat()));
    }
    for options in [0, 1, 3] {
        let begun = if options & 1 == 1 { alone.to_vec() } else { [elected, matched].concat() };
        for (name, part) in parts {
            let script = [&[options], &begun[..], commands, part, times, commands].concat();
            seeds.push(("replica_script", format!("{name}-{options}"), script));
        }
    }
}
