//! The reason why a run failed to execute. A broken promise that a run finds is not such a failure; the report shows
//! it.

use std::path::{Path, PathBuf};

/// The reason why a run failed to execute.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The cluster did not start.
    #[error("the cluster did not start: {0}")]
    Start(#[from] zraft_test_server::StartError),
    /// The cluster rejected a change of its fault settings.
    #[error("the cluster rejected a change of its fault settings: {0}")]
    Switch(#[from] zraft_test_server::SwitchError),
    /// The client could not open its session.
    #[error("the client could not open a session: {0}")]
    Client(#[from] zraft_client::Error),
    /// A member process ended by itself, or cannot be started or asked.
    #[error("{0}")]
    Member(String),
    /// The files of the server processes were kept after a failure.
    #[error("{failure}; the folders and logs of the members are in {}", .folder.display())]
    Kept {
        /// The failure.
        failure: Box<Failure>,
        /// The folder with the files.
        folder: PathBuf,
    },
    /// A port or a file could not be opened.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The plot could not be drawn.
    #[error("the plot could not be drawn: {0}")]
    Plot(String),
    /// A task of the run panicked.
    #[error("a task of the run panicked: {0}")]
    Task(#[from] tokio::task::JoinError),
}

impl Failure {
    /// Adds the folder in which the files of the server processes were kept.
    #[must_use]
    pub fn with_files(self, folder: &Path) -> Self {
        Self::Kept { failure: Box::new(self), folder: folder.to_owned() }
    }
}
