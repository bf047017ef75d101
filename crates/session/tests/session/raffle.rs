//! Tests of the raffles, as an author of an application writes them.

#[path = "../../examples/raffle/application.rs"]
mod application;

use std::time::Duration;

use application::Raffles;
use proptest::{collection::vec, prelude::*};
use zraft_session::{
    EndReason, Payload, SessionId,
    testing::{Log, replay},
};

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn one_entrant_wins_when_the_raffle_closes_and_the_others_lose() {
    let mut log = Log::new();
    log.session("ann").session("bob").session("eve");
    log.command("ann", "open bicycle 60").command("ann", "join bicycle");
    log.command("bob", "join bicycle").command("eve", "join bicycle");
    log.wait(MINUTE);
    let run = replay(Raffles::new, &log).unwrap();
    assert_eq!(run.answer("ann", 1), Some(&b"opened bicycle"[..]));
    let mut news: Vec<_> = ["ann", "bob", "eve"].map(|name| run.pushed(name)).concat();
    news.sort_unstable();
    assert_eq!(news, [&b"lost bicycle"[..], b"lost bicycle", b"won bicycle"]);
}

#[test]
fn an_invalid_command_is_answered_with_its_error_and_changes_nothing() {
    for wrong in ["", "sing", "open", "open car soon", "open car 0", "join car", "\u{e4}"] {
        let mut log = Log::new();
        log.session("ann").command("ann", wrong);
        let run = replay(Raffles::new, &log).unwrap();
        let answer = run.answer("ann", 1).unwrap();
        assert!(answer.starts_with(b"error: "), "{wrong}");
        assert_eq!(run.machine.next_tick(), None);
    }
}

#[test]
fn leaving_is_possible_from_its_level_on() {
    let mut log = Log::new();
    log.session("ann").command("ann", "open car 60").command("ann", "join car");
    log.command("ann", "leave car").level(1).command("ann", "leave car");
    let run = replay(Raffles::new, &log).unwrap();
    assert_eq!(run.answer("ann", 3), Some(&b"error: unknown command"[..]));
    assert_eq!(run.answer("ann", 4), Some(&b"left car"[..]));
}

#[test]
fn a_session_that_ended_wins_nothing() {
    let mut log = Log::new();
    log.session("ann").session("bob");
    log.command("ann", "open car 60").command("ann", "join car").command("bob", "join car");
    log.end("ann", EndReason::Expired).wait(MINUTE);
    let run = replay(Raffles::new, &log).unwrap();
    assert_eq!(run.pushed("bob"), [b"won car"]);
}

#[test]
fn a_query_reads_the_state() {
    let mut log = Log::new();
    log.session("ann").command("ann", "open car 60").command("ann", "join car");
    log.wait(MINUTE / 2);
    let run = replay(Raffles::new, &log).unwrap();
    let show = Payload::new("show car").unwrap();
    let answer = run.machine.query(&SessionId::new("ann").unwrap(), &show).unwrap();
    assert_eq!(&answer[..], b"1 joined, 30 s left");
}

proptest! {
    #![proptest_config(crate::support::cases(256))]

    #[test]
    fn members_stay_equal_whatever_the_log_and_wherever_they_restart(
        steps in vec((0..3_usize, 0..5_usize, 0..3_usize, 0..40_u64), 0..40),
    ) {
        let names = ["ann", "bob", "eve"];
        let mut log = Log::new();
        log.session("ann").session("bob").session("eve").level(1);
        for (name, what, prize, seconds) in steps {
            let (name, prize) = (names[name], ["car", "bicycle", "boat"][prize]);
            match what {
                0 => log.command(name, format!("open {prize} {seconds}")),
                1 => log.command(name, format!("join {prize}")),
                2 => log.command(name, format!("leave {prize}")),
                3 => log.end(name, EndReason::Closed).session(name),
                _ => log.wait(Duration::from_secs(seconds)),
            };
        }
        replay(Raffles::new, &log).unwrap();
    }
}
