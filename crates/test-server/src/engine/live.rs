//! The rules of the live system in which it differs from the replicated server, and a cluster's limits as settings.

use zraft_session::{
    CheckedSettings, FullCache, FullSession, LowestPending, Policy, RejectedId, Settings,
};

use super::config::Limits;

/// The greatest number that a setting of one session may have.
const MOST: usize = 1 << 30;
/// The greatest number of bytes that a setting may have.
const MOST_BYTES: u64 = 1 << 40;

/// Returns the rules of the live system. Deduplication is a switch of tests.
pub(crate) fn policy(deduplication: bool) -> Policy {
    Policy {
        deduplication,
        lowest_pending: LowestPending::AsSent,
        // The connection is closed instead, so that the client learns of it.
        rejected_id: RejectedId::Free,
        // The live system has no limits. A connection that would pass one is closed, and its session lives.
        full_cache: FullCache::Refuses,
        full_session: FullSession::LosesTheRequest,
    }
}

/// Returns the settings of the state machine. The live system has no limits on payloads and on all sessions together, so
/// these are as high as they go.
pub(crate) fn settings(limits: &Limits) -> CheckedSettings {
    let count = |limit: usize| u32::try_from(limit.clamp(1, MOST)).unwrap_or(u32::MAX);
    let bytes = |limit: usize| (limit as u64).clamp(1, MOST_BYTES);
    let settings = Settings {
        // The engine closes the connection that asks for one session too many.
        sessions: 10_000_000,
        cached_answers: count(limits.cached_answers),
        cached_bytes: bytes(limits.cached_bytes),
        total_cached_answers: MOST_BYTES,
        total_cached_bytes: MOST_BYTES,
        server_requests: count(limits.server_requests),
        server_request_bytes: bytes(limits.server_request_bytes),
        total_server_requests: MOST_BYTES,
        total_server_request_bytes: MOST_BYTES,
        payload_bytes: MOST as u32,
        ..Settings::default()
    };
    // Every field lies in its range, so the default never steps in. A test tries the extremes.
    settings.check().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_limits_become_settings() {
        for limit in [0, 1, 5, MOST, usize::MAX] {
            let limits = Limits {
                cached_answers: limit,
                cached_bytes: limit,
                server_requests: limit,
                server_request_bytes: limit,
                ..Limits::default()
            };
            let settings = settings(&limits);
            assert_eq!(settings.cached_answers as usize, limit.clamp(1, MOST));
            assert_eq!(settings.server_requests as usize, limit.clamp(1, MOST));
            assert_eq!(settings.cached_bytes, (limit as u64).clamp(1, MOST_BYTES));
            assert_eq!(settings.server_request_bytes, (limit as u64).clamp(1, MOST_BYTES));
            assert_eq!(settings.payload_bytes as usize, MOST);
        }
    }
}
