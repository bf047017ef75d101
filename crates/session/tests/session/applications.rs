//! The applications that come with the server.

mod append_log;
mod bank;
mod kv_store;

use zraft_session::applications::Echo;

use crate::support::{Run, executed};

#[test]
fn echo_answers_commands_and_queries_with_their_payload() {
    let mut run = Run::with_sessions(Echo, &["a"]);
    assert_eq!(run.command("a", 1, "said"), [executed("a", 1, "said")]);
    assert_eq!(run.command("a", 2, ""), [executed("a", 2, "")]);
    assert_eq!(run.query("a", "asked"), b"asked");
}
