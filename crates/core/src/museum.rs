//! Bugs that can be planted, to see that the simulation finds them. Without the feature `museum` there is no way to plant one,
//! and every question whether one is planted is answered at compile time.

/// A bug, by what it does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(not(feature = "museum"), allow(dead_code))]
#[allow(missing_docs)]
#[cfg_attr(not(feature = "museum"), allow(unreachable_pub))]
pub enum Plant {
    LowestTooHigh,
    LowestTooLow,
    LowestFromNewest,
    LowestPastDetached,
    IdReusedOnResume,
    IdLostAtSubmit,
    AckPastGap,
    AckBeforeDelivery,
    TrackerResetOnResume,
    TrackerKeptInNewSession,
    TwoCreateSessions,
    MessageBeforeAnswer,
    ResendIntoNewSession,
    SentCalledNotExecuted,
    LateAnswerOfOldSession,
    NonceIgnored,
    SupersededBelieved,
    ResendTimerNotRearmed,
    DeadlineNotRearmed,
    ResendsOutOfOrder,
    PayloadChangedOnResend,
    WindowOffByOne,
    QueueLostOnRedirect,
    HintLoop,
    KeepAliveBehindQueue,
    WallClockInTimer,
    AbandonedIdResent,
    FalseExpiryBelieved,
    DeafNeverLeft,
    CloseSessionLost,
    EverythingResentAtOnce,
    BacklogWrittenAgain,
    LateTakenForJump,
    LastWishLost,
    WrittenAfterTheEnd,
    UnknownCountedTwice,
    ExpiryLoop,
    FrozenTakenForDeaf,
}

#[cfg(feature = "museum")]
mod planted {
    use std::cell::Cell;

    use super::Plant;

    thread_local! {
        static PLANTED: Cell<Option<Plant>> = const { Cell::new(None) };
    }

    /// Plants a bug in every machine of this thread, or none.
    pub fn plant(plant: Option<Plant>) {
        PLANTED.set(plant);
    }

    #[inline]
    pub(crate) fn is(plant: Plant) -> bool {
        PLANTED.get() == Some(plant)
    }

    impl Plant {
        /// Every one, in words.
        pub const ALL: &'static [(Self, &'static str)] = &[
            (Self::LowestTooHigh, "L one too high"),
            (Self::LowestTooLow, "L one too low"),
            (Self::LowestFromNewest, "L from the newest id"),
            (Self::LowestPastDetached, "L past a detached id"),
            (Self::IdReusedOnResume, "an id reused on resume"),
            (Self::IdLostAtSubmit, "an id given at submit and lost"),
            (Self::AckPastGap, "ack past a gap"),
            (Self::AckBeforeDelivery, "ack before delivery"),
            (Self::TrackerResetOnResume, "tracker reset on resume"),
            (Self::TrackerKeptInNewSession, "tracker kept in a new session"),
            (Self::TwoCreateSessions, "two CreateSessions on one connection"),
            (Self::MessageBeforeAnswer, "a message before the handshake's answer"),
            (Self::ResendIntoNewSession, "resend into a new session"),
            (Self::SentCalledNotExecuted, "a sent command called not executed"),
            (Self::LateAnswerOfOldSession, "a late answer of the old session accepted"),
            (Self::NonceIgnored, "nonce ignored"),
            (Self::SupersededBelieved, "a superseded connection believed"),
            (Self::ResendTimerNotRearmed, "resend timer not re-armed"),
            (Self::DeadlineNotRearmed, "deadline not re-armed"),
            (Self::ResendsOutOfOrder, "resends out of id order"),
            (Self::PayloadChangedOnResend, "payload changed on resend"),
            (Self::WindowOffByOne, "window off by one"),
            (Self::QueueLostOnRedirect, "queue lost on redirect"),
            (Self::HintLoop, "hint loop without backoff"),
            (Self::KeepAliveBehindQueue, "KeepAlive behind the queue"),
            (Self::WallClockInTimer, "wall clock in a timer"),
            (Self::AbandonedIdResent, "an abandoned id resent"),
            (Self::FalseExpiryBelieved, "a false SessionExpired believed"),
            (Self::DeafNeverLeft, "a deaf member never left"),
            (Self::CloseSessionLost, "CloseSession lost in the close"),
            (Self::EverythingResentAtOnce, "everything resent at once on a slow server"),
            (Self::BacklogWrittenAgain, "a slow link's backlog written again from its beginning"),
            (Self::LateTakenForJump, "a late timer taken for a jump of the clock"),
            (Self::LastWishLost, "a connect() between two disconnect()s obeyed after them"),
            (Self::WrittenAfterTheEnd, "something written after the write half was shut"),
            (Self::UnknownCountedTwice, "an unknown outcome counted twice"),
            (Self::ExpiryLoop, "new sessions asked for without pause"),
            (Self::FrozenTakenForDeaf, "a frozen member taken for deaf"),
        ];
    }
}

#[cfg(feature = "museum")]
pub(crate) use planted::is;
#[cfg(feature = "museum")]
pub use planted::plant;

#[cfg(not(feature = "museum"))]
#[inline(always)]
pub(crate) const fn is(_plant: Plant) -> bool {
    false
}
