//! Runs the raffles of the page "Write your own state machine" without a cluster, and prints what clients would get.

#![allow(clippy::print_stdout, reason = "a program for the terminal")]

mod application;

use std::time::Duration;

use application::Raffles;
use zraft_session::{
    Effect,
    testing::{Log, replay},
};

pub(crate) fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut log = Log::new();
    log.session("ann").session("bob");
    log.command("ann", "open bicycle 60").command("ann", "join bicycle");
    log.command("bob", "join bicycle").command("bob", "join bicycle").command("bob", "sing");
    log.wait(Duration::from_secs(60));
    let run = replay(Raffles::new, &log)?;
    for effect in &run.effects {
        println!("{}", described(effect));
    }
    Ok(())
}

fn described(effect: &Effect) -> String {
    match effect {
        Effect::Answered { session, request_id, answer } => {
            let message = answer.message(*request_id);
            format!("{session:?} {request_id:?}: {message:?}")
        }
        other => format!("{other:?}"),
    }
}
