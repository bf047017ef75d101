//! Admission: how long a payload may be, and when there is room for it. Every part of a client asks here.

use super::{Config, ValidationError};

/// The limits that decide whether a request is accepted.
///
/// Every part of a client that accepts requests asks these methods: the machine, the Rust handles
/// and the Node binding. [`Config::admission`] returns them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission {
    max_queued: usize,
    max_queued_bytes: usize,
    max_message_size: usize,
}

impl Admission {
    #[inline]
    pub(super) fn new(config: &Config) -> Self {
        Self {
            max_queued: config.max_queued,
            max_queued_bytes: config.max_queued_bytes,
            max_message_size: config.max_message_size,
        }
    }

    /// Returns the longest payload in bytes: the lower of `max_message_size` and `max_queued_bytes`.
    ///
    /// A payload longer than the whole queue would wait for room for ever, so it is refused like a
    /// payload longer than a message.
    #[inline]
    pub fn max_payload(&self) -> usize {
        self.max_message_size.min(self.max_queued_bytes)
    }

    /// Returns the Rust name of the setting that [`Admission::max_payload`] comes from.
    pub fn max_payload_setting(&self) -> &'static str {
        if self.max_queued_bytes < self.max_message_size {
            "max_queued_bytes"
        } else {
            "max_message_size"
        }
    }

    /// Returns true if a payload of this length is accepted once there is room.
    #[inline]
    pub fn accepts_payload(&self, length: usize) -> bool {
        length > 0 && length <= self.max_payload()
    }

    /// Checks the length of a payload.
    ///
    /// # Errors
    /// [`ValidationError::EmptyPayload`], or [`ValidationError::PayloadTooLarge`] with the limit
    /// that is exceeded.
    #[inline]
    pub fn check_payload(&self, length: usize) -> Result<(), ValidationError> {
        if self.accepts_payload(length) { Ok(()) } else { Err(self.refusal(length)) }
    }

    #[cold]
    fn refusal(&self, length: usize) -> ValidationError {
        if length == 0 {
            return ValidationError::EmptyPayload;
        }
        let (setting, limit) = (self.max_payload_setting(), self.max_payload());
        ValidationError::PayloadTooLarge { length, setting, limit }
    }

    /// Returns true if a payload of this length is accepted now, while `queued` requests wait and
    /// `held_bytes` bytes of payloads are held.
    #[inline]
    pub fn has_room(&self, queued: usize, held_bytes: usize, length: usize) -> bool {
        queued < self.max_queued && held_bytes.saturating_add(length) <= self.max_queued_bytes
    }

    /// Returns the length that a caller of `ready()` waits for when a payload of `length` was
    /// refused for lack of room.
    ///
    /// An empty queue has room for every length that this returns, so the wait can always end. The
    /// length of a payload that [`Admission::check_payload`] refuses is lowered to the longest that
    /// is accepted.
    #[inline]
    pub fn awaited_room(&self, length: usize) -> usize {
        length.clamp(1, self.max_payload())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(max_message_size: usize, max_queued_bytes: usize) -> Admission {
        Admission { max_queued: 2, max_queued_bytes, max_message_size }
    }

    #[test]
    fn the_lower_of_both_limits_applies_and_is_named() {
        for (message, queue, setting) in [
            (10, 20, "max_message_size"),
            (20, 10, "max_queued_bytes"),
            (10, 10, "max_message_size"),
        ] {
            let admission = admission(message, queue);
            assert_eq!(admission.max_payload(), 10);
            assert_eq!(admission.check_payload(10), Ok(()));
            let error = admission.check_payload(11).unwrap_err();
            assert_eq!(error, ValidationError::PayloadTooLarge { length: 11, setting, limit: 10 });
            assert_eq!(
                error.to_string(),
                format!("payload: 11 bytes are more than `{setting}`, which is 10")
            );
        }
    }

    #[test]
    fn an_empty_payload_is_refused() {
        let error = admission(10, 10).check_payload(0).unwrap_err();
        assert_eq!(error, ValidationError::EmptyPayload);
    }

    #[test]
    fn an_empty_queue_has_room_for_every_awaited_length() {
        for admission in [admission(10, 20), admission(20, 10), admission(1, 1)] {
            for length in [0, 1, 9, 10, 11, usize::MAX] {
                let awaited = admission.awaited_room(length);
                assert!(admission.has_room(0, 0, awaited), "{admission:?} {length}");
                assert!(!admission.accepts_payload(length) || awaited == length);
            }
        }
    }

    #[test]
    fn requests_and_bytes_both_limit_the_room() {
        let admission = admission(100, 100);
        assert!(admission.has_room(1, 60, 40));
        assert!(!admission.has_room(1, 60, 41));
        assert!(!admission.has_room(2, 0, 1));
        assert!(!admission.has_room(0, usize::MAX, usize::MAX));
    }
}
