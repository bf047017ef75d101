//! What the owner of a member and the admin port ask of it.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};
use zraft_replica::{ChangeError, ChangeTicket, MembershipChange, RaftId};
use zraft_session::CheckedSettings;

use crate::{
    Figures, Report, Status,
    history::{History, SharedHistory},
    inputs::{Control, Newest},
    status::Counters,
};

/// A way to a member that does not keep it running.
#[derive(Clone, Debug)]
pub(crate) struct Handle {
    pub(crate) control: mpsc::Sender<Control>,
    pub(crate) status: watch::Receiver<Status>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) history: SharedHistory,
}

impl Handle {
    pub(crate) fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    pub(crate) fn figures(&self) -> Figures {
        self.counters.read()
    }

    pub(crate) fn history(&self) -> History {
        self.history.read()
    }

    /// Asks the driver, and returns its answer; none if the member has ended.
    async fn ask<T>(&self, question: impl FnOnce(oneshot::Sender<T>) -> Control) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.control.send(question(reply)).await.ok()?;
        answer.await.ok()
    }

    pub(crate) async fn report(&self) -> Option<Report> {
        self.ask(Control::Report).await.map(|report| *report)
    }

    /// Opens the newest snapshot; none if the member has ended.
    pub(crate) async fn newest_snapshot(&self) -> Option<Newest> {
        self.ask(Control::Backup).await
    }

    pub(crate) async fn hand_over(&self, to: Option<RaftId>) {
        // A member that has ended leads no more.
        let _ = self.ask(|begun| Control::HandOver(to, begun)).await;
    }

    pub(crate) async fn change_membership(
        &self,
        change: MembershipChange,
    ) -> Result<ChangeTicket, ChangeError> {
        let proposed = self.ask(|reply| Control::Change(change, reply)).await;
        proposed.unwrap_or(Err(ChangeError::NotLeader))
    }

    pub(crate) async fn change_settings(
        &self,
        settings: CheckedSettings,
    ) -> Result<(), ChangeError> {
        let proposed = self.ask(|reply| Control::Settings(settings, reply)).await;
        proposed.unwrap_or(Err(ChangeError::NotLeader))
    }

    pub(crate) async fn take_snapshot(&self) {
        let _ = self.ask(Control::Snapshot).await;
    }

    pub(crate) async fn accept_clock_jump(&self) {
        let _ = self.ask(Control::AcceptClock).await;
    }
}
