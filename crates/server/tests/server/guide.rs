//! The program of the page "Write your own state machine".

use std::{sync::mpsc, thread, time::Duration};

#[path = "../../examples/raffle/main.rs"]
mod program;

/// Far more than the program takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn program_of_the_guide_runs() {
    let (done, wait) = mpsc::channel();
    thread::spawn(move || done.send(program::main().map_err(|error| error.to_string())));
    wait.recv_timeout(LIMIT).expect("it ends").expect("it succeeds");
}
