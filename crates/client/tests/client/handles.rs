//! What the handle and the futures it gives may be used for: anywhere, by anybody.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::raw::connected;
use crate::support::{builder, within};
use zraft_client::{
    Answer, Bytes, Connect, Disconnect, Error, Events, Ping, RaftClient, Ready, Resolution,
    ServerRequests, SubmissionFuture,
};

#[test]
fn the_handle_is_cheap_to_clone_and_crosses_threads() {
    fn crosses<T: Clone + Send + Sync + 'static>() {}
    crosses::<RaftClient>();
    assert_eq!(size_of::<RaftClient>(), size_of::<usize>());
}

#[test]
fn what_the_handle_gives_borrows_nothing_and_can_be_moved_to_another_task() {
    fn moves<T: Send + Unpin + 'static>() {}
    moves::<Answer>();
    moves::<SubmissionFuture>();
    moves::<Connect>();
    moves::<Disconnect>();
    moves::<Ping>();
    moves::<Ready>();
    moves::<Resolution>();
    moves::<Events>();
    moves::<ServerRequests>();
    fn stream<T: futures_util::Stream>() {}
    stream::<Events>();
    stream::<ServerRequests>();
}

#[tokio::test]
async fn clones_are_one_client() {
    let (_peer, mut connection, client) = connected(builder()).await;
    let clone = client.clone();
    assert_eq!(clone.session_id(), client.session_id());
    let task = tokio::spawn(async move { clone.submit_command("of the clone").await });
    let (id, _) = connection.command().await;
    connection.answer(id, b"done").await;
    let answer: Result<Bytes, Error> = within(task).await.unwrap();
    assert_eq!(answer.unwrap().as_ref(), b"done");
    assert_eq!(client.stats().answered, 1);
}

/// The source files below a folder.
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
fn what_may_grow_cannot_be_made_or_matched_exhaustively_by_others() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let text: String = ["client/src", "core/src"]
        .iter()
        .flat_map(|folder| sources(&crates.join(folder)))
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    let lines: Vec<_> = text.lines().collect();
    for item in ["enum Event", "enum Error", "struct Stats", "struct Config"] {
        let start = format!("pub {item} {{");
        let place = lines.iter().position(|line| *line == start).expect(item);
        let open = lines[place + 1].trim_start();
        let attributes = lines[..place].iter().rev().take_while(|line| line.starts_with("#["));
        let marked = attributes.into_iter().any(|line| *line == "#[non_exhaustive]");
        // Who cannot see its fields can do neither.
        let hidden = open.starts_with("pub(crate)");
        assert!(marked || hidden, "{item}");
    }
}
