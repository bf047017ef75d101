//! The promises of the public types: which cross threads, and which may grow without a breaking change.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::support::raw::connected;
use crate::support::{builder, within};
use zraft_client::{
    Answer, Bytes, CommandOutcomes, Connect, Disconnect, Error, Events, Ping, RaftClient, Ready,
    Resolution, ServerRequests, SubmissionFuture,
};

#[test]
fn client_is_one_pointer_and_crosses_threads() {
    fn crosses<T: Clone + Send + Sync + 'static>() {}
    crosses::<RaftClient>();
    assert_eq!(size_of::<RaftClient>(), size_of::<usize>());
}

#[test]
fn futures_and_streams_borrow_nothing_and_can_move_to_another_task() {
    fn moves<T: Send + Unpin + 'static>() {}
    moves::<Answer>();
    moves::<SubmissionFuture>();
    moves::<CommandOutcomes<std::vec::IntoIter<Bytes>>>();
    moves::<Connect>();
    moves::<Disconnect>();
    moves::<Ping>();
    moves::<Ready>();
    moves::<Resolution>();
    moves::<Events>();
    moves::<ServerRequests>();
    fn stream<T: futures_util::Stream>() {}
    stream::<Events>();
    stream::<CommandOutcomes<std::vec::IntoIter<Bytes>>>();
    stream::<ServerRequests>();
}

#[tokio::test]
async fn clones_share_one_session() {
    let (_peer, mut connection, client) = connected(builder()).await;
    let clone = client.clone();
    assert_eq!(clone.session_id(), client.session_id());
    let task = tokio::spawn(async move { clone.submit_command("from the clone").await });
    let (id, _) = connection.command().await;
    connection.answer(id, b"done").await;
    let answer: Result<Bytes, Error> = within(task).await.unwrap();
    assert_eq!(answer.unwrap().as_ref(), b"done");
    assert_eq!(client.stats().answered, 1);
}

#[tokio::test]
async fn caller_that_gets_an_answer_finds_its_latency_in_the_statistics() {
    let (_peer, mut connection, client) = connected(builder()).await;
    assert_eq!(client.stats().latency().commands.value_at_quantile(0.5), None);
    for number in 1..=3 {
        let started = Instant::now();
        let answer = tokio::spawn(client.submit_command("c").into_future());
        let (id, _) = connection.command().await;
        connection.answer(id, b"done").await;
        within(answer).await.unwrap().unwrap();
        let commands = client.stats().latency().commands;
        assert_eq!(commands.count(), number);
        assert!(commands.min().unwrap() <= started.elapsed(), "{commands:?}");
    }
}

/// Returns the source files below a folder.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

#[test]
fn types_that_may_grow_are_non_exhaustive() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let text: String = ["client/src", "core/src"]
        .iter()
        .flat_map(|folder| sources(&crates.join(folder)))
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    // A macro indents what it defines.
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    for item in ["enum Event", "enum Error", "struct Stats", "struct Config"] {
        let start = format!("pub {item} {{");
        let place = lines.iter().position(|line| *line == start).expect(item);
        let open = lines[place + 1];
        let attributes = lines[..place].iter().rev().take_while(|line| line.starts_with("#["));
        let marked = attributes.into_iter().any(|line| *line == "#[non_exhaustive]");
        // A struct with private fields cannot be built or matched by others anyway.
        let hidden = open.starts_with("pub(crate)");
        assert!(marked || hidden, "{item}");
    }
}
