//! Why a run could not be made. What a run finds is no failure of this kind: its report tells.

/// Why a run could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The cluster did not start.
    #[error("the cluster did not start: {0}")]
    Start(#[from] zraft_test_server::StartError),
    /// A switch of the cluster could not be thrown.
    #[error("a switch of the cluster could not be thrown: {0}")]
    Switch(#[from] zraft_test_server::SwitchError),
    /// The client could not open its session.
    #[error("no session: {0}")]
    Client(#[from] zraft_client::Error),
    /// A port or a file could not be had.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The plot could not be drawn.
    #[error("the plot could not be drawn: {0}")]
    Plot(String),
    /// A task of the run panicked.
    #[error("a task of the run ended by itself: {0}")]
    Task(#[from] tokio::task::JoinError),
}
